"""Makes the rows to score out of a request's body, whatever its format, or says in one line why it cannot."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..formats import content_types, csv
from ..formats.errors import FormatError
from .request_error import RequestError

if TYPE_CHECKING:
    from ..schema import Schema

DEFAULT = "text/csv"
"""What a request without `Content-Type` is read as: "XGBoost algorithm with Amazon SageMaker AI", "Input/Output interface",
in the Amazon SageMaker AI Developer Guide names it as the default for inference."""

# LibSVM, RecordIO and Parquet can say in a few bytes that many values are missing. 64 MiB of 32-bit floats; CSV of the largest
# body that is ever taken (20 MiB) has at most 20 million cells.
MAX_CELLS = 1 << 24


def decode(content_type: str | None, body: bytes, schema: Schema) -> NDArray[np.float32]:
    """The rows to score: shape (rows, schema.num_features), C-contiguous, NaN where a value is missing.

    A text with nothing but blank lines has no rows. The libraries behind Parquet and RecordIO are imported when the
    first such request comes.

    Raises:
        RequestError: 415 for a content type that is not read, 400 for a body that cannot be scored.
    """
    kind = _format(content_type)
    try:
        if kind == "csv":
            return csv.parse(body, width=schema.num_features)
        if kind == "json":
            from ..formats import json

            return json.parse(body, width=schema.num_features, names=schema.feature_names)
        if kind == "jsonlines":
            from ..formats import json

            return json.parse_lines(body, width=schema.num_features, names=schema.feature_names)
        if kind == "libsvm":
            from ..formats import libsvm

            sparse = libsvm.parse(body, needs_label=False)
            _bound(len(sparse), schema)
            return sparse.dense(schema.num_features)
        if kind == "recordio-protobuf":
            from ..formats import recordio

            rows = recordio.parse(body)
            _bound(len(rows), schema)
            return rows.dense(schema.num_features)
        return _parquet(body, schema)
    except FormatError as error:
        raise RequestError(400, str(error)) from error


@lru_cache(maxsize=256)  # clients say the same thing each time
def _format(content_type: str | None) -> content_types.Format:
    if content_type is None or not content_type.strip():
        content_type = DEFAULT
    try:
        kind, parameters = content_types.of_media_type(content_type)
    except content_types.UnknownMediaType as error:
        raise RequestError(415, str(error)) from error
    # The body has no label either way: SageMaker's container takes label_size=1 in a request and changes nothing.
    if kind == "csv" and parameters.get("label_size", "0") not in ("0", "1"):
        raise RequestError(415, f"content type {content_type!r:.100}: label_size must be 0, 1 or left out")
    if kind == "csv" and parameters.get("header") == "present":
        raise RequestError(415, f"content type {content_type!r:.100}: send CSV without a header line")
    return kind


def _bound(rows: int, schema: Schema) -> None:
    if rows * schema.num_features > MAX_CELLS:
        most = MAX_CELLS // schema.num_features
        raise FormatError(f"{rows} rows of {schema.num_features} features, at most {most} rows fit one request")


def _parquet(body: bytes, schema: Schema) -> NDArray[np.float32]:
    """By name where the model knows its columns' names, whatever their order in the file; else by position."""
    from ..formats import parquet

    frame = parquet.read(body, max_cells=MAX_CELLS)
    if schema.feature_names is None:
        if frame.values.shape[1] != schema.num_features:
            raise FormatError(f"the file has {frame.values.shape[1]} columns, expected {schema.num_features}")
        return np.ascontiguousarray(frame.values)
    if frame.names == schema.feature_names:
        return np.ascontiguousarray(frame.values)
    places = {name: place for place, name in enumerate(frame.names)}
    missing = [name for name in schema.feature_names if name not in places]
    unknown = [name for name in frame.names if name not in set(schema.feature_names)]
    if missing or unknown:
        problems = [f"{what} {_listed(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
        raise FormatError(f"the file's columns: {'; '.join(problems)}")
    return np.ascontiguousarray(frame.values[:, [places[name] for name in schema.feature_names]])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"{name!r:.60}" for name in names[:5]) + more
