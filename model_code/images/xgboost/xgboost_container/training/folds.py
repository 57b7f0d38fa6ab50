"""k-fold cross validation: which rows each model does not see, what they say of those rows, and the mean of the metrics.

SageMaker's algorithm does this for `_kfold` and `_num_cv_round`: repeated, stratified by class where there are classes,
a model per fold, and a line with the mean of each metric. It measures its folds on all rows, the model's own among them;
here `validation` is the rows that the fold's model has not seen.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import UserError
from . import metrics

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """`number` counts through all repeats, from 0; rows are in rising order."""

    number: int
    train: Rows
    held_out: Rows


def folds(
    labels: NDArray[Any], qids: NDArray[Any] | None, *, k: int, repeats: int, seed: int, classes: bool
) -> Iterator[Fold]:
    """Every fold of every repeat. The same arguments give the same folds.

    Args:
        qids: the queries of ranking, whose rows stay together; None otherwise.
        classes: whether every fold gets its share of each label.

    Raises:
        UserError: there are fewer rows (or queries) than folds.
    """
    keys, what = (np.arange(len(labels)), "rows") if qids is None else (np.asarray(qids), "queries")
    units, unit_of_row = np.unique(keys, return_inverse=True)
    if len(units) < k:
        raise UserError(f"_kfold is {k} and there are {len(units)} {what}: give at most as many folds as {what}")
    generator = np.random.default_rng(seed % 2**32)
    for repeat in range(repeats):
        order = generator.permutation(len(units))
        if classes and qids is None:
            order = order[np.argsort(labels[order], kind="stable")]
        # Dealt out like cards: folds differ by one at most, in all and (where the cards are sorted by label) in each label.
        fold_of_unit = np.empty(len(units), np.int64)
        fold_of_unit[order] = np.arange(len(units)) % k
        fold_of_row = fold_of_unit[unit_of_row]
        for fold in range(k):
            yield Fold(repeat * k + fold, np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold))


class Predictions:
    """What the models say of rows that they have not seen, once per row and repeat.

    `predictions.csv` is SageMaker's: a line per row of the training data, with the label and the mean of the predictions;
    for classes the label, the mean probability (of the second of two classes, of the class said among several), and
    the class said most often.
    """

    def __init__(self, labels: NDArray[Any], *, repeats: int, classes: int, threshold: float = 0.5) -> None:
        self._labels = labels.astype(np.float64)
        self._classes, self._threshold = classes, threshold
        self._values = np.full((len(labels), repeats), np.nan)
        self._said = np.zeros((len(labels), repeats), np.int64)
        self._repeats = repeats

    def record(self, rows: Rows, repeat: int, predicted: NDArray[Any]) -> None:
        if self._classes:
            said = metrics.chosen_class(predicted, self._classes, self._threshold)
            self._said[rows, repeat] = said
            predicted = np.take_along_axis(predicted, said[:, None], axis=1)[:, 0] if predicted.ndim == 2 else predicted
        elif predicted.ndim == 2:
            predicted = predicted.mean(axis=1)
        self._values[rows, repeat] = predicted

    def as_csv(self) -> bytes:
        columns = [self._labels, self._values.mean(axis=1)]
        if self._classes:
            votes = np.stack([(self._said == label).sum(axis=1) for label in range(self._classes)])
            columns.append(votes.argmax(axis=0).astype(np.float64))
        text = io.BytesIO()
        np.savetxt(text, np.stack(columns, axis=1), fmt="%f", delimiter=",")
        return text.getvalue()


def mean_metrics(of_folds: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean over folds of each metric of each data set."""
    return {
        name: {metric: float(np.mean([fold[name][metric] for fold in of_folds])) for metric in scores}
        for name, scores in of_folds[0].items()
    }
