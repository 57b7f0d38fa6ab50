"""Which metrics there are, which way is better, and which objectives each is meant for.

XGBoost's own are computed by XGBoost. SageMaker's algorithm has more (accuracy, f1, ... : "Tune an XGBoost Model" in the
Amazon SageMaker AI Developer Guide); those are here. Each is a sum over rows first and a number after, so that several
hosts add their sums and get the number that one host would get.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_PROBABILITY = ("binary:", "reg:logistic")
_CLASSES = ("binary:", "multi:")
_VALUES = ("reg:", "count:", "survival:", "rank:", "binary:")


@dataclass(frozen=True)
class Metric:
    """`objectives` are the beginnings of the objectives that it says something about; none means all."""

    maximize: bool = False
    objectives: tuple[str, ...] = ()
    takes_number: bool = False  # as in error@0.7, ndcg@5, map@10-

    def fits(self, objective: str) -> bool:
        return not self.objectives or objective.startswith(self.objectives)


_RANKS = Metric(maximize=True, objectives=("rank:", "binary:"), takes_number=True)
_AREA = Metric(maximize=True, objectives=("binary:", "rank:", "multi:", "reg:logistic"))

OF_XGBOOST: dict[str, Metric] = {
    "rmse": Metric(objectives=_VALUES),
    "rmsle": Metric(objectives=_VALUES),
    "mae": Metric(objectives=_VALUES),
    "mape": Metric(objectives=_VALUES),
    "mphe": Metric(objectives=_VALUES),
    "quantile": Metric(objectives=("reg:quantileerror",)),
    "logloss": Metric(objectives=_PROBABILITY),
    "error": Metric(objectives=_PROBABILITY, takes_number=True),
    "merror": Metric(objectives=("multi:",)),
    "mlogloss": Metric(objectives=("multi:",)),
    "auc": _AREA,
    "aucpr": _AREA,
    "pre": _RANKS,
    "ndcg": _RANKS,
    "map": _RANKS,
    "poisson-nloglik": Metric(objectives=("count:poisson",)),
    "gamma-nloglik": Metric(objectives=("reg:gamma", "reg:tweedie")),
    "gamma-deviance": Metric(objectives=("reg:gamma", "reg:tweedie")),
    "tweedie-nloglik": Metric(objectives=("reg:tweedie",), takes_number=True),
    "cox-nloglik": Metric(objectives=("survival:cox",)),
    "aft-nloglik": Metric(objectives=("survival:aft",)),
    "interval-regression-accuracy": Metric(maximize=True, objectives=("survival:aft",)),
}

_OF_CLASSES = Metric(maximize=True, objectives=_CLASSES)
_OF_TWO = Metric(maximize=True, objectives=("binary:",))

OF_CONTAINER: dict[str, Metric] = {
    "accuracy": _OF_CLASSES,
    "balanced_accuracy": _OF_CLASSES,
    "f1": _OF_CLASSES,
    "f1_macro": _OF_CLASSES,
    "f1_binary": _OF_TWO,
    "precision": _OF_TWO,
    "precision_macro": _OF_CLASSES,
    "precision_micro": _OF_CLASSES,
    "recall": _OF_TWO,
    "recall_macro": _OF_CLASSES,
    "recall_micro": _OF_CLASSES,
    "mse": Metric(objectives=_VALUES),
    "r2": Metric(maximize=True, objectives=_VALUES),
}

METRICS = {**OF_XGBOOST, **OF_CONTAINER}


def base_name(metric: str) -> str:
    """`ndcg` of `ndcg@5`, `map` of `map-`: the name without what sets it."""
    name = metric.partition("@")[0]
    return name[:-1] if name.endswith("-") else name


def counts_classes(metric: str) -> bool:
    """Whether it compares the class of a row with the one that was predicted, so that a label must be a class."""
    return metric in _OF_COUNTS


def maximize(metric: str) -> bool:
    """Whether more of it is better."""
    known = METRICS.get(base_name(metric))
    return known is not None and known.maximize


def statistics(
    metric: str, labels: NDArray[Any], predicted: NDArray[Any], classes: int, threshold: float = 0.5
) -> Numbers:
    """What the metric needs of these rows, as sums: a table of counts (truth by prediction), or four moments.

    Predictions are what `Booster.predict` gives: a value, a probability, or a row of probabilities.
    """
    if metric in ("mse", "r2"):
        labels = labels.astype(np.float64)
        error = predicted.astype(np.float64) - labels
        return np.array([len(labels), np.sum(error**2), np.sum(labels), np.sum(labels**2)])
    truth = labels.astype(np.int64)
    found = chosen_class(predicted, classes, threshold)
    return np.bincount(truth * classes + found, minlength=classes * classes).astype(np.float64)


def chosen_class(predicted: NDArray[Any], classes: int, threshold: float = 0.5) -> NDArray[np.int64]:
    """The class that a prediction says: the likeliest of several, or the second of two when above the threshold."""
    if predicted.ndim == 2:
        return np.asarray(predicted.argmax(axis=1), np.int64)
    if classes == 2:
        return np.asarray(predicted > threshold, np.int64)
    return np.asarray(predicted, np.int64)


def value(metric: str, sums: Numbers) -> float:
    """The metric of the rows whose sums these are. Scores average over the classes that occur, as scikit-learn has it."""
    if metric in ("mse", "r2"):
        return _of_moments(metric, sums)
    classes = round(len(sums) ** 0.5)
    counts = sums.reshape(classes, classes)
    return float(_OF_COUNTS[metric](counts))


def _of_moments(metric: str, sums: Numbers) -> float:
    rows, squares, total, total_squares = (float(number) for number in sums)
    if metric == "mse":
        return squares / rows
    spread = total_squares - total**2 / rows
    return 1 - squares / spread if spread > 0 else float(squares == 0)


def _ratio(part: Numbers, whole: Numbers) -> Numbers:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _precision(counts: Numbers) -> Numbers:
    return _ratio(np.diag(counts).copy(), counts.sum(axis=0))


def _recall(counts: Numbers) -> Numbers:
    return _ratio(np.diag(counts).copy(), counts.sum(axis=1))


def _f1(counts: Numbers) -> Numbers:
    return _ratio(2 * np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1))


def _mean(scores: Callable[[Numbers], Numbers]) -> Callable[[Numbers], float]:
    """Over the classes that occur in the labels or in the predictions."""
    return lambda counts: float(scores(counts)[(counts.sum(axis=0) + counts.sum(axis=1)) > 0].mean())


def _accuracy(counts: Numbers) -> float:
    return float(np.trace(counts) / counts.sum())


_OF_COUNTS: dict[str, Callable[[Numbers], float]] = {
    "accuracy": _accuracy,
    "precision_micro": _accuracy,  # the same number when every row has one label
    "recall_micro": _accuracy,
    "balanced_accuracy": lambda counts: float(_recall(counts)[counts.sum(axis=1) > 0].mean()),
    "f1": _mean(_f1),
    "f1_macro": _mean(_f1),
    "f1_binary": lambda counts: float(_f1(counts)[1]),
    "precision": lambda counts: float(_precision(counts)[1]),
    "precision_macro": _mean(_precision),
    "recall": lambda counts: float(_recall(counts)[1]),
    "recall_macro": _mean(_recall),
}
