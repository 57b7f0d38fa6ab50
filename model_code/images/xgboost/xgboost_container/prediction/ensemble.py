"""One prediction out of several boosters': how k-fold models are served."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CLASS_LABELS = ("multi:softmax", "binary:hinge")
"""Objectives whose prediction is the class itself, of which there is no mean."""


def combined(predictions: Sequence[NDArray[np.float32]], objective: str) -> NDArray[np.float32]:
    """The prediction of an ensemble: the mean, or where predictions are classes the one that most boosters name.

    A tie goes to the smallest class. This is what SageMaker's own container does for k-fold.
    """
    if len(predictions) == 1:
        return predictions[0]
    stacked = np.stack(predictions)
    if objective not in CLASS_LABELS:
        return np.asarray(stacked.mean(axis=0, dtype=np.float64), np.float32)
    classes = np.unique(stacked)
    votes = (stacked[None] == classes.reshape(-1, *[1] * stacked.ndim)).sum(axis=1)
    return np.asarray(classes[votes.argmax(axis=0)], np.float32)
