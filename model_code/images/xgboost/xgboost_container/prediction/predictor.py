"""Scores of one booster: a few rows by treelite, batches by XGBoost, the same numbers from both."""

from __future__ import annotations

import json
import re
import threading

import numpy as np
from numpy.typing import NDArray

from .. import without_scipy  # noqa: F401  (before XGBoost)
from ..contract import log
from ..schema import Schema
from . import gtil, in_place

import xgboost  # isort: skip

TOLERANCE = 1e-6
"""How far a score may be from `Booster.predict`, relative to max(1, |score|)."""


class Predictor:
    """One booster, scored as `Booster.predict` scores it: all of its rounds, the shape (n,) or (n, outputs).

    Threads may score at the same time.

    Attributes:
        schema: the columns of its rows.
        objective: XGBoost's name of it.
        num_class: classes of a `multi:` objective, else 0.
        num_outputs: raw scores of a row.
        num_rounds: boosting rounds; 0 for a linear booster.
        best_round: where early stopping saw the best score, counted from 0, or None.
        uses_treelite: whether few rows take the short way.
    """

    def __init__(self, content: bytes, *, is_json: bool, nthread: int = 1) -> None:
        """Load a model's bytes. XGBoost must be known to survive them: see `probe`.

        Args:
            content: UBJSON or JSON.
            is_json: which of the two.
            nthread: threads for a batch. 1, because a server scores several requests at once, and a
                pool of threads for each would only cost; a few rows never take more than one.

        Raises:
            xgboost.core.XGBoostError: it is not a model.
        """
        self._booster = xgboost.Booster({"nthread": nthread})
        self._booster.load_model(bytearray(content))
        self._booster.set_param({"nthread": nthread})  # loading forgets it
        learner = json.loads(self._booster.save_config())["learner"]
        parameters = learner["learner_model_param"]
        self.objective: str = learner["objective"]["name"]
        self.num_class = int(parameters["num_class"])
        self._kind: str = learner["gradient_booster"]["name"]
        self.num_rounds: int = 0 if self._kind == "gblinear" else self._booster.num_boosted_rounds()
        names, types = self._booster.feature_names, self._booster.feature_types
        self.schema = Schema(
            num_features=self._booster.num_features(),
            feature_names=tuple(names) if names else None,
            feature_types=tuple(types) if types else None,
        )
        # XGBoost promises threads for trees only, and in place only for `gbtree` the numbers of `Booster.predict`:
        # for dart it subtracts the base score again after each tree, which costs digits when that is large.
        self._in_place = self._kind == "gbtree"
        self._lock = threading.Lock() if self._kind == "gblinear" else None
        self._takes_class = self.objective == "multi:softmax"
        # Configures the booster, which must not happen in two threads at once.
        first = self._by_xgboost(np.zeros((1, self.schema.num_features), np.float32), margin=True)
        self.num_outputs: int = first.shape[1] if first.ndim > 1 else 1
        best = self._booster.attr("best_iteration")
        self.best_round = int(best) if best is not None and best.isdigit() else None
        self._trees = self._load_trees(content, is_json, _base_scores(parameters["base_score"]))
        self._few = 0 if self._trees is None else _few(self._trees.num_trees)

    @property
    def uses_treelite(self) -> bool:
        return self._trees is not None

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores after the objective's transformation: float32 of shape (n,), or (n, outputs) where there are several.

        Args:
            rows: shape (n, num_features); NaN is a missing value.

        Raises:
            ValueError: another width, or infinity, which `Booster.predict` refuses as well; says where.
        """
        rows = self._checked(rows)
        if self._trees is None or len(rows) > self._few:
            return self._by_xgboost(rows, margin=False)
        if self._takes_class:
            return np.asarray(self._trees.scores(rows, margin=True).argmax(axis=1), np.float32)
        scores = self._trees.scores(rows, margin=False)
        return scores if self._trees.num_outputs > 1 else scores.reshape(-1)

    def margin(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw scores, before the objective's transformation. Shapes and errors as in `predict`."""
        rows = self._checked(rows)
        if self._trees is None or len(rows) > self._few:
            return self._by_xgboost(rows, margin=True)
        scores = self._trees.scores(rows, margin=True)
        return scores if self._trees.num_outputs > 1 else scores.reshape(-1)

    def _checked(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        # Both libraries read as many columns as the model has, wherever that leads.
        if rows.ndim != 2 or rows.shape[1] != self.schema.num_features:
            raise ValueError(f"rows of shape {rows.shape}, the model needs (n, {self.schema.num_features})")
        rows = np.ascontiguousarray(rows, np.float32)
        # Booster.predict refuses infinity too; in place, and in treelite, it would pass. For one row, any() takes
        # three times as long.
        if np.count_nonzero(np.isinf(rows)):
            row, column = np.argwhere(np.isinf(rows))[0] + 1
            raise ValueError(f"row {row}, column {column}: infinity is no value that a model can use")
        return rows

    def _by_xgboost(self, rows: NDArray[np.float32], *, margin: bool) -> NDArray[np.float32]:
        if self._in_place:
            return in_place.scores(self._booster, rows, margin=margin)
        types = list(self.schema.feature_types) if self.schema.feature_types else None
        data = xgboost.DMatrix(rows, feature_types=types, enable_categorical=True, nthread=1)
        if self._lock is None:
            return self._booster.predict(data, output_margin=margin, validate_features=False)
        with self._lock:
            return self._booster.predict(data, output_margin=margin, validate_features=False)

    def _load_trees(self, content: bytes, is_json: bool, base_scores: NDArray[np.float32]) -> gtil.Trees | None:
        if self._kind == "gblinear":
            return None
        base = None
        if self.objective in ("binary:logistic", "reg:logistic"):
            # In float32, as XGBoost does; treelite takes the logarithm of a double.
            odds = np.float32(1) / base_scores - np.float32(1)
            base = -np.log(odds.astype(np.float64)).astype(np.float32)
        try:
            trees = gtil.Trees(content, is_json=is_json, base_margin=base)
            self._compare(trees)
        except gtil.Unsupported as why:
            log(f"XGBoost scores this model alone: treelite {why}")
            return None
        return trees

    def _compare(self, trees: gtil.Trees) -> None:
        """Both libraries on the same rows, once for each model.

        Raises:
            gtil.Unsupported: they differ.
        """
        if trees.num_features != self.schema.num_features:
            raise gtil.Unsupported(f"counts {trees.num_features} features, XGBoost {self.schema.num_features}")
        rows = _telling_rows(trees)
        for margin in (True, False):
            ours = trees.scores(rows, margin=margin or self._takes_class)
            if self._takes_class and not margin:
                ours = ours.argmax(axis=1).astype(np.float32)[:, None]
            theirs = self._by_xgboost(rows, margin=margin).reshape(len(rows), -1)
            if ours.shape != theirs.shape:
                raise gtil.Unsupported(f"gives scores of shape {ours.shape}, XGBoost {theirs.shape}")
            with np.errstate(invalid="ignore"):  # two infinities are told by ==
                close = np.abs(ours - theirs) <= TOLERANCE / 2 * np.maximum(1, np.abs(theirs))
            if not np.all(close | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))):
                raise gtil.Unsupported(f"and XGBoost differ by {np.nanmax(np.abs(ours - theirs)):g} on a test row")


def reason(error: xgboost.core.XGBoostError) -> str:
    """XGBoost's own reason in one line: without the time, the place in its source and the native stack below it."""
    return re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", str(error).splitlines()[0])[:300]


def _base_scores(text: str) -> NDArray[np.float32]:
    """`[5E-1]` since XGBoost 3.1, `5E-1` before."""
    return np.array([part for part in text.strip("[]").split(",") if part], np.float32)


def _few(trees: int) -> int:
    """Up to how many rows treelite is the faster one.

    Treelite's time grows with rows x trees. XGBoost's begins at 20 us, and at each call it measures the depth of every
    tree, before rows cost it an eighth of treelite's. Measured for 5 to 1000 trees of depth 3 and 6, the two meet at about
    230 rows for 5 trees, 45 for 20, 11 for 100, 8 for 200 and 3 for 1000. An error of a third costs a few us.
    """
    return 2 + 1000 // trees


def _telling_rows(trees: gtil.Trees, count: int = 24) -> NDArray[np.float32]:
    """Rows that take many ways through the trees: values at, just below and just above thresholds, and missing ones.

    The same for the same model: whether treelite is used must not change from one start to the next.
    """
    random = np.random.default_rng(0)
    rows = random.normal(size=(count, trees.num_features)).astype(np.float32)
    features, values = trees.thresholds(at_most=32)
    finite = np.isfinite(values)
    features, values = features[finite], values[finite]
    for row in rows[: count - 4]:
        order = random.permutation(len(features))
        row[features[order]] = np.nextafter(
            values[order], random.choice([-np.inf, np.inf], len(order)).astype(np.float32)
        )
        exact = order[: len(order) // 2]
        row[features[exact]] = values[exact]
    rows[random.random(rows.shape) < 0.1] = np.nan
    rows[-4], rows[-3], rows[-2], rows[-1] = np.nan, 0, -1e30, 1e30
    return rows
