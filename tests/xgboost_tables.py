"""What the tests of channels share: a table written in each format that SageMaker's XGBoost trains on, and a job's folder."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from arro3.core import Array, Table
from arro3.io import write_parquet
from numpy.typing import NDArray
from xgboost_container.contract import Paths
from xgboost_container.formats import record, wire
from xgboost_container.formats.frames import framed

CONTENT_TYPES = {
    "csv": "text/csv",
    "libsvm": "text/libsvm",
    "parquet": "application/x-parquet",
    "recordio": "application/x-recordio-protobuf",
}

Rows = NDArray[np.float32]


def table(rows: int = 60, features: int = 4, seed: int = 0) -> Rows:
    """(rows, 1 + features): a label that the features tell, and the features."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, features)).astype(np.float32)
    labels = values.sum(axis=1, keepdims=True) + generator.normal(size=(rows, 1)) / 4
    return np.hstack([labels, values]).astype(np.float32)


def as_csv(rows: Rows) -> bytes:
    """Missing cells are empty; numbers have the digits that bring them back exactly."""
    return b"".join(
        b",".join(b"" if np.isnan(value) else repr(float(value)).encode() for value in row) + b"\n" for row in rows
    )


def as_libsvm(rows: Rows) -> bytes:
    """What is missing is left out, zeros are not."""
    return b"".join(
        f"{float(row[0])!r} ".encode()
        + b" ".join(f"{i}:{float(value)!r}".encode() for i, value in enumerate(row[1:]) if not np.isnan(value))
        + b"\n"
        for row in rows
    )


def as_parquet(rows: Rows, names: tuple[str, ...] | None = None) -> bytes:
    names = names or ("label", *(f"x{column}" for column in range(rows.shape[1] - 1)))
    columns: dict[str, Any] = {name: Array.from_numpy(np.ascontiguousarray(rows[:, i])) for i, name in enumerate(names)}
    file = io.BytesIO()
    write_parquet(Table.from_pydict(columns), file)
    return file.getvalue()


def as_recordio(rows: Rows) -> bytes:
    def entry(kind: int, values: NDArray[np.float32]) -> bytes:
        tensor = wire.field(record.FLOAT32, wire.field(record.VALUES, values.astype("<f4").tobytes()))
        return wire.field(kind, wire.field(record.KEY, record.NAME) + wire.field(record.VALUE, tensor))

    messages = [entry(record.FEATURES, row[1:]) + entry(record.LABEL, row[:1]) for row in rows]
    return framed(np.stack([np.frombuffer(message, np.uint8) for message in messages]))


WRITERS = {"csv": as_csv, "libsvm": as_libsvm, "parquet": as_parquet, "recordio": as_recordio}


def job(
    base: Path, config: Mapping[str, Mapping[str, Any]] | None = None, **files: bytes | Mapping[str, bytes]
) -> Paths:
    """A job's folder. `files` gives each channel one file `part-0`, or several by name.

    `config` is `inputdataconfig.json`; without one, every channel is CSV in File mode.
    """
    for channel, content in files.items():
        for name, data in (content if isinstance(content, Mapping) else {"part-0": content}).items():
            file = base / "input" / "data" / channel / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    if config is None:
        config = {channel: declared("csv") for channel in files}
    folder = base / "input" / "config"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inputdataconfig.json").write_text(json.dumps(config))
    return Paths(base)


def declared(kind: str, mode: str = "File", **more: str) -> dict[str, str]:
    return {
        "ContentType": CONTENT_TYPES.get(kind, kind),
        "TrainingInputMode": mode,
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        **more,
    }
