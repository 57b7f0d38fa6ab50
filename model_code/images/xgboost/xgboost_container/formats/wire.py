"""Protocol Buffers' wire format, as far as SageMaker's records need it ("Encoding", in the Protocol Buffers documentation).

By hand rather than with the protobuf package: a server starts without importing it, values are read in the type
that they are wanted in, and what is wrong can be named.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10


class WireError(ValueError):
    """These bytes are no message."""


def fields(data: bytes | memoryview, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, wire type, and where the value begins and ends.

    Raises:
        WireError: the message is cut, or holds a wire type that is not used any more.
    """
    while position < end:
        tag, position = varint(data, position, end)
        number, wire_type = tag >> 3, tag & 7
        start = position
        if wire_type == LENGTH:
            length, start = varint(data, position, end)
            position = start + length
        elif wire_type == VARINT:
            _, position = varint(data, position, end)
        elif wire_type == FOUR_BYTES:
            position += 4
        elif wire_type == EIGHT_BYTES:
            position += 8
        else:
            raise WireError(f"wire type {wire_type}")
        if position > end or not number:
            raise WireError("a field is longer than its message" if number else "field number 0")
        yield number, wire_type, start, position


def varint(data: bytes | memoryview, position: int, end: int) -> tuple[int, int]:
    """A whole number, and where the next thing begins."""
    value = shift = 0
    for position in range(position, min(end, position + _LONGEST_VARINT)):  # noqa: B020
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + 1
        shift += 7
    raise WireError("a whole number is cut or too long")


def varints(content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """All whole numbers of a packed field, or of several that are joined.

    Raises:
        WireError: the last number is cut, or one is too long.
    """
    if not len(content):
        return np.empty(0, np.uint64)
    last = content < 0x80
    if last.all():
        return content.astype(np.uint64)
    ends = np.flatnonzero(last)
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    if not last[-1] or int(lengths.max()) > _LONGEST_VARINT:
        raise WireError("a whole number is cut or too long")
    values = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max())):
        has = lengths > place
        digits = (content[starts[has] + place] & 0x7F).astype(np.uint64)
        values[has] |= digits << np.uint64(7 * place)
    return values


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, text, packed numbers or another message."""
    return _varint(number << 3 | LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
