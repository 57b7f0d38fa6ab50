"""Parquet to rows of numbers, a part of the file at a time, and safely.

A part at a time, because XGBoost reads its data several times when it builds a QuantileDMatrix, and holds a compressed
copy in the end: what is read here must never be in memory as a whole. Safely, because a broken file can end the
process that decodes it: see `parquet_process`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from . import parquet_process
from .errors import FormatError
from .frame import Frame

__all__ = ["Frame", "column_names", "read", "row_groups"]

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_FOOTER_BYTES = 8  # the length of the metadata, and the magic number
_SENT_BYTES = 64 << 20


def read(content: bytes, *, first_row: int = 1, max_cells: int | None = None) -> Frame:
    """All rows of a file that is in memory: the body of a request, or what a pipe brought.

    Args:
        content: the file.
        first_row: the number of the first row, for messages.
        max_cells: refuse more rows x columns than this. A few hundred bytes of Parquet can stand for a billion
            numbers, so a server should give a bound; None is no bound.

    Raises:
        FormatError: it is no Parquet file, is cut or broken, or a column holds something else than numbers.
    """
    _check_ends(content[:4], content[-_FOOTER_BYTES:], len(content))
    names, blocks = parquet_process.decode(content, first_row=first_row, max_cells=max_cells)
    values = list(blocks)
    if len(values) == 1:
        return Frame(names, values[0])
    return Frame(names, np.concatenate([np.empty((0, len(names)), np.float32), *values]))


def row_groups(source: Path | str | IO[bytes], *, first_row: int = 1) -> Iterator[Frame]:
    """The rows of a file, in order, in blocks of about 4 MB, whatever the size of the file's own row groups.

    Each call reads the file from its beginning, and holds no more than some pages of it. A file without rows
    gives one frame without rows.

    Args:
        source: the file's path, or an open file that can be sought in: one on disk is read in place, another copied.
        first_row: the number of the first row, for messages.

    Raises:
        FormatError: as `read`; while iterating, too.
        OSError: the file cannot be read.
    """
    if isinstance(source, (str, Path)):
        with Path(source).open("rb") as file:
            _check_file(file)
        place: Path | bytes = Path(source)
    else:
        _check_file(source)
        place = _place(source)
    names, blocks = parquet_process.decode(place, first_row=first_row)
    empty = True
    for values in blocks:
        empty = False
        yield Frame(names, values)
    if empty:
        yield Frame(names, np.empty((0, len(names)), np.float32))


def column_names(path: Path | str) -> tuple[str, ...]:
    """The names of a file's columns, from its metadata alone.

    Raises:
        FormatError: it is no Parquet file, is cut or broken, or a column holds something else than numbers.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        _check_file(file)
    names, _ = parquet_process.decode(Path(path), names_only=True)
    return names


def _place(file: IO[bytes]) -> Path | bytes:
    """Where another process finds an open file, or its content where it is in memory or small."""
    size = file.seek(0, 2)
    if size > _SENT_BYTES:
        with contextlib.suppress(OSError, AttributeError):
            file.flush()
            # By its descriptor: a temporary file has no name any more.
            return Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
    file.seek(0)
    return file.read()


def _check_file(file: IO[bytes]) -> None:
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(len(_MAGIC))
    file.seek(max(0, size - _FOOTER_BYTES))
    _check_ends(start, file.read(_FOOTER_BYTES), size)


def _check_ends(start: bytes, end: bytes, size: int) -> None:
    """Refuse what is plainly no Parquet file, in better words than a decoder's."""
    if size == 0:
        raise FormatError("the Parquet file is empty")
    if start == _ENCRYPTED:
        raise FormatError("the Parquet file is encrypted, which is not supported")
    if start != _MAGIC:
        raise FormatError(f"not a Parquet file: it begins with {start!r}, not with {_MAGIC!r}")
    if size < len(_MAGIC) + _FOOTER_BYTES or not end.endswith(_MAGIC):
        raise FormatError(f"the Parquet file is cut: it does not end with {_MAGIC!r}")
    if int.from_bytes(end[:4], "little") > size - len(_MAGIC) - _FOOTER_BYTES:
        raise FormatError("the Parquet file is cut or broken: its metadata is longer than the file")
