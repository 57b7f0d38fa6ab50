"""Puts a template's values into Markdown so that they stay values: no table is broken, nobody is mentioned, no tag begins."""

from __future__ import annotations

import html
import re

from sagestack.review.render.words import cut, spoken, visible

_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|^[-+#=]|^\d+(?=[.)])|:(?=[\w+-]+:))")
# Hosts look for these in what is shown, so an escape does not keep them from it: a space of no width does.
_REFERENCE = re.compile(r"(@(?=\w)|[#!](?=\d)|GH-(?=\d))")
_TEXT_LIMIT = 700
"""Characters of a sentence or a name; more of one is on the page."""


def plain(text: str, length: int = _TEXT_LIMIT) -> str:
    """Words, of which none is taken for Markdown or HTML."""
    text = html.escape(_in_a_line(text, length), quote=False)
    return _unreferred(_SPECIAL.sub(_escaped, text))


def code(text: str, length: int = _TEXT_LIMIT) -> str:
    """A code span that holds any text. Not for a table, where a `|` would end the cell."""
    text = _in_a_line(text, length)
    if not text:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    room = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{room}{text}{room}{fence}"


def sentence(text: str, length: int = _TEXT_LIMIT) -> str:
    """A sentence with its `code`."""
    return "".join(code(part.text) if part.is_code else _padded(part.text) for part in spoken(cut(text, length)))


def fenced(text: str, language: str = "") -> str:
    """A block of code that its content cannot end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _escaped(special: re.Match[str]) -> str:
    # A number that would begin a list is escaped after itself: `1\\.`.
    return f"{special[0]}\\" if special[0].isdigit() else f"\\{special[0]}"


def _in_a_line(text: str, length: int) -> str:
    return visible(cut(" ".join(text.split()), length))


def _padded(text: str) -> str:
    # Between two spans of code the spaces count.
    start, end = text[:1].isspace(), text[-1:].isspace()
    return f"{' ' if start else ''}{plain(text)}{' ' if end and text.strip() else ''}"


def _unreferred(text: str) -> str:
    return _REFERENCE.sub("\\1\u200b", text)
