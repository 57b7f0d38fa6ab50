"""What labels, instance weights and query groups must be, by objective: told with the row of the first that is not.

XGBoost checks some of it itself, without saying where, and trains on the rest in silence. The ranges are those of XGBoost's
objectives ("XGBoost Parameters", section "Learning Task Parameters").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contract import UserError

Place = Callable[[int], str]
"""Tells where a row, numbered from 0 in a channel, comes from: `train/a.csv: row 3`."""

_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelFacts:
    """What has to be known of the labels of all hosts together: one shard alone may well hold a single class."""

    rows: int
    lowest: float
    highest: float
    weight: float

    @classmethod
    def of(cls, labels: NDArray[np.float32], weights: NDArray[np.float32] | None) -> LabelFacts:
        if not len(labels):
            return cls(0, np.inf, -np.inf, 0.0)
        weight = float(len(labels)) if weights is None else float(weights.sum(dtype=np.float64))
        return cls(len(labels), float(labels.min()), float(labels.max()), weight)

    def merge(self, other: LabelFacts) -> LabelFacts:
        return LabelFacts(
            self.rows + other.rows,
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
            self.weight + other.weight,
        )

    def as_array(self) -> NDArray[np.float64]:
        """(4,), to be sent to other hosts."""
        return np.array([self.rows, self.lowest, self.highest, self.weight])

    @classmethod
    def from_array(cls, array: NDArray[np.float64]) -> LabelFacts:
        return cls(int(array[0]), *(float(value) for value in array[1:]))

    def check(self, channel: str) -> None:
        """Refuse what nothing can be learned from.

        Raises:
            UserError: all rows have the same label, or no row has a weight above 0.
        """
        if self.rows and self.lowest == self.highest:
            raise UserError(
                f"{channel}: the label is {self.lowest:g} in all {self.rows} rows, so there is nothing to learn. "
                "The label must be the first column"
            )
        if self.rows and self.weight == 0:
            raise UserError(f"{channel}: the weight is 0 in all {self.rows} rows, so no row counts")


def check_present(labels: NDArray[np.float32], place: Place) -> None:
    """Raises:
    UserError: a label is missing or infinite.
    """
    _refuse(np.isnan(labels), labels, place, lambda _: "the label is missing. Fill it in or remove the row")
    _refuse(np.isinf(labels), labels, place, lambda label: f"the label is {label:g}, must be finite")


def check_weights(weights: NDArray[np.float32], place: Place) -> None:
    """Raises:
    UserError: a weight is missing, infinite or negative.
    """
    _refuse(np.isnan(weights), weights, place, lambda _: "the weight is missing")
    _refuse(
        (weights < 0) | np.isinf(weights), weights, place, lambda weight: f"the weight is {weight:g}, must be 0 or more"
    )


def check_for(objective: str, labels: NDArray[np.float32], place: Place, *, num_class: int = 0) -> None:
    """Check labels against what an objective can learn. An objective that is not known here takes any.

    Args:
        num_class: how many classes there are, for `multi:` objectives.

    Raises:
        UserError: names the first row whose label is out of range.
    """
    if objective.startswith("multi:"):
        allowed = (labels >= 0) & (labels < num_class) & (labels == np.floor(labels))
        rule = f"a class from 0 to {num_class - 1}, since num_class is {num_class}"
    else:
        found = _RULES.get(objective)
        if found is None:
            return
        allowed, rule = found[0](labels), found[1]
    _refuse(~allowed, labels, place, lambda label: f"the label is {label:.7g}, {objective} needs {rule}")


def check_whole(labels: NDArray[np.float32], place: Place) -> None:
    """Raises:
    UserError: a label is no class.
    """
    _refuse(
        ~_is_whole(labels),
        labels,
        place,
        lambda label: f"the label is {label:.7g}, and an eval_metric that compares classes needs 0, 1, ...",
    )


def _is_whole(labels: NDArray[np.float32]) -> _Mask:
    whole: _Mask = labels == np.floor(labels)
    return whole


def _is_0_to_1(labels: NDArray[np.float32]) -> _Mask:
    within: _Mask = (labels >= 0) & (labels <= 1)
    return within


def _is_0_or_1(labels: NDArray[np.float32]) -> _Mask:
    either: _Mask = (labels == 0) | (labels == 1)
    return either


# A label between 0 and 1 is a probability: XGBoost learns from it, and so does SageMaker's container.
_PROBABILITY = (_is_0_to_1, "0, 1 or a probability between them")
_CENSORED = (
    lambda labels: labels != 0,
    "a time: positive when the event happened, negative when it was not seen until then",
)
_RULES: dict[str, tuple[Callable[[NDArray[np.float32]], _Mask], str]] = {
    "binary:logistic": _PROBABILITY,
    "binary:logitraw": _PROBABILITY,
    "reg:logistic": _PROBABILITY,
    "binary:hinge": (_is_0_or_1, "0 or 1"),
    "reg:squaredlogerror": (lambda labels: labels > -1, "more than -1"),
    "count:poisson": (lambda labels: labels >= 0, "0 or more"),
    "reg:tweedie": (lambda labels: labels >= 0, "0 or more"),
    "reg:gamma": (lambda labels: labels > 0, "more than 0"),
    "rank:map": (_is_0_or_1, "0 or 1"),
    "rank:ndcg": (lambda labels: _is_whole(labels) & (labels >= 0), "a relevance: a whole number, 0 or more"),
    "survival:cox": _CENSORED,
    "survival:aft": _CENSORED,
}


def survival_bounds(labels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The lower and upper bounds of `survival:aft`, (rows,) each, from labels with the sign that `survival:cox` has.

    SageMaker's channels carry one label per row, and XGBoost's AFT needs two bounds. So a time t is an event at t, and
    -t says that nothing was seen until t (censored on the right): both survival objectives read the same data.
    """
    lower = np.abs(labels)
    return lower, np.where(labels < 0, np.float32(np.inf), lower)


def group_sizes(qids: NDArray[np.int64], place: Place) -> NDArray[np.int64]:
    """How many rows each query has, in order.

    Raises:
        UserError: a query's rows are not next to each other.
    """
    if not len(qids):
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(qids)) + 1])
    _, first = np.unique(qids[starts], return_index=True)
    if len(first) < len(starts):
        again = np.ones(len(starts), np.bool_)
        again[first] = False
        row = int(starts[np.flatnonzero(again)[0]])
        raise UserError(f"{place(row)}: qid {qids[row]} came before, with others between. Put a query's rows together")
    return np.diff(np.append(starts, len(qids)))


def group_weights(weights: NDArray[np.float32], sizes: NDArray[np.int64], place: Place) -> NDArray[np.float32]:
    """The weight of each query: XGBoost weighs queries, not their rows.

    Raises:
        UserError: a query's rows have different weights.
    """
    starts = np.cumsum(sizes) - sizes
    expected = np.repeat(weights[starts], sizes)
    _refuse(
        weights != expected,
        weights,
        place,
        lambda weight: f"the weight is {weight:g}, rows of the same query before have another; a query has one weight",
    )
    of_groups: NDArray[np.float32] = weights[starts]
    return of_groups


def _refuse(bad: _Mask, values: NDArray[np.float32], place: Place, say: Callable[[float], str]) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"{place(row)}: {say(float(values[row]))}")
