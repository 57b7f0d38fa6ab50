"""Reads a channel once, start to end, and keeps what training needs of it: blocks, labels, a summary, a fingerprint."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...contract import UserError
from ...formats.sparse import Sparse
from .blocks import Block, Blocks
from .declarations import Declared
from .readers import Layout, Piece, Reading
from .summary import Summary
from .table import Segment, Table

MOST_FEATURES = 2**20
"""How wide a table may be: what hashing to 20 bits gives, far beyond what trees learn from."""


def load(declared: Declared, layout: Layout, *, memory_limit: int | None = None) -> Table:
    """Read all sources of a channel.

    Args:
        memory_limit: bytes of parsed rows that are kept in memory before the rest goes to disk; a quarter of the memory
            unless given.

    Raises:
        UserError: what is read cannot be trained on, or files do not go together.
    """
    began = time.perf_counter()
    blocks = Blocks(memory_limit)
    reading = Reading(layout)
    columns = _Columns()
    segments: list[Segment] = []
    with ThreadPoolExecutor(1, "summary") as pool:
        summary = _Summing(pool)
        for source in declared.sources:
            for piece in reading.pieces(source):
                columns.add(piece, source.name)
                segments.append(Segment(blocks.row_count, source.name, piece.first_row))
                summary.add(blocks.add(piece.features))
        summary.add(blocks.finish())
        total = summary.total()
    table = Table(
        rows=blocks,
        labels=_joined(columns.labels),
        weights=_joined(columns.weights) if columns.weights else None,
        qids=_joined(columns.qids) if columns.qids else None,
        names=columns.names,
        summary=total,
        sha256=reading.digest.hexdigest(),
        files=tuple(source.name for source in declared.sources),
        segments=tuple(segments),
        byte_count=reading.byte_count,
        seconds=time.perf_counter() - began,
    )
    _refuse_infinite(table, total)
    return table


class _Columns:
    """Labels, weights and query ids of the pieces so far, and the check that all pieces have the same columns."""

    def __init__(self) -> None:
        self.labels: list[NDArray[np.float32]] = []
        self.weights: list[NDArray[np.float32]] = []
        self.qids: list[NDArray[np.int64]] = []
        self.names: tuple[str, ...] | None = None
        self._first: Piece | None = None
        self._file = ""

    def add(self, piece: Piece, file: str) -> None:
        if _width(piece.features) > MOST_FEATURES:
            # A row of libsvm names any feature in a dozen bytes, and each costs memory whether it has values or not.
            raise UserError(
                f"{file}: row {piece.first_row} or one after it names feature {_width(piece.features) - 1}, at most "
                f"{MOST_FEATURES} features can be trained on. Number them without gaps"
            )
        if self._first is None:
            self._first, self._file, self.names = _without_rows(piece), file, piece.names
        else:
            self._compare(self._first, piece, file)
        self.labels.append(np.ascontiguousarray(piece.labels))
        if piece.weights is not None:
            self.weights.append(np.ascontiguousarray(piece.weights))
        if piece.qids is not None:
            self.qids.append(piece.qids)

    def _compare(self, first: Piece, piece: Piece, file: str) -> None:
        where = f"{file}: row {piece.first_row}"
        sparse = isinstance(piece.features, Sparse)
        if sparse != isinstance(first.features, Sparse):
            kinds = ("names its features (sparse)", "lists them all (dense)")
            raise UserError(f"{where}: {kinds[not sparse]}, {self._file} {kinds[sparse]}. Use one kind for all rows")
        if not sparse and _width(piece.features) != _width(first.features):
            raise UserError(
                f"{where}: has {_width(piece.features)} features, {self._file} has {_width(first.features)}. "
                "All files of a channel must have the same columns"
            )
        if piece.names != self.names:
            raise UserError(
                f"{file}: its columns are named otherwise than those of {self._file}: "
                f"{difference(piece.names or (), self.names or ())}"
            )
        for what, has in (("weight", piece.weights is not None), ("qid", piece.qids is not None)):
            had = (first.weights if what == "weight" else first.qids) is not None
            if has != had:
                raise UserError(
                    f"{where}: has {'a' if has else 'no'} {what}, the rows of {self._file} have {'one' if had else 'none'}. "
                    "Give one to all rows or to none"
                )


class _Summing:
    """Summaries of blocks, made in a thread while the next rows are parsed, merged in the blocks' order."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._pending: deque[Future[Summary]] = deque()
        self._total = Summary.nothing(0)

    def add(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self._pending.append(self._pool.submit(_summary, block))
            if len(self._pending) > 2:
                self._take()

    def total(self) -> Summary:
        while self._pending:
            self._take()
        return self._total

    def _take(self) -> None:
        self._total = self._total.merge(self._pending.popleft().result())


def difference(names: tuple[str, ...], others: tuple[str, ...]) -> str:
    """The first feature whose name differs, in words."""
    for number, (name, other) in enumerate(zip(names, others, strict=False)):
        if name != other:
            return f"feature {number} is {name!r:.60}, there {other!r:.60}"
    return f"{len(names)} names, there {len(others)}"


def _refuse_infinite(table: Table, summary: Summary) -> None:
    """XGBoost refuses infinite features without saying where. Most formats here have done it already."""
    if not (
        np.isneginf(summary.lowest[summary.count > 0]).any() or np.isposinf(summary.highest[summary.count > 0]).any()
    ):
        return
    start = 0
    for block in table.rows:
        values = block.values if isinstance(block, Sparse) else block
        if np.isinf(values).any():
            at = int(np.flatnonzero(np.isinf(values))[0])
            row = (
                int(np.searchsorted(block.indptr, at, side="right")) - 1
                if isinstance(block, Sparse)
                else at // block.shape[1]
            )
            raise UserError(f"{table.place(start + row)}: a feature is infinite. Leave it empty or give it a number")
        start += len(block)


def _summary(block: Block) -> Summary:
    if isinstance(block, Sparse):
        return Summary.of_sparse(block.indices, block.values, rows=len(block), width=block.width)
    return Summary.of(block)


def _width(features: Block) -> int:
    return features.width if isinstance(features, Sparse) else int(features.shape[1])


def _without_rows(piece: Piece) -> Piece:
    """What later pieces are compared with; its arrays would keep a whole chunk alive."""

    def empty(column: NDArray[Any] | None) -> Any:
        return None if column is None else column[:0].copy()

    features = piece.features
    return replace(
        piece,
        features=features.rows(slice(0, 0)) if isinstance(features, Sparse) else empty(features),
        labels=empty(piece.labels),
        weights=empty(piece.weights),
        qids=empty(piece.qids),
    )


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
