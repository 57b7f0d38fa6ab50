"""Alarms change their state as the tables of CloudWatch's user guide say: "How alarm state is evaluated when data is missing"."""

from __future__ import annotations

import datetime

import pytest

from local_cloud.clock import Clock
from local_cloud.cloudwatch.alarm_rules import Missing, Rule, State, next_state, reason, reason_data
from local_cloud.cloudwatch.windows import NoStatistic, Point, Wanted, Windows

KEPT: State = "OK"
TREATMENTS: tuple[Missing, ...] = ("missing", "ignore", "breaching", "notBreaching")


def rule(needed: int, of: int, missing: Missing) -> Rule:
    return Rule("GreaterThanThreshold", 5.0, of, needed, missing)


def series(picture: str) -> list[float | None]:
    """`0` is within the threshold, `X` beyond it, `-` is missing."""
    return [{"0": 1.0, "X": 9.0, "-": None}[letter] for letter in picture.split()]


@pytest.mark.parametrize(
    ("needed", "picture", "expected"),
    [
        (3, "0 - X - X", ("OK", "OK", "OK", "OK")),
        (3, "- - - - 0", ("OK", "OK", "OK", "OK")),
        (3, "- - - - -", ("INSUFFICIENT_DATA", KEPT, "ALARM", "OK")),
        (3, "0 X X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (3, "- - X - -", ("ALARM", KEPT, "ALARM", "OK")),
        (2, "0 - X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0 0 X 0 X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0 - X - -", ("OK", "OK", "ALARM", "OK")),
        (2, "- - - - 0", ("OK", "OK", "ALARM", "OK")),
        (2, "- - - X -", ("ALARM", KEPT, "ALARM", "OK")),
    ],
)
def test_missing_data_counts_as_documented(needed: int, picture: str, expected: tuple[State, ...]) -> None:
    found = tuple(next_state(rule(needed, 3, missing), series(picture), KEPT) for missing in TREATMENTS)
    assert found == expected


@pytest.mark.parametrize("picture", ["- - - - X", "- - - X -", "- - - X X"])
def test_an_alarm_is_not_premature(picture: str) -> None:
    states: tuple[State, ...] = ("INSUFFICIENT_DATA", "OK")
    for state in states:
        assert next_state(rule(3, 3, "missing"), series(picture), state) == state


AT = datetime.datetime(2019, 10, 2, 16, 59, tzinfo=datetime.UTC).timestamp()


def why(rule: Rule, values: list[float | None], new: State) -> str:
    """The reason, with the last period at AT and the others a minute apart."""
    return reason(rule, values, [AT - 60 * (len(values) - 1 - index) for index in range(len(values))], new)


@pytest.mark.parametrize(
    ("needed", "of", "missing", "values", "new", "expected"),
    [
        (
            1, 1, "notBreaching", [None, None, 9.5], "ALARM",
            "Threshold Crossed: 1 out of the last 1 datapoints [9.5 (02/10/19 16:59:00)] was greater than the threshold (5.0) "
            "(minimum 1 datapoint for OK -> ALARM transition).",
        ),
        (
            2, 3, "missing", [1.0, 1.0, 9.0, 1.0, 1.0], "OK",
            "Threshold Crossed: 2 out of the last 3 datapoints [1.0 (02/10/19 16:59:00), 1.0 (02/10/19 16:58:00)] were not "
            "greater than the threshold (5.0) (minimum 2 datapoints for ALARM -> OK transition).",
        ),
        (
            1, 1, "notBreaching", [None] * 3, "OK",
            "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as "
            "[NonBreaching].",
        ),
        (
            2, 3, "breaching", [None, 9.0, None, None, None], "ALARM",
            "Threshold Crossed: 1 datapoint was received for 3 periods and 2 missing datapoints were treated as [Breaching].",
        ),
        (3, 3, "missing", [None] * 5, "INSUFFICIENT_DATA", "Insufficient Data: 3 datapoints were unknown."),
        (1, 1, "missing", [None] * 3, "INSUFFICIENT_DATA", "Insufficient Data: 1 datapoint was unknown."),
    ],
)  # fmt: skip
def test_the_reason_is_in_cloudwatchs_words(
    needed: int, of: int, missing: Missing, values: list[float | None], new: State, expected: str
) -> None:
    assert why(rule(needed, of, missing), values, new) == expected


def test_programs_get_the_reason_as_data() -> None:
    values: list[float | None] = [None, 1.0, 9.0]
    starts = [AT - 120, AT - 60, AT]
    data = reason_data(rule(2, 2, "missing"), values, starts, now=AT + 70.5, period_s=60, statistic="Average")
    assert data == {
        "version": "1.0",
        "queryDate": "2019-10-02T17:00:10.500+0000",
        "startDate": "2019-10-02T16:58:00.000+0000",
        "statistic": "Average",
        "period": 60,
        "recentDatapoints": [1.0, 9.0],
        "threshold": 5.0,
        "evaluatedDatapoints": [
            {"timestamp": "2019-10-02T16:59:00.000+0000", "value": 9.0},
            {"timestamp": "2019-10-02T16:58:00.000+0000", "value": 1.0},
        ],
    }


@pytest.mark.parametrize(
    ("comparison", "breaching"),
    [
        ("GreaterThanThreshold", [6.0]),
        ("GreaterThanOrEqualToThreshold", [5.0, 6.0]),
        ("LessThanThreshold", [4.0]),
        ("LessThanOrEqualToThreshold", [4.0, 5.0]),
    ],
)
def test_each_comparison_breaches_on_its_side(comparison: str, breaching: list[float]) -> None:
    asked = Rule(comparison, 5.0, 1, 1, "missing")
    assert [value for value in (4.0, 5.0, 6.0) if next_state(asked, [value], "OK") == "ALARM"] == breaching


class Published:
    """Points at times before 1000, newest first."""

    def __init__(self, *points: tuple[float, float, float]) -> None:
        self.points = [
            Point(at, count, value * count, value, value) for at, value, count in sorted(points, reverse=True)
        ]

    def newest_first(self, *_: object) -> list[Point]:
        return self.points


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("Sum", [None, 6.0, 22.0]),
        ("Average", [None, 2.0, 5.5]),
        ("SampleCount", [None, 3.0, 4.0]),
        ("Minimum", [None, 1.0, 1.0]),
        ("Maximum", [None, 4.0, 10.0]),
        ("p50", [None, 1.0, 5.5]),
        ("p100", [None, 4.0, 10.0]),
    ],
)
def test_windows_slide_in_the_clouds_time(statistic: str, expected: list[float | None]) -> None:
    # A minute lasts two seconds: 994 to 996, 996 to 998, 998 to 1000.
    source = Published((993.9, 99, 1), (996.0, 1, 2), (997.5, 4, 1), (998.0, 10, 2), (1000.0, 1, 2), (1000.1, 99, 1))
    found = Windows(source, Clock(30)).values(Wanted("a", "r", "n", "m", {}, statistic, 60, 3, at=1000.0))
    assert found == expected


def test_a_statistic_that_is_not_computed_is_refused_by_name() -> None:
    with pytest.raises(NoStatistic, match="tm99"):
        Windows(Published(), Clock(30)).values(Wanted("a", "r", "n", "m", {}, "tm99", 60, 3))
