"""All rows of a channel, and where each of them comes from."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...formats.content_types import Format
from .blocks import Joined, Rows
from .summary import Summary


@dataclass(frozen=True)
class Segment:
    """Rows of one file that follow each other: row `start` of the channel, from 0, is row `first_row` of the file, from 1."""

    start: int
    file: str
    first_row: int


@dataclass(frozen=True)
class Table:
    """All rows of a channel.

    Attributes:
        rows: the features.
        labels, weights: (rows,); no weights where the data have none.
        qids: (rows,), the query of each row for ranking.
        names: of the features, where the format has some.
        summary: None for rows that were chosen out of others.
        sha256: of the bytes of all files, as they are stored.
        byte_count: of all files, as they are stored.
        seconds: that reading took.
    """

    rows: Rows
    labels: NDArray[np.float32]
    weights: NDArray[np.float32] | None
    qids: NDArray[np.int64] | None
    names: tuple[str, ...] | None
    summary: Summary | None
    sha256: str
    files: tuple[str, ...]
    segments: tuple[Segment, ...]
    byte_count: int
    seconds: float

    def place(self, row: int) -> str:
        """Where a row, from 0, comes from: `train/a/part-1.csv: row 3`."""
        segment = self.segments[bisect_right(self.segments, row, key=lambda segment: segment.start) - 1]
        return f"{segment.file}: row {segment.first_row + row - segment.start}"

    def line(self, name: str, kind: Format) -> str:
        """One line for the log."""
        files = f"{len(self.files)} file{'s' * (len(self.files) != 1)}"
        return (
            f"{name}: {len(self.labels)} rows x {self.rows.width} features from {files} "
            f"({kind}, {self.byte_count / 1e6:.1f} MB) in {self.seconds:.1f} s"
        )

    @classmethod
    def joined(cls, a: Table, b: Table) -> Table:
        """The rows of both, one below the other. Both have weights and queries, or none has."""
        moved = (Segment(one.start + len(a.labels), one.file, one.first_row) for one in b.segments)
        return cls(
            rows=Joined((a.rows, b.rows)),
            labels=np.concatenate([a.labels, b.labels]),
            weights=None if a.weights is None or b.weights is None else np.concatenate([a.weights, b.weights]),
            qids=None if a.qids is None or b.qids is None else np.concatenate([a.qids, b.qids]),
            names=a.names,
            summary=None if a.summary is None or b.summary is None else a.summary.merge(b.summary),
            sha256=hashlib.sha256(f"{a.sha256}\n{b.sha256}".encode()).hexdigest(),
            files=(*a.files, *b.files),
            segments=(*a.segments, *moved),
            byte_count=a.byte_count + b.byte_count,
            seconds=a.seconds + b.seconds,
        )
