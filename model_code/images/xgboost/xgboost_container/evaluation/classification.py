"""How often classes are right, and how well probabilities order them.

Names and meaning are those of SageMaker's model quality reports ("Model quality metrics and Amazon CloudWatch
monitoring" in the Amazon SageMaker AI Developer Guide), so that its tools read ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
THRESHOLD = 0.5


def binary(truth: Numbers, probability: Numbers, said: Numbers | None = None) -> dict[str, float]:
    """Metrics of the positive class, 1.

    A share of nothing is 0. The area under the ROC curve is 0.5 where only one class is there, since then there
    is nothing to order.

    Args:
        truth: (rows,), 0 or 1.
        probability: (rows,), of class 1.
        said: (rows,), the class that was predicted; None means 1 where the probability is over 0.5, as XGBoost's own
            `error` has it.
    """
    positive, predicted = truth == 1, probability > THRESHOLD if said is None else said == 1
    true_positive, false_positive = int(np.sum(positive & predicted)), int(np.sum(~positive & predicted))
    false_negative, true_negative = int(np.sum(positive & ~predicted)), int(np.sum(~positive & ~predicted))
    precision = _share(true_positive, true_positive + false_positive)
    recall = _share(true_positive, true_positive + false_negative)
    return {
        "accuracy": (true_positive + true_negative) / len(truth),
        "precision": precision,
        "recall": recall,
        "f0_5": _f(0.5, precision, recall),
        "f1": _f(1, precision, recall),
        "f2": _f(2, precision, recall),
        "true_positive_rate": recall,
        "true_negative_rate": _share(true_negative, true_negative + false_positive),
        "false_positive_rate": _share(false_positive, true_negative + false_positive),
        "false_negative_rate": _share(false_negative, true_positive + false_negative),
        "auc": _area_under_the_curve(positive, probability),
        "log_loss": _log_loss(np.where(positive, probability, 1 - probability)),
    }


def multiclass(truth: Numbers, probabilities: Numbers, said: Numbers | None = None) -> dict[str, float]:
    """Metrics over all classes, each class weighted by how often it is there.

    Args:
        truth: (rows,), classes from 0.
        probabilities: (rows, classes).
        said: (rows,), the class that was predicted; None means the likeliest.
    """
    chosen = probabilities.argmax(axis=1).astype(np.float64) if said is None else said
    matrix = confusion(truth, chosen, probabilities.shape[1])
    hits, there, named = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    recalls = [_share(hit, total) for hit, total in zip(hits, there, strict=True)]
    precisions = [_share(hit, total) for hit, total in zip(hits, named, strict=True)]
    weights = there / len(truth)

    def weighted(values: list[float]) -> float:
        return float(np.dot(weights, values))

    pairs = list(zip(precisions, recalls, strict=True))
    return {
        "accuracy": float(hits.sum() / len(truth)),
        "weighted_precision": weighted(precisions),
        "weighted_recall": weighted(recalls),
        "weighted_f0_5": weighted([_f(0.5, *pair) for pair in pairs]),
        "weighted_f1": weighted([_f(1, *pair) for pair in pairs]),
        "weighted_f2": weighted([_f(2, *pair) for pair in pairs]),
        "log_loss": _log_loss(probabilities[np.arange(len(truth)), truth.astype(np.int64)]),
    }


def confusion(truth: Numbers, predicted: Numbers, classes: int) -> NDArray[np.int64]:
    """How many rows of each class (down) were predicted to be of each class (across)."""
    cells = truth.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _f(beta: float, precision: float, recall: float) -> float:
    """Van Rijsbergen's effectiveness measure: recall counts `beta` times as much as precision."""
    return _share((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def _log_loss(of_the_truth: Numbers) -> float:
    # Clipped as in scikit-learn: one certain mistake must not make the mean infinite.
    smallest = np.finfo(np.float64).eps
    return float(-np.mean(np.log(np.clip(of_the_truth, smallest, 1 - smallest))))


def _area_under_the_curve(positive: NDArray[np.bool_], score: Numbers) -> float:
    """How likely a positive is scored above a negative, a tie counting half: Mann and Whitney's U, scaled."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return 0.5
    _, group, sizes = np.unique(score, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(sizes) - (sizes - 1) / 2
    ranks = float(middle_rank[group][positive].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)
