"""LibSVM token by token: slow, and exact about what is wrong. The fast reader hands over what it cannot read."""

from __future__ import annotations

import re

import numpy as np

from .errors import FormatError
from .sparse import MAX_INDEX, Sparse, mixed

MAX_QID = 2**32 - 1
"""The largest group: XGBoost keeps groups in 32 bits, so that larger ones would fall together."""

_NUMBER = re.compile(rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]+")
_SHOWN = 40
_LARGEST = float(np.finfo(np.float32).max)


def parse(text: bytes, first_row: int, needs_label: bool) -> Sparse:
    """The rows of a text: what `libsvm.parse` gives.

    Raises:
        FormatError: with the row and the token, both from 1.
    """
    rows: list[_Row] = []
    for line in text.split(b"\n"):
        tokens = line.partition(b"#")[0].split()
        if tokens:
            row = _Row(first_row + len(rows), tokens, needs_label)
            if rows:
                row.must_match(rows[0])
            rows.append(row)
    lengths = [len(row.pairs) for row in rows]
    indices = np.array([index for row in rows for index, _ in row.pairs], np.int32)
    has_labels = bool(rows) and all(row.label is not None for row in rows)
    return Sparse(
        np.cumsum([0, *lengths], dtype=np.int64),
        indices,
        np.array([value for row in rows for _, value in row.pairs], np.float32),
        int(indices.max()) + 1 if len(indices) else 0,
        np.array([row.label for row in rows], np.float32) if has_labels else None,
        np.array([row.weight for row in rows], np.float32) if rows and rows[0].weight is not None else None,
        np.array([row.qid for row in rows], np.int64) if rows and rows[0].qid is not None else None,
    )


class _Row:
    def __init__(self, number: int, tokens: list[bytes], needs_label: bool) -> None:
        self.number = number
        self.label: float | None = None
        self.weight: float | None = None
        self.qid: int | None = None
        self._needs_label = needs_label
        first = 0
        if needs_label or b":" not in tokens[0]:
            self._read_label(tokens[0])
            first = 1
        pairs: dict[int, float] = {}
        for position, token in enumerate(tokens[first:], first + 1):
            name, colon, value = token.partition(b":")
            if not colon:
                raise self._error(position, token, "is not index:value")
            if name == b"qid":
                if position != first + 1:
                    raise self._error(position, token, "must come once, right after the label")
                self.qid = self._group(position, token, value)
                continue
            index = self._index(position, token, name)
            if index in pairs:
                raise self._error(position, token, f"gives feature {index} a second value")
            pairs[index] = self._value(position, token, value, "value")
        self.pairs = sorted(pairs.items())

    def must_match(self, first: _Row) -> None:
        for name in ("weight", "qid"):
            if (getattr(self, name) is None) != (getattr(first, name) is None):
                raise FormatError(mixed(self.number, name, getattr(self, name) is not None))

    def _read_label(self, token: bytes) -> None:
        label, colon, weight = token.partition(b":")
        if label == b"qid":
            raise self._error(1, token, "must come after the label")
        self.label = self._value(1, token, label, "label")
        if colon:
            self.weight = self._value(1, token, weight, "weight")
            if not self.weight >= 0:
                raise self._error(1, token, "the weight must be a number of at least 0")

    def _index(self, position: int, token: bytes, text: bytes) -> int:
        if not _DIGITS.fullmatch(text):
            raise self._error(position, token, "the index must be a whole number from 0")
        # Python refuses to convert thousands of digits; ten are enough to be too large.
        digits = text.lstrip(b"0")
        index = int(digits or b"0") if len(digits) <= 10 else MAX_INDEX + 1
        if index > MAX_INDEX:
            raise self._error(position, token, f"the index must be at most {MAX_INDEX}")
        return index

    def _group(self, position: int, token: bytes, text: bytes) -> int:
        digits = text.lstrip(b"0")
        if not _DIGITS.fullmatch(text) or len(digits) > 10 or int(digits or b"0") > MAX_QID:
            raise self._error(position, token, f"qid must be a whole number from 0 to {MAX_QID}")
        return int(digits or b"0")

    def _value(self, position: int, token: bytes, text: bytes, name: str) -> float:
        if not _NUMBER.fullmatch(text):
            what = f"the {name} is missing" if not text else f"the {name} must be a number"
            raise self._error(position, token, what)
        with np.errstate(over="ignore"):
            value = float(np.float32(float(text)))
        if value in (float("inf"), float("-inf")):
            raise self._error(position, token, f"the {name} must be finite, at most {_LARGEST:.8g} (32 bits)")
        return value

    def _error(self, position: int, token: bytes, what: str) -> FormatError:
        shown = token[:_SHOWN].decode("utf-8", errors="backslashreplace") + "..." * (len(token) > _SHOWN)
        return FormatError(f"row {self.number}, token {position}: {shown!r}: {what}")
