"""Alarms change their state as the tables of CloudWatch's user guide say: "How alarm state is evaluated when data is missing"."""

from __future__ import annotations

import pytest

from local_cloud.clock import Clock
from local_cloud.cloudwatch.alarm_rules import Missing, Rule, State, next_state, reason
from local_cloud.cloudwatch.windows import NoStatistic, Point, Windows

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


def test_an_alarm_is_not_premature() -> None:
    assert next_state(rule(3, 3, "missing"), series("- - - - X"), "INSUFFICIENT_DATA") == "INSUFFICIENT_DATA"


def test_the_reason_is_in_cloudwatchs_words() -> None:
    one = rule(1, 1, "notBreaching")
    assert reason(one, series("- - X"), "OK", "ALARM") == (
        "Threshold Crossed: 1 out of the last 1 datapoints [9] was greater than the threshold (5) "
        "(minimum 1 datapoint for OK -> ALARM transition)."
    )
    assert "treated as [NonBreaching]" in reason(one, series("- - -"), "ALARM", "OK")
    assert reason(rule(3, 3, "missing"), series("- - - - -"), "OK", "INSUFFICIENT_DATA") == (
        "Insufficient Data: 3 datapoints were unknown."
    )


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
    found = Windows(source, Clock(30)).values("a", "r", "n", "m", {}, statistic, 60, 3, at=1000.0)
    assert found == expected


def test_a_statistic_that_is_not_computed_is_refused_by_name() -> None:
    with pytest.raises(NoStatistic, match="tm99"):
        Windows(Published(), Clock(30)).values("a", "r", "n", "m", {}, "tm99", 60, 3)
