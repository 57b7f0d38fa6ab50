"""One file or pipe of a channel becomes pieces: features, labels, weights and query ids of some of its rows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ...contract import UserError
from ...formats import csv, frames, libsvm, lines, parquet, recordio
from ...formats.content_types import Format
from ...formats.errors import FormatError
from ...formats.sparse import Sparse
from .blocks import Block
from .pipe import Unwrapped, parquet_files, wrapped_files
from .streams import GZIP_MAGIC, Readable, Stream, read_ahead

InputMode: TypeAlias = Literal["File", "FastFile", "Pipe"]

_PARQUET_MAGIC = b"PAR1"
# What a row of libsvm has and a row of CSV has not: a feature's number and its value.
_PAIR = re.compile(rb"\d+:[-+.\d]|qid:\d")
# Archives and packed files that nothing here unpacks, by how they begin.
_PACKED = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf": "7-Zip",
}
_RECORDIO_MAGIC = frames.MAGIC.to_bytes(4, "little")
# What to set for a format, in the spelling of AWS's documents.
SPELLINGS: dict[Format, str] = {
    "csv": "text/csv",
    "libsvm": "text/libsvm",
    "parquet": "application/x-parquet",
    "recordio-protobuf": "application/x-recordio-protobuf",
}


@dataclass(frozen=True)
class Source:
    """A file or a pipe, and what it is said to hold.

    `declared` is False where nobody said so, and the format is SageMaker's default. `wrapped` is `RecordWrapperType`
    RecordIO.
    """

    name: str
    path: Path
    format: Format
    mode: InputMode = "File"
    wrapped: bool = False
    declared: bool = True


@dataclass(frozen=True)
class Piece:
    """Some rows of a source, the first of which has the number `first_row`, from 1."""

    features: Block
    labels: NDArray[np.float32]
    weights: NDArray[np.float32] | None
    qids: NDArray[np.int64] | None
    names: tuple[str, ...] | None
    first_row: int


@dataclass(frozen=True)
class Layout:
    """Which columns of a CSV file come before the features: the label, and with `csv_weights` the weight.

    `num_features` is known for channels after the first. SageMaker's XGBoost reads weights from the train channel only, so
    a validation file may have the column or not: its width tells.
    """

    csv_weights: bool = False
    num_features: int | None = None

    def has_weights(self, width: int) -> bool:
        return self.csv_weights and width - 1 != self.num_features


class Reading:
    """Reads sources one after the other, and keeps the fingerprint and the size of all their bytes."""

    def __init__(self, layout: Layout) -> None:
        self.digest = hashlib.sha256()
        self.byte_count = 0
        self._layout = layout

    def pieces(self, source: Source) -> Iterator[Piece]:
        """The rows of a source, in order.

        Raises:
            UserError: it cannot be read. The message begins with the source's name.
        """
        beginning = b""
        try:
            if source.format == "parquet" and source.mode == "File":
                with source.path.open("rb") as file:
                    beginning = file.read(4096)
                if not beginning.startswith(GZIP_MAGIC):
                    yield from self._parquet_on_disk(source)
                    return
            with Stream(source.name, source.path, self.digest) as stream:
                beginning = stream.beginning
                _refuse_other_format(source, beginning)
                yield from self._streamed(source, stream)
                while stream.read(1024**2):  # a format may end before its file; the fingerprint is of the file
                    pass
                self.byte_count += stream.byte_count
        except FormatError as error:
            raise UserError(f"{source.name}: {error}{_hint(source, beginning)}") from None

    def _streamed(self, source: Source, stream: Readable) -> Iterator[Piece]:
        if source.format == "parquet":
            for file in wrapped_files(stream) if source.wrapped else parquet_files(stream):
                yield from _parquet(file)
            return
        with nullcontext(stream) if source.mode == "Pipe" else read_ahead(stream) as content:
            if source.format == "recordio-protobuf":
                yield from _recordio(content)
                return
            text = Unwrapped(content) if source.wrapped else content
            yield from self._csv(text) if source.format == "csv" else _libsvm(text)

    def _csv(self, stream: Readable) -> Iterator[Piece]:
        width: int | None = None
        delimiter: bytes | None = None
        first_row = 1
        for text in lines.chunks(cast(Any, stream)):
            delimiter = delimiter or csv.sniff(text)
            table = csv.parse(text, width=width, first_row=first_row, delimiter=delimiter)
            if not len(table):
                continue
            width = table.shape[1]
            weighted = self._layout.has_weights(width)
            if width <= 1 + weighted:
                raise FormatError(
                    f"row {first_row}: has {'a label and a weight' if weighted else 'one column'}, and no feature. Columns are "
                    f"the label{', the weight' if weighted else ''} and then the features, with a comma between them"
                )
            yield Piece(table[:, 1 + weighted :], table[:, 0], table[:, 1] if weighted else None, None, None, first_row)
            first_row += len(table)

    def _parquet_on_disk(self, source: Source) -> Iterator[Piece]:
        # Parquet is read by parts, from the back. So its fingerprint is another reader's, who goes through the file meanwhile.
        with ThreadPoolExecutor(1, "fingerprint") as pool:
            hashed = pool.submit(self._hash, source.path)
            yield from _parquet(source.path)
            hashed.result()

    def _hash(self, path: Path) -> None:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(1024**2):
                self.digest.update(chunk)
                self.byte_count += len(chunk)


def _refuse_other_format(source: Source, beginning: bytes) -> None:
    """What begins with a binary format's magic number is that, whatever the channel says."""
    for magic, kind in ((_PARQUET_MAGIC, "parquet"), (_RECORDIO_MAGIC, "recordio-protobuf")):
        if beginning.startswith(magic) and source.format != kind and not source.wrapped:
            raise FormatError(f"cannot be read as {source.format}")
    for magic, name in _PACKED.items():
        if beginning.startswith(magic):
            raise FormatError(f"is packed with {name}; unpack it, or pack each file with gzip")


def guess(beginning: bytes) -> Format:
    """The format of a file that begins so."""
    if beginning.startswith(_PARQUET_MAGIC):
        return "parquet"
    if beginning.startswith(_RECORDIO_MAGIC):
        return "recordio-protobuf"
    first = beginning.partition(b"\n")[0].split()
    return "libsvm" if any(_PAIR.match(token) for token in first) else "csv"


def _hint(source: Source, beginning: bytes) -> str:
    kind = guess(beginning)
    if not beginning or kind == source.format or (kind == "csv" and b"," not in beginning.partition(b"\n")[0]):
        return ""
    said = (
        f"ContentType says {SPELLINGS[source.format]}"
        if source.declared
        else "ContentType is not set, which means libsvm"
    )
    return f". It looks like {kind}, and the channel's {said}: set it to {SPELLINGS[kind]}"


def _libsvm(stream: Readable) -> Iterator[Piece]:
    first_row = 1
    for text in lines.chunks(cast(Any, stream)):
        block = libsvm.parse(text, first_row=first_row)
        if len(block):
            assert block.labels is not None
            yield Piece(block, block.labels, block.weights, block.qids, None, first_row)
            first_row += len(block)


def _recordio(stream: Readable) -> Iterator[Piece]:
    first_row = 1
    for block in recordio.row_blocks(cast(Any, stream)):
        if block.labels is None:
            raise FormatError(f"record {first_row}: has no label")
        features: Block = block if isinstance(block, Sparse) else block.values
        yield Piece(features, block.labels, None, None, None, first_row)
        first_row += len(block)


def _parquet(file: Path | IO[bytes]) -> Iterator[Piece]:
    first_row = 1
    for frame in parquet.row_groups(file):
        if not len(frame):
            continue
        if len(frame.names) < 2:
            raise FormatError(
                f"has one column, {frame.names[0]!r}, and no feature. The first column is the label, the others are features"
            )
        yield Piece(frame.values[:, 1:], frame.values[:, 0], None, None, frame.names[1:], first_row)
        first_row += len(frame)
