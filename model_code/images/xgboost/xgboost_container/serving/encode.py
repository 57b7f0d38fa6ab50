"""Writes predictions in the forms of SageMaker's XGBoost container, many at once, with the fewest digits that lose nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from .accept import CSV, JSON, JSON_LINES

Named = Mapping[str, NDArray[Any]]
"""What was asked for in SAGEMAKER_INFERENCE_OUTPUT, in that order: shape (rows,) or (rows, values) each."""


def encode(prediction: NDArray[Any] | Named, media_type: str, *, batch: bool = False) -> bytes:
    """The body of the answer.

    - text/csv: the scores in one line, with commas between them. That is how SageMaker's container answers in real time;
      in a batch transform each score has a line, so that its output can be joined to its input. The values of a row that
      has several stand in brackets, `[0.1, 0.9],[0.8, 0.2]`. What SAGEMAKER_INFERENCE_OUTPUT selects has a line for each
      row either way, with lists in quotes: `1,"[0.4, 0.6]"`; a batch transform adds the last line end.
    - application/json: `{"predictions": [{"score": 0.5}, ...]}`, or the selected names instead of `score`.
    - application/jsonlines: each of those objects on its own line.
    - application/x-recordio-protobuf: a record for each row, with the values as labels of these names.

    32-bit floats get the shortest text that reads back as the same 32-bit float. What is no number is `nan` or `inf` in CSV,
    as there, and null in JSON, which has neither (there it is NaN, which most readers refuse).

    Args:
        prediction: shape (rows,) or (rows, values), or several of them by name.
        media_type: one of `accept.PRODUCED`.
        batch: SAGEMAKER_BATCH, whether a batch transform asks.
    """
    rows = len(next(iter(prediction.values()))) if isinstance(prediction, Mapping) else len(prediction)
    if not rows:
        return b'{"predictions": []}' if media_type == JSON else b""
    if media_type not in (CSV, JSON, JSON_LINES):
        from ..formats import recordio

        return recordio.encode(prediction)
    if isinstance(prediction, Mapping):
        return _selected(prediction, media_type, batch)
    if media_type == CSV:
        return _csv(prediction, batch)
    text = _texts(prediction)
    if prediction.ndim == 1:
        end, start = b"}", b'{"score": '
        between = b","
    else:
        text, end, start = text[1:-1], b"]}", b'{"score": ['
        between = b"], ["
    if media_type == JSON:
        return b'{"predictions": [%b%b%b]}' % (start, text.replace(between, end + b", " + start), end)
    return b"%b%b%b\n" % (start, text.replace(between, end + b"\n" + start), end)


def _csv(prediction: NDArray[Any], batch: bool) -> bytes:
    text = _texts(prediction)
    if b"null" in text:
        cells = _cells(prediction, CSV)
        return b"".join(cell + b"\n" for cell in cells) if batch else b",".join(cells)
    if prediction.ndim == 1:
        return text.replace(b",", b"\n") + b"\n" if batch else text
    return text.replace(b"], [", b"]\n[") + b"\n" if batch else text.replace(b"], [", b"],[")


def _texts(values: NDArray[Any]) -> bytes:
    """All values: `0.5,0.25`, and `[0.5, 0.25], [0.1, 0.9]` where a row has several."""
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    return text if values.ndim == 1 else text.replace(b",", b", ")


def _cells(values: NDArray[Any], media_type: str) -> list[bytes]:
    """The text of each row's value or values: `0.5`, or `[0.5, 0.25]`."""
    numbers = _texts(values.reshape(-1)).split(b",")
    if media_type == CSV and values.dtype.kind == "f":
        flat = values.reshape(-1)
        for index in np.flatnonzero(~np.isfinite(flat)):
            numbers[index] = str(float(flat[index])).encode()
    if values.ndim == 1:
        return numbers
    count = values.shape[1]
    return [b"[%b]" % b", ".join(numbers[start : start + count]) for start in range(0, len(numbers), count)]


def _selected(named: Named, media_type: str, batch: bool) -> bytes:
    columns = [_cells(values, media_type) for values in named.values()]
    if media_type == CSV:
        quoted = [
            [b'"%b"' % cell for cell in column] if values.ndim > 1 else column
            for column, values in zip(columns, named.values(), strict=True)
        ]
        lines = b"\n".join(b",".join(row) for row in zip(*quoted, strict=True))
        return lines + b"\n" if batch else lines
    row = b"{%b}" % b", ".join(b'"%b": %%b' % name.encode() for name in named)
    objects = [row % cells for cells in zip(*columns, strict=True)]
    if media_type == JSON:
        return b'{"predictions": [%b]}' % b", ".join(objects)
    return b"".join(line + b"\n" for line in objects)
