"""Parquet to matrices, in the process of its own that `parquet_process` starts: nothing else imports this."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from arro3.core import DataType, RecordBatchReader, Schema
from arro3.io import read_parquet
from numpy.typing import NDArray

from .arrow import write_float32
from .errors import FormatError

# 4 MB of numbers: large enough that the work per batch is lost in it, small enough that several fit a cache.
_BLOCK_CELLS = 1 << 20
_FEWEST_ROWS, _MOST_ROWS = 256, 1 << 16

_LARGEST = float(np.finfo(np.float32).max)


def column_names(source: str | bytes) -> tuple[str, ...]:
    """The names of the columns of a file, by its path or its content.

    Raises:
        FormatError: the metadata is broken, or a column holds something else than numbers.
    """
    with _refusing_panics():
        return _names(read_parquet(source).schema)


def blocks(
    source: str | bytes, names: tuple[str, ...], first_row: int, max_cells: int | None
) -> Iterator[NDArray[np.float32]]:
    """The rows, in blocks.

    Raises:
        FormatError: the file is broken, a value is not finite in 32 bits, or there are more than `max_cells`.
    """
    rows = max(_FEWEST_ROWS, min(_MOST_ROWS, _BLOCK_CELLS // len(names)))
    with _refusing_panics():
        reader = read_parquet(source, batch_size=rows)
    cells = 0
    while (values := _next_block(reader, len(names))) is not None:
        cells += values.size
        if max_cells is not None and cells > max_cells:
            raise FormatError(f"holds more than {max_cells} values; send fewer rows at a time")
        _check_finite(values, names, first_row)
        first_row += len(values)
        yield values


def _next_block(reader: RecordBatchReader, width: int) -> NDArray[np.float32] | None:
    with _refusing_panics():
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return None
        values = np.empty((batch.num_rows, width), np.float32)
        for position in range(width):
            write_float32(batch.column(position), values[:, position])
        return values


def _check_finite(values: NDArray[np.float32], names: tuple[str, ...], first_row: int) -> None:
    infinite = np.isinf(values)
    if infinite.any():
        row, column = (int(position) for position in np.argwhere(infinite)[0])
        raise FormatError(
            f"row {first_row + row}, column {names[column]!r}: must be finite, at most {_LARGEST:.8g} (32 bits)"
        )


def _names(schema: Schema) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for field in (schema.field(position) for position in range(len(schema))):
        if field.name in names:
            raise FormatError(f"two columns are named {field.name!r}")
        names[field.name] = None
        problem = _unusable(field.type)
        if problem:
            raise FormatError(f"column {field.name!r} holds {problem}")
    if not names:
        raise FormatError("the Parquet file has no columns")
    return tuple(names)


def _unusable(kind: DataType) -> str | None:
    """What a column of this type holds that no number can be made of, and what to do; None for numbers."""
    if DataType.is_dictionary(kind):
        inner = kind.value_type
        if inner is not None and _unusable(inner) is None:
            return None
        return "categories; send their codes, as numbers from 0"
    if DataType.is_numeric(kind) or DataType.is_boolean(kind) or DataType.is_decimal(kind) or DataType.is_null(kind):
        return None
    shown = _shown(kind)
    if DataType.is_nested(kind):
        return f"{shown}; give each number a column of its own"
    if DataType.is_temporal(kind):
        return f"{shown}; make it a number in the unit that the model should learn from"
    return f"{shown}; only numbers and booleans can be read"


def _shown(kind: DataType) -> str:
    text = str(kind).strip().removeprefix("arro3.core.DataType<").removesuffix(">")
    return text if len(text) <= 60 else text[:60] + "..."


@contextlib.contextmanager
def _refusing_panics() -> Iterator[None]:
    """Make a FormatError of all that the library says of a broken file.

    It panics over some of them, and a Rust panic is a BaseException.
    """
    try:
        yield
    except (FormatError, OSError, MemoryError):
        raise
    except Exception as error:
        raise FormatError(f"the Parquet file is broken: {_one_line(error)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise FormatError(f"the Parquet file is broken: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
