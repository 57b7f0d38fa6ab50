"""Cuts a stream of text into blocks of whole lines, so that a file of any size is read in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from .errors import FormatError

CHUNK_BYTES = 2 << 20
"""Large enough that the cost per block vanishes, and of no account beside the other memory of a training job."""

LONGEST_LINE_BYTES = 64 << 20
"""More than a million columns. A longer line is rather a file without line ends."""


def chunks(
    stream: BinaryIO,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    longest_line_bytes: int = LONGEST_LINE_BYTES,
    first_row: int = 1,
) -> Iterator[bytes]:
    """Blocks of whole lines: each but the last ends with a line end, and together they are the stream.

    A block has about `chunk_bytes`, or one line where that is longer. At most the longest line and a block are held.

    Args:
        stream: read to its end, not closed; a pipe or a decompressor may give less than was asked for.
        first_row: the number of the first line, for the message.

    Raises:
        FormatError: a line is longer than `longest_line_bytes`; the rest of it is not read.
    """
    row = first_row
    held: list[bytes] = []  # the beginning of a line whose end was not read yet
    size = 0
    while block := stream.read(chunk_bytes):
        end = block.rfind(b"\n") + 1
        if end:
            whole = b"".join((*held, block[:end])) if held else block[:end]
            held.clear()
            size = 0
            _refuse_longer(whole, longest_line_bytes, row)
            yield whole
            row += whole.count(b"\n")
        if end < len(block):
            held.append(block[end:])
            size += len(block) - end
            if size > longest_line_bytes:
                raise FormatError(_too_long(row, longest_line_bytes))
    if held:
        yield b"".join(held)


def _refuse_longer(block: bytes, longest: int, row: int) -> None:
    if len(block) <= longest:
        return
    for offset, line in enumerate(block.split(b"\n")):
        if len(line) > longest:
            raise FormatError(_too_long(row + offset, longest))


def _too_long(row: int, longest: int) -> str:
    return f"row {row}: the line is longer than {longest} bytes; are its line ends missing?"
