"""What SAGEMAKER_INFERENCE_OUTPUT selects: labels, probabilities and scores instead of the bare prediction.

The words, which objective has which of them, and what they hold are those of SageMaker's XGBoost container
(github.com/aws/sagemaker-xgboost-container). In two points it is stricter or wider here: a word that does not exist is
refused when the server starts (there each answer holds NaN for it), and an objective that it does not list, at which it
answers 500, has `predicted_score`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..contract import UserError
from .encode import Named

WORDS = (
    "predicted_label",
    "labels",
    "probability",
    "probabilities",
    "raw_score",
    "raw_scores",
    "predicted_score",
)

_LABELS = frozenset(("predicted_label", "labels", "raw_score", "raw_scores"))
_WITH_PROBABILITIES = _LABELS | {"probability", "probabilities"}
_VALID = {
    "binary:logistic": _WITH_PROBABILITIES,
    "binary:logitraw": _LABELS,
    "binary:hinge": _LABELS,
    "multi:softmax": _LABELS,
    "multi:softprob": _WITH_PROBABILITIES,
}
_OTHERS = frozenset(("predicted_score",))


@dataclass(frozen=True)
class Selection:
    """What each row's answer holds.

    Attributes:
        words: in the order in which they were asked for, which is that of the columns in CSV.
    """

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Read the value of SAGEMAKER_INFERENCE_OUTPUT: words with commas between them; case and spaces do not matter.

        Raises:
            UserError: a word does not exist, or comes twice.
        """
        words = tuple(text.replace(" ", "").lower().split(","))
        for place, word in enumerate(words):
            if word not in WORDS:
                raise UserError(
                    f"SAGEMAKER_INFERENCE_OUTPUT: {word!r:.60} is not one of {', '.join(WORDS)} (with commas between them)"
                )
            if word in words[:place]:
                raise UserError(f"SAGEMAKER_INFERENCE_OUTPUT: {word!r} is given twice")
        return cls(words)

    def invalid(self, objective: str) -> tuple[str, ...]:
        """The words that mean nothing for an objective, for one warning when the model is loaded."""
        return tuple(word for word in self.words if word not in _VALID.get(objective, _OTHERS))

    def of(self, objective: str, num_class: int, prediction: NDArray[np.float32]) -> Named:
        """What was selected, by word; NaN in each row for what means nothing with this objective.

        - predicted_label: the class. binary:logistic has 1 where the probability is over 0.5, binary:logitraw where the
          score is over 0, multi:softprob the first of the most probable; these are integers. binary:hinge and
          multi:softmax predict the class itself, a float.
        - labels: all classes.
        - probability: of class 1 (binary:logistic), of the most probable class (multi:softprob).
        - probabilities: of all classes.
        - raw_score: as probability, and where there is none the prediction itself.
        - raw_scores: as probabilities; where there are none `[1 - prediction, prediction]`. That is so for multi:softmax as
          well, as in SageMaker's container, though it says nothing of the classes there: multi:softprob is what tells more.
        - predicted_score: the prediction, of all objectives that have no classes.

        Args:
            objective: XGBoost's name of it.
            num_class: classes of a `multi:` objective.
            prediction: what `Booster.predict` gives, shape (rows,) or (rows, values).

        Returns:
            Shape (rows,) or (rows, values) for each word, in the order of `words`.
        """
        invalid = frozenset(self.invalid(objective))
        return {
            word: np.full(len(prediction), np.nan, np.float32)
            if word in invalid
            else _value(word, objective, num_class, prediction)
            for word in self.words
        }


def _value(
    word: str, objective: str, num_class: int, prediction: NDArray[np.float32]
) -> NDArray[np.float32] | NDArray[np.int64]:
    by_class = prediction.ndim == 2
    if word == "predicted_label":
        return _labels(objective, prediction)
    if word == "labels":
        classes = num_class if objective.startswith("multi:") else 2
        return np.tile(np.arange(classes, dtype=np.int64), (len(prediction), 1))
    if word == "predicted_score":
        return prediction
    if word in ("probability", "raw_score"):
        return prediction.max(axis=1) if by_class else prediction
    if by_class:
        return prediction
    other = 1.0 - prediction.astype(np.float64)
    return np.stack((other.astype(np.float32), prediction), axis=1)


def _labels(objective: str, prediction: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.int64]:
    if objective == "binary:logistic":
        return (prediction > np.float32(0.5)).astype(np.int64)
    if objective == "binary:logitraw":
        return (prediction > 0).astype(np.int64)
    if objective == "multi:softprob":
        classes: NDArray[np.int64] = np.argmax(prediction, axis=1).astype(np.int64)
        return classes
    return prediction
