"""What differs in a property, word by word where it is short and line by line where it is long."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from sagestack.review.render.values import as_text
from sagestack.review.results import PropertyChange

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_MOST_WORDS = 400
_MOST_LINES = 1_500
"""Comparing takes time that grows with the square: above these, old and new are shown whole."""
_CONTEXT = 2
"""Lines around what differs; a document's braces say where one is."""
LONG = 320
"""Characters above which a value is folded: about four lines of the page."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a value that is the same on both sides, or is not."""

    text: str
    is_changed: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a comparison. `…` stands for lines that are the same."""

    sign: Literal["+", "-", " ", "…"]
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True)
class PropertyDiff:
    """One property as both sides have it.

    Attributes:
        before: None where it was not there.
        lines: the comparison by lines, where a value has several; then `before` and `after` are not for showing.
    """

    path: str
    replaces: Literal["no", "may", "yes"]
    before: tuple[Piece, ...] | None
    after: tuple[Piece, ...] | None
    lines: tuple[Line, ...] = ()

    @property
    def size(self) -> int:
        """Characters that somebody would have to read."""
        pieces = [*(self.before or ()), *(self.after or ())] if not self.lines else []
        return sum(len(piece.text) for piece in pieces) + sum(len(line.text) for line in self.lines)

    @property
    def is_long(self) -> bool:
        return self.size > LONG or len(self.lines) > 14


def compared(change: PropertyChange) -> PropertyDiff:
    """A property as the page shows it."""
    before = None if change.before is None else as_text(change.before)
    after = None if change.after is None else as_text(change.after)
    if before is None or after is None:
        return PropertyDiff(change.path, change.replaces, _whole(before), _whole(after))
    if "\n" in before or "\n" in after:
        return PropertyDiff(change.path, change.replaces, None, None, tuple(_lines(before, after)))
    return PropertyDiff(change.path, change.replaces, *_words(before, after))


def definition(value: Any) -> str:
    """What a new or deleted resource consists of."""
    return as_text(value)


def _whole(text: str | None) -> tuple[Piece, ...] | None:
    return None if text is None else (Piece(text),)


def _words(before: str, after: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if len(old) > _MOST_WORDS or len(new) > _MOST_WORDS:
        return _ends(before, after)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < 0.3:
        # Two values that have nothing but a dot in common are easier read whole.
        return (Piece(before, True),), (Piece(after, True),)
    left, right = [], []
    for tag, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if old_end > old_start:
            left.append(Piece("".join(old[old_start:old_end]), tag != "equal"))
        if new_end > new_start:
            right.append(Piece("".join(new[new_start:new_end]), tag != "equal"))
    return tuple(left), tuple(right)


def _ends(before: str, after: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """What long texts share at their beginning and end, which is found in one pass."""
    most = min(len(before), len(after))
    start = next((place for place in range(most) if before[place] != after[place]), most)
    most -= start
    end = next((place for place in range(most) if before[-1 - place] != after[-1 - place]), most)

    def pieces(text: str) -> tuple[Piece, ...]:
        middle = len(text) - end
        parts = Piece(text[:start]), Piece(text[start:middle], True), Piece(text[middle:])
        return tuple(part for part in parts if part.text)

    return pieces(before), pieces(after)


def _lines(before: str, after: str) -> list[Line]:
    old, new = before.splitlines(), after.splitlines()
    if len(old) > _MOST_LINES or len(new) > _MOST_LINES:
        return [
            *(Line("-", (Piece(line),)) for line in old),
            *(Line("+", (Piece(line),)) for line in new),
        ]
    lines: list[Line] = []
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        if lines or group[0][1] > 0:
            lines.append(Line("…", ()))
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                lines += [Line(" ", (Piece(line),)) for line in old[old_start:old_end]]
                continue
            removed, added = old[old_start:old_end], new[new_start:new_end]
            if len(removed) == len(added):
                pairs = [_words(one, other) for one, other in zip(removed, added, strict=True)]
                lines += [Line("-", left) for left, _ in pairs] + [Line("+", right) for _, right in pairs]
            else:
                lines += [Line("-", (Piece(line),)) for line in removed] + [Line("+", (Piece(line),)) for line in added]
    return lines
