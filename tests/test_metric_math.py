"""Metric math gives what the user guide of CloudWatch says it gives, and refuses the rest when an alarm is made."""

from __future__ import annotations

import pytest

from local_cloud.cloudwatch.metric_math import BadExpression, Series, parse

SERIES: dict[str, Series] = {
    "m1": [1.0, 2.0, None, 4.0],
    "m2": [10.0, None, 30.0, 0.0],
    "errors": [0.0, 5.0, 0.0, 1.0],
    "requests": [100.0, 50.0, 0.0, 4.0],
    "is": [1.0, 2.0, 3.0, 4.0],
    "in": [0.0, 0.0, 0.0, 0.0],
}


def over(expression: str) -> Series:
    return parse(expression).over(SERIES, ["m1", "m2"], period_s=60, periods=4)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m1 + 1", [2, 3, None, 5]),
        ("m1 * m2", [10, 0, 0, 0]),
        ("m1 / m2", [0.1, None, 0, None]),
        ("-m1 ^ 2", [-1, -4, None, -16]),
        ("100 * errors / requests", [0, 10, None, 25]),
        ("100*errors/MAX([requests,1])", [0, 10, 0, 25]),
        ("MAX([m1, m2])", [10, 2, 30, 4]),
        ("MIN([m1, 3])", [1, 2, 3, 3]),
        ("SUM(METRICS())", [11, 2, 30, 4]),
        ("AVG([m1, m2])", [5.5, 1, 15, 2]),
        ("MAX(m1) + 0 * errors", [4, 4, 4, 4]),
        ("TIME_SERIES(AVG(m1))", [7 / 3] * 4),
        ("requests - MIN(requests)", [100, 50, 0, 4]),
        ('SUM(METRICS("m1"))', [1, 2, None, 4]),
        ('SUM([METRICS("m1"), METRICS("m2")])', [11, 2, 30, 4]),
        ("SUM(100/[errors, requests])", [1, 22, None, 125]),
        ("SUM(-[m1, m2])", [-11, -2, -30, -4]),
        ("FILL(m1, 0)", [1, 2, 0, 4]),
        ("FILL(m1, REPEAT)", [1, 2, 2, 4]),
        ("FILL(m1, LINEAR)", [1, 2, 3, 4]),
        ("FILL(m2, m1)", [10, 2, 30, 0]),
        ("FILL(METRICS(), 0) * 1", None),
        ("IF(m1 > 1, m1, 0)", [0, 2, None, 4]),
        ("IF(requests > 0, 100 * errors / requests, 0)", [0, 10, 0, 25]),
        ("IF(requests > 10 AND errors > 0, 1, 0)", [0, 1, 0, 0]),
        ("requests < 10 || errors == 5", [0, 1, 1, 1]),
        ("(m1 >= 2) && (m1 != 4)", [0, 1, None, 0]),
        ("DIFF(m1)", [None, 1, None, 2]),
        ("RATE(m1)", [None, 1 / 60, None, 2 / 120]),
        ("RATE(requests)", [None, -50 / 60, -50 / 60, 4 / 60]),
        ("ABS(m1 - m2)", [9, 2, 30, 4]),
        ("CEIL(m1 / 3) + FLOOR(m1 / 3)", [1, 1, None, 3]),
        ("m2 / PERIOD(m1)", [1 / 6, None, 0.5, 0]),
        ("TIME_SERIES(5)", [5] * 4),
        ("MAX([is, in])", [1, 2, 3, 4]),
        ("1e1 * is", [10, 20, 30, 40]),
    ],
)
def test_an_expression_gives_a_series(expression: str, expected: Series | None) -> None:
    if expected is None:
        with pytest.raises(BadExpression, match="several series"):
            over(expression)
    else:
        assert over(expression) == [None if item is None else pytest.approx(item) for item in expected]


GUIDE: dict[str, Series] = {
    "metric1": [30, 20, 0, 0],
    "metric2": [20, None, 20, None],
    "condition": [1, 1, 0, 0, None],
    "then": [30, None, 0, 0, 30],
    "otherwise": [0, 0, 20, None, 20],
}
"""The series of the user guide's own examples."""


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(metric1 < metric2)", [0, 0, 1, 0]),
        ("(metric1 >= 30)", [1, 0, 0, 0]),
        ("(metric1 > 15 AND metric2 > 15)", [1, 0, 0, 0]),
        ("IF(condition, then, otherwise)", [30, 0, 20, None, None]),
        ("IF(condition, 5, otherwise)", [5, 5, 20, None, None]),
        ("IF(condition, then, 5)", [30, 0, 5, 5, None]),
        ("IF(condition, then)", [30, 0, None, None, None]),
        ("IF(1, then, otherwise)", [30, None, 0, 0, 30]),
        ("IF(metric1<10, metric1)", [None, None, 0, 0]),
        ("IF(metric1<10, 10, 2)", [2, 2, 10, 10]),
    ],
)
def test_the_user_guides_own_examples_give_what_it_says(expression: str, expected: Series) -> None:
    assert parse(expression).over(GUIDE, [], period_s=300, periods=len(expected)) == expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("0", [0, 2, 0, 0, 8, 0]),
        ("REPEAT", [None, 2, 2, 2, 8, 8]),
        ("LINEAR", [None, 2, 4, 6, 8, None]),
        ("MIN(m)", [2, 2, 2, 2, 8, 2]),
    ],
)
def test_a_gap_is_filled_as_asked(how: str, expected: Series) -> None:
    gaps: dict[str, Series] = {"m": [None, 2, None, None, 8, None]}
    assert parse(f"FILL(m, {how})").over(gaps, ["m"], period_s=60, periods=6) == expected


def test_what_an_expression_needs_is_known() -> None:
    assert parse("IF(a > 0, 100 * b / a, FILL(c, REPEAT))").names == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("ANOMALY_DETECTION_BAND(m1)", "does not compute ANOMALY_DETECTION_BAND"),
        ("SEARCH('{AWS/SageMaker}', 'Sum', 60)", "does not compute SEARCH"),
        ("m1 +", "cannot be read"),
        ("__import__('os').system('true')", "does not compute"),
        ("m1.values", "does not have"),
        ("[m for m in m1]", "cannot be read"),
        ("{m1}", "does not have"),
        ("m1 if m2 else 0", "cannot be read"),
        ("m1 % 2", "does not have"),
        ("M1 + 1", "an id begins with a lower case letter"),
        ("7", "gives a number.*TIME_SERIES"),
        ("MAX(m1)", "gives a number.*TIME_SERIES"),
        ("METRICS() + METRICS()", "not two arrays"),
        ("PERIOD(m1 + m2)", "id of a metric"),
        ("unknown + 1", "there is no unknown; Metrics has errors"),
        ("IF(m1)", "2 or 3 arguments"),
        ("True", "True"),
        ("MAX(m1, m2)", "2 arguments and needs 1"),
        ("1 < m1 < 2", "stands where"),
        ("x" * 3000, "2048"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(expression: str, said: str) -> None:
    with pytest.raises(BadExpression, match=said):
        over(expression)
