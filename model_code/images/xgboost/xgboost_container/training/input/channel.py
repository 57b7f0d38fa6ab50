"""The rows of one channel between the files that they came from and the matrices that XGBoost makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from ...contract import UserError
from ...formats.content_types import Format
from ...formats.sparse import Sparse
from . import labels as label_rules
from . import matrices
from .blocks import Chosen
from .labels import LabelFacts
from .summary import Summary
from .table import Table

FEATURE_TYPES = ("q", "float", "int", "i", "c")
"""What a feature can be: a quantity, the same as a whole number or as true or false, or a category."""


class Channel:
    """The rows of one channel, after they were read and before XGBoost has them.

    Attributes:
        name: train, validation or test; `train+validation` when joined for cross-validation.
        content_type: the format that the rows were read from.
        files: names of the files (or of the pipe), from the channel on, in the order in which they were read.
        sha256: of the bytes of all files in that order, as they are stored.
        feature_names: of the features alone, or None where nobody named them.
    """

    def __init__(
        self,
        name: str,
        content_type: Format,
        table: Table,
        feature_names: tuple[str, ...] | None,
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        self.name = name
        self.content_type = content_type
        self.files = table.files
        self.sha256 = table.sha256
        self.feature_names = feature_names
        self.num_features = table.rows.width
        self._table = table
        self._chosen = chosen

    @property
    def rows(self) -> int:
        return len(self._table.labels)

    @property
    def is_sparse(self) -> bool:
        """Whether rows name the features that they have, so that the widest row decides how many there are."""
        return self._table.rows.is_sparse

    def labels(self) -> NDArray[np.float32]:
        return self._table.labels

    def weights(self) -> NDArray[np.float32] | None:
        """The instance weights, or None where the data have none."""
        return self._table.weights

    def qids(self) -> NDArray[np.int64] | None:
        """The query of each row for ranking, or None where the data have none."""
        return self._table.qids

    @cached_property
    def summary(self) -> Summary:
        """What each feature looks like. Of a subset, one more pass over its rows."""
        if self._table.summary is not None:
            return self._table.summary.widened(self.num_features)
        total = Summary.nothing(self.num_features)
        for block in self._table.rows:
            if isinstance(block, Sparse):
                part = Summary.of_sparse(block.indices, block.values, rows=len(block), width=self.num_features)
            else:
                part = Summary.of(block)
            total = total.merge(part)
        return total

    @property
    def label_facts(self) -> LabelFacts:
        """What hosts merge before they check that there is something to learn."""
        return LabelFacts.of(self.labels(), self.weights())

    def place(self, row: int) -> str:
        """Where a row, from 0, comes from: `train/a/part-1.csv: row 3`."""
        if self._chosen is not None:
            row = int(self._chosen[row])
        return self._table.place(row)

    def check(self, objective: str | None = None, *, num_class: int = 0, must_vary: bool = False) -> None:
        """Check labels, weights and queries, against an objective when one is given.

        Args:
            objective: XGBoost's name of it.
            num_class: for `multi:` objectives.
            must_vary: refuse a label that is the same in all rows, and weights that are all 0. For the training rows
                of one host. Several hosts merge `label_facts` and check these: a shard may hold a single class.

        Raises:
            UserError: names file and row of the first that is wrong.
        """
        labels, weights, qids = self.labels(), self.weights(), self.qids()
        column = ", column 1" if self.content_type == "csv" else ""
        label_rules.check_present(labels, lambda row: self.place(row) + column)
        if objective is not None:
            label_rules.check_for(objective, labels, lambda row: self.place(row) + column, num_class=num_class)
        if weights is not None:
            column = ", column 2" if self.content_type == "csv" else ""
            label_rules.check_weights(weights, lambda row: self.place(row) + column)
        if qids is not None:
            sizes = label_rules.group_sizes(qids, self.place)
            if weights is not None:
                label_rules.group_weights(weights, sizes, self.place)
        if must_vary:
            self.label_facts.check(self.name)

    def check_whole_labels(self) -> None:
        """For metrics that compare classes, where an objective alone would take a probability.

        Raises:
            UserError: names the first row whose label is no class.
        """
        column = ", column 1" if self.content_type == "csv" else ""
        label_rules.check_whole(self.labels(), lambda row: self.place(row) + column)

    def widen(self, num_features: int) -> None:
        """Take the number of features that another channel, or another host, has more than this one's rows name.

        Raises:
            UserError: rows name more than that, or are dense and have another number.
        """
        if num_features == self.num_features:
            return
        if not self.is_sparse or num_features < self.num_features:
            raise UserError(f"{self.name}: has {self.num_features} features, must have {num_features}")
        self.num_features = num_features
        self._table.rows.width = num_features
        self.__dict__.pop("summary", None)

    def matrix(
        self,
        *,
        max_bin: int = 256,
        nthread: int = 0,
        feature_types: Sequence[str] | None = None,
        ref: xgboost.DMatrix | None = None,
        objective: str | None = None,
    ) -> xgboost.DMatrix:
        """The matrix for `tree_method=hist`: a QuantileDMatrix that streams the rows in, so that it needs a few blocks.

        Args:
            max_bin: bins per feature; must be the hyperparameter's value.
            nthread: threads, 0 for all cores.
            feature_types: one of `FEATURE_TYPES` per feature.
            ref: the training matrix, when these rows are only evaluated. They become a plain matrix then: bins
                made for other rows put values beyond their range on the wrong side of a split, and the metric that comes out
                is not that of the model. (XGBoost's own `ref` does this.)
            objective: `survival:aft` needs bounds beside the labels.

        Raises:
            UserError: a feature type is unknown, or a category is no whole number.
        """
        if ref is not None:
            return self.dmatrix(nthread=nthread, feature_types=feature_types, objective=objective)
        self._check_types(feature_types)
        matrix = matrices.quantile_matrix(
            self._table.rows,
            weights=self.weights(),
            max_bin=max_bin,
            nthread=nthread,
            names=self.feature_names,
            types=feature_types,
        )
        return self._described(matrix, objective)

    def dmatrix(
        self, *, nthread: int = 0, feature_types: Sequence[str] | None = None, objective: str | None = None
    ) -> xgboost.DMatrix:
        """A plain matrix: for evaluation, and for `exact`, `approx` and `gblinear`, which take no other."""
        self._check_types(feature_types)
        matrix = matrices.plain_matrix(self._table.rows, nthread=nthread, names=self.feature_names, types=feature_types)
        return self._described(matrix, objective)

    def subset(self, rows: NDArray[Any]) -> Channel:
        """Some of the rows (a mask, or rising numbers from 0), for cross-validation. Nothing is read again.

        `files` and `sha256` stay those of the whole.
        """
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, np.int64)
        if (np.diff(chosen) <= 0).any():
            raise ValueError("the rows of a subset must rise")
        table = self._table
        part = replace(
            table,
            rows=Chosen(table.rows, chosen),
            labels=table.labels[chosen],
            weights=None if table.weights is None else table.weights[chosen],
            qids=None if table.qids is None else table.qids[chosen],
            summary=None,
        )
        origin = chosen if self._chosen is None else self._chosen[chosen]
        return Channel(self.name, self.content_type, part, self.feature_names, origin)

    def release(self) -> None:
        """Give the memory of the features back, once the last matrix is made. Labels, weights and summary stay."""
        _ = self.summary
        self._table = replace(self._table, rows=self._table.rows.emptied())

    def _check_types(self, types: Sequence[str] | None) -> None:
        if types is None:
            return
        if len(types) != self.num_features:
            raise UserError(
                f"feature_types: has {len(types)} types, the channel {self.name} has {self.num_features} features"
            )
        for column, kind in enumerate(types):
            if kind not in FEATURE_TYPES:
                raise UserError(
                    f"feature_types: feature {column} is {kind!r}, must be one of {', '.join(FEATURE_TYPES)}"
                )
        matrices.check_categories(self._table.rows, types, self.feature_names, self.place)

    def _described(self, matrix: xgboost.DMatrix, objective: str | None) -> xgboost.DMatrix:
        matrices.describe(matrix, self.labels(), self.weights(), self.qids(), self.place)
        if objective == "survival:aft":
            lower, upper = label_rules.survival_bounds(self.labels())
            matrix.set_info(label_lower_bound=lower, label_upper_bound=upper)
        return matrix


def join(first: Channel, second: Channel) -> Channel:
    """The rows of the first channel and then those of the second.

    Raises:
        UserError: one has weights or queries and the other has none, or one is sparse and the other dense.
    """
    a, b = first._table, second._table
    for what, of_first, of_second in (("weights", a.weights, b.weights), ("qids", a.qids, b.qids)):
        if (of_first is None) != (of_second is None):
            having, lacking = (first, second) if of_second is None else (second, first)
            raise UserError(f"{having.name} has {what} and {lacking.name} has none: rows of both cannot be joined")
    if a.rows.is_sparse != b.rows.is_sparse:
        raise UserError(
            f"{first.name} is {first.content_type} and {second.name} {second.content_type}: cannot be joined"
        )
    table = Table.joined(a, b)
    return Channel(f"{first.name}+{second.name}", first.content_type, table, first.feature_names)
