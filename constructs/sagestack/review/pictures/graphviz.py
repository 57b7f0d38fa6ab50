"""Asks Graphviz for drawings, and makes them take the page's colours."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sagestack.settings import PROJECT_ROOT

_SCRIPT = Path(__file__).parent / "draw.mjs"
_TIMEOUT_S = 300
"""Of all drawings of an environment, which take a second or two; a machine that others keep busy takes many times as long."""

INK, PAPER, MUTED, LINE = "#010101", "#fefefe", "#010102", "#010103"
"""Colours that stand for the page's own, which it may change after the drawing is made."""
CREATED, UPDATED, REPLACED, DELETED = "#010104", "#010105", "#010106", "#010107"
_PAGE_COLOURS = {
    INK: "var(--ink, #1c2127)",
    PAPER: "var(--paper, #ffffff)",
    MUTED: "var(--muted, #5c6670)",
    LINE: "var(--line, #b8c0c8)",
    CREATED: "var(--created, #1a7f37)",
    UPDATED: "var(--updated, #9a6700)",
    REPLACED: "var(--replaced, #8250df)",
    DELETED: "var(--deleted, #cf222e)",
}


def draw(dots: Sequence[str]) -> list[str | None]:
    """The SVG of each drawing, to be put into a page as it is.

    None for each where Node or its packages are not there, or it does not come to an end: a review goes on without pictures.

    Raises:
        ValueError: Graphviz refused a drawing, which is a mistake of whoever wrote it.
    """
    node = shutil.which("node", path=_search_path())
    if node is None or not (PROJECT_ROOT / "node_modules" / "@viz-js" / "viz").is_dir():
        return [None] * len(dots)
    try:
        asked = subprocess.run(
            [node, str(_SCRIPT)],
            input=json.dumps(list(dots)),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [None] * len(dots)
    if asked.returncode != 0:
        raise ValueError(f"Graphviz ended with exit code {asked.returncode}: {asked.stderr.strip()[-500:]}")
    answers: list[dict[str, Any]] = json.loads(asked.stdout)
    for answer in answers:
        if "error" in answer:
            raise ValueError(f"Graphviz refused a drawing: {answer['error']}")
    return [_for_a_page(answer["svg"]) for answer in answers]


def _for_a_page(svg: str) -> str:
    svg = svg[svg.index("<svg") :]
    # Comments name the nodes; the page's size is its own matter.
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    # `xlink` and titles of nodes: a title would show as a tooltip with our inner names.
    svg = re.sub(r"<title>[^<]*</title>\n?", "", svg)
    # Graphviz knows the widths of Arial's letters; the page takes what looks like it.
    svg = svg.replace('font-family="Arial"', 'font-family="Arial, Helvetica, Liberation Sans, sans-serif"')
    for colour, page in _PAGE_COLOURS.items():
        svg = svg.replace(f'"{colour}"', f'"{page}"')
    return svg


def _search_path() -> str:
    return os.pathsep.join([str(PROJECT_ROOT / ".venv" / "bin"), os.environ.get("PATH", os.defpath)])


def escaped(text: str) -> str:
    """Text in one of Graphviz' HTML-like labels; without what XML cannot say."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]", "?", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def bold(text: str) -> str:
    """The same, in bold letters: Graphviz counts their width as if they were not, so they get some room."""
    room = "&#160;" * (1 + len(text) // 12)
    return f"<B>{escaped(text)}</B>{room}"
