"""Where words go: to people as text, to scripts as one JSON document on stdout."""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Output:
    """What a command says.

    With `is_json`, stdout gets the result or the error, once, and nothing else; what people would read is left out.
    """

    def __init__(self) -> None:
        self.is_json = False

    # Rich takes 60 ms to import: only commands that print pay for it.
    @cached_property
    def console(self) -> Console:
        """Stdout for people, silent under `--json`."""
        from rich.console import Console

        return Console(quiet=self.is_json, highlight=False, soft_wrap=not sys.stdout.isatty(), emoji=False)

    @property
    def can_redraw(self) -> bool:
        """Whether what was said can be drawn over: on a terminal, and not in a file, whose colours somebody may force."""
        return not self.is_json and sys.stdout.isatty() and self.console.is_terminal

    @cached_property
    def errors(self) -> Console:
        """Stderr, for what went wrong and for what must not be mistaken for a result."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

    def say(self, text: str, style: str | None = None) -> None:
        """One line to people. The text is taken literally: names and messages may hold brackets."""
        self.console.print(text, style=style, markup=False)

    def show(self, *renderables: RenderableType) -> None:
        """A table, a panel: whatever Rich draws."""
        for renderable in renderables:
            self.console.print(renderable)

    def warn(self, text: str) -> None:
        """What a person should know although the command goes on."""
        self.errors.print(text, style="yellow", markup=False)

    def result(self, document: dict[str, Any]) -> None:
        """The result for scripts; nothing for people, who have read it already."""
        if self.is_json:
            sys.stdout.write(json.dumps(document, indent=2, default=_plain) + "\n")

    def fail(self, error: CliError) -> None:
        """Says what is wrong and what to do: in red on stderr, or as `{"error": ...}` on stdout."""
        if self.is_json:
            self.result({"error": error.as_json()})
            return
        self.errors.print(f"Error: {error.message}", style="bold red", markup=False)
        if error.hint:
            self.errors.print(error.hint, markup=False)


def _plain(value: object) -> object:
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="seconds")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
