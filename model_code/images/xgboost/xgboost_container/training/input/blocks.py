"""The features of a channel after they were parsed once, in blocks of rows: in memory, or on disk when they are large."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ...contract import AlgorithmError
from ...formats import sparse
from ...formats.sparse import Sparse

# (rows, columns) with NaN for what is missing, or compressed rows in which the missing is absent.
Block: TypeAlias = "NDArray[np.float32] | Sparse"

# XGBoost asks for each block four times while it makes its matrix: blocks of this size cost it no time, and no
# memory that would be seen.
BLOCK_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class _OnDisk:
    """Where in the spill file a dense block lies."""

    offset: int
    shape: tuple[int, int]


class Blocks:
    """Rows in blocks, in the order in which they were read. Iterating gives them again and again, never parsed anew.

    Dense rows are kept in memory up to `memory_limit` bytes, and beyond that in a file that has no name, so that nothing
    of it is left whatever happens. Sparse rows stay in memory: they are small, or they would not be sparse.
    """

    def __init__(self, memory_limit: int | None = None) -> None:
        self.memory_limit = _quarter_of_memory() if memory_limit is None else memory_limit
        self.row_count = 0
        self.width = 0
        self.is_sparse = False
        self._kept: list[Block | _OnDisk] = []
        self._bytes_in_memory = 0
        self._file: BinaryIO | None = None
        self._pending: list[Sparse] = []
        self._pending_bytes = 0
        self._filling: NDArray[np.float32] | None = None
        self._filled = 0

    def __iter__(self) -> Iterator[Block]:
        for block in self._kept:
            yield self._read(block) if isinstance(block, _OnDisk) else block

    @property
    def nbytes(self) -> int:
        """What the rows take, in memory and on disk."""
        return self._bytes_in_memory + (self._file.tell() if self._file is not None else 0)

    def add(self, rows: Block) -> Iterator[Block]:
        """Take rows over, and give the blocks that became full with them."""
        self.row_count += len(rows)
        if isinstance(rows, Sparse):
            self.is_sparse = True
            self.width = max(self.width, rows.width)
            self._pending.append(replace(rows, labels=None, weights=None, qids=None))
            self._pending_bytes += rows.nbytes
            if self._pending_bytes >= BLOCK_BYTES:
                yield self._keep_pending()
            return
        self.width = rows.shape[1]
        start = 0
        while start < len(rows):
            if self._filling is None:
                # Filled bit by bit, so that a thousand small files make few blocks. What is never filled costs nothing.
                self._filling = np.empty((max(1, BLOCK_BYTES // (4 * max(1, self.width))), self.width), np.float32)
            taken = rows[start : start + len(self._filling) - self._filled]
            self._filling[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            start += len(taken)
            if self._filled == len(self._filling):
                yield self._keep_filling()

    def finish(self) -> Iterator[Block]:
        """Give the last block, which is not full."""
        if self._pending:
            yield self._keep_pending()
        if self._filled:
            yield self._keep_filling()

    def emptied(self) -> Blocks:
        """The same, without the rows: what is still said of them after XGBoost has its own copy."""
        return _hollow(self)

    def _keep_pending(self) -> Sparse:
        block = sparse.concatenate(self._pending)
        self._pending, self._pending_bytes = [], 0
        self._kept.append(block)
        self._bytes_in_memory += block.nbytes
        return block

    def _keep_filling(self) -> NDArray[np.float32]:
        assert self._filling is not None
        block = self._filling
        if self._filled < len(block):
            block = block[: self._filled].copy()
        self._filling, self._filled = None, 0
        if self._bytes_in_memory + block.nbytes > self.memory_limit:
            self._kept.append(self._write(block))
        else:
            self._kept.append(block)
            self._bytes_in_memory += block.nbytes
        return block

    def _write(self, block: NDArray[np.float32]) -> _OnDisk:
        try:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  as long as the rows
            offset = self._file.seek(0, os.SEEK_END)
            content = memoryview(cast(Any, block)).cast("B")
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            raise AlgorithmError(
                f"{os.environ.get('TMPDIR') or 'the temporary folder'}: no room for "
                f"{self.nbytes + block.nbytes:,} bytes of parsed rows "
                f"({error.strerror}). Use an instance with more memory or a larger volume, or set TMPDIR to a folder with room"
            ) from error
        return _OnDisk(offset, cast("tuple[int, int]", block.shape))

    def _read(self, where: _OnDisk) -> NDArray[np.float32]:
        assert self._file is not None
        block = np.empty(where.shape, np.float32)
        content = memoryview(cast(Any, block)).cast("B")
        done = 0
        while done < len(content):
            done += os.preadv(self._file.fileno(), [content[done:]], where.offset + done)
        return block


class Joined:
    """The rows of several channels, one below the other, without a copy."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self.row_count: int = sum(part.row_count for part in parts)
        self.width: int = max(part.width for part in parts)
        self.is_sparse: bool = parts[0].is_sparse

    def __iter__(self) -> Iterator[Block]:
        for part in self._parts:
            yield from part

    def emptied(self) -> Blocks:
        return _hollow(self)


class Chosen:
    """Some of the rows, in their order; copied block by block when they are asked for."""

    def __init__(self, rows: Rows, chosen: NDArray[np.int64]) -> None:
        self._rows, self._chosen = rows, chosen
        self.row_count: int = len(chosen)
        self.width: int = rows.width
        self.is_sparse: bool = rows.is_sparse

    def __iter__(self) -> Iterator[Block]:
        start = 0
        for block in self._rows:
            first, last = np.searchsorted(self._chosen, (start, start + len(block)))
            if first < last:
                inside = self._chosen[first:last] - start
                yield block.rows(inside) if isinstance(block, Sparse) else block[inside]
            start += len(block)

    def emptied(self) -> Blocks:
        return _hollow(self)


Rows: TypeAlias = Blocks | Joined | Chosen


def _hollow(rows: Rows) -> Blocks:
    hollow = Blocks(0)
    hollow.width, hollow.is_sparse = rows.width, rows.is_sparse
    return hollow


def _quarter_of_memory() -> int:
    """A quarter of what this process may use: the matrix, its gradients and the other channels need room as well."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            memory = min(memory, int(Path(limit).read_text()))
        except (OSError, ValueError):
            continue  # there is no such limit, or it says "max"
    return memory // 4
