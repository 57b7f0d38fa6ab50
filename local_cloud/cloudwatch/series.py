"""Arithmetic on series of values, with CloudWatch's rules for values that are missing.

The rules are those of the user guide, "Using math expressions with CloudWatch metrics": where one series has a value and the
other has none, the missing one counts as 0; where both have none, there is none; a division by zero leaves a gap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

Series = list[float | None]
"""A value for each period, the oldest first; None where there is none."""


class BadExpression(ValueError):
    """The expression cannot be read, or has something that the local cloud does not compute."""


class Array(tuple["float | Series", ...]):
    """Several series, as `[m1, m2]` or METRICS() give them."""


Value = float | Series | Array
"""A number (NaN is one that does not exist, such as the average of nothing), a series, or several."""


def each(work: Callable[[float], float], value: Value) -> Value:
    """Apply a function of one number to all of a value."""
    if isinstance(value, Array):
        return Array(_one(each(work, item)) for item in value)
    if isinstance(value, list):
        return [None if item is None else _or_gap(_number(work, item)) for item in value]
    return _number(work, value)


def both(work: Callable[[float, float], float], left: Value, right: Value) -> Value:
    """Apply a function of two numbers, period by period.

    Raises:
        BadExpression: two arrays.
    """
    if isinstance(left, Array) and isinstance(right, Array):
        raise BadExpression("An operator takes one array of series and a series or a number, not two arrays.")
    if isinstance(left, Array):
        return Array(_one(both(work, item, right)) for item in left)
    if isinstance(right, Array):
        return Array(_one(both(work, left, item)) for item in right)
    if not isinstance(right, list):
        number = right
        return each(lambda item: work(item, number), left)
    if not isinstance(left, list):
        other = left
        return each(lambda item: work(other, item), right)
    return [
        None if a is None and b is None else _or_gap(_number(work, a or 0.0, b or 0.0))
        for a, b in zip(left, right, strict=True)
    ]


def spread(value: Value, periods: int) -> Series:
    """A series as it is; a number in each period.

    Raises:
        BadExpression: several series.
    """
    if isinstance(value, Array):
        raise BadExpression("One series is needed here, and this is an array of several.")
    return list(value) if isinstance(value, list) else [_or_gap(value)] * periods


def reduced(reduce: Callable[[list[float]], float], value: Value, missing: float | None = None) -> Value:
    """What a function such as MAX makes of a series, a number; or of several, a series.

    Args:
        reduce: of at least one number.
        value: to reduce.
        missing: what a series without a value counts as where another has one; None if it does not count.

    Raises:
        BadExpression: a number, which has nothing to reduce.
    """
    if isinstance(value, Array):
        periods = max((len(item) for item in value if isinstance(item, list)), default=0)
        columns = zip(*(spread(item, periods) for item in value), strict=True)
        return [_of_column(reduce, list(column), missing) for column in columns]
    if isinstance(value, list):
        there = [item for item in value if item is not None]
        return reduce(there) if there else math.nan
    raise BadExpression("A function over a series has a number as its argument.")


def chosen(condition: Value, then: Value, otherwise: Value | None) -> Value:
    """IF: `then` where the condition is anything but 0, else `otherwise`; where the condition is missing, nothing.

    Where the condition is met and `then` is missing the result is 0, where it is not met and `otherwise` is missing it is
    missing: so the user guide has it, "Using IF expressions".

    Raises:
        BadExpression: an array.
    """
    if any(isinstance(value, Array) for value in (condition, then, otherwise)):
        raise BadExpression("IF takes series and numbers, and here is an array of series.")
    if not isinstance(condition, list):
        if condition:
            return then
        return otherwise if otherwise is not None else _nothing_like(then)
    thens = spread(then, len(condition))
    others = spread(math.nan if otherwise is None else otherwise, len(condition))
    return [
        None if met is None else (0.0 if yes is None else yes) if met else no
        for met, yes, no in zip(condition, thens, others, strict=True)
    ]


def repeated(series: Series) -> Series:
    """FILL(m, REPEAT): the latest value before a gap; what is missing at the beginning stays missing."""
    result: Series = []
    for item in series:
        result.append(item if item is not None or not result else result[-1])
    return result


def interpolated(series: Series) -> Series:
    """FILL(m, LINEAR): on the line between the values around a gap; what is missing at either end stays missing."""
    result = list(series)
    known = [index for index, item in enumerate(series) if item is not None]
    for start, end in itertools.pairwise(known):
        first, last = float(series[start] or 0.0), float(series[end] or 0.0)
        for index in range(start + 1, end):
            result[index] = first + (last - first) * (index - start) / (end - start)
    return result


def differences(series: Series, second_s: float | None = None) -> Series:
    """DIFF and RATE: each value less the value before it, wherever that is; divided by the seconds between them.

    Args:
        series: of values.
        second_s: the length of a period, for a rate; None for the plain difference.
    """
    result: Series = [None] * len(series)
    before: tuple[int, float] | None = None
    for index, item in enumerate(series):
        if item is None:
            continue
        if before is not None:
            result[index] = (item - before[1]) / ((index - before[0]) * second_s if second_s else 1.0)
        before = index, item
    return result


def _of_column(reduce: Callable[[list[float]], float], column: Series, missing: float | None) -> float | None:
    there = [item for item in column if item is not None]
    if not there:
        return None
    return reduce(there if missing is None else [missing if item is None else item for item in column])


def _nothing_like(value: Value) -> Value:
    return [None] * len(value) if isinstance(value, list) else math.nan


def _one(value: Value) -> float | Series:
    assert not isinstance(value, Array)
    return value


def _number(work: Callable[..., float], *values: float) -> float:
    try:
        result = work(*values)
    except (ZeroDivisionError, OverflowError, ValueError):
        return math.nan
    # A root of a negative number is complex in Python.
    return float(result) if isinstance(result, int | float) else math.nan


def _or_gap(number: float) -> float | None:
    return number if math.isfinite(number) else None
