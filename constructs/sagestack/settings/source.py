"""Reads a settings file and remembers on which line each key stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError


@dataclass(frozen=True)
class SettingsFile:
    """A parsed YAML mapping and where it came from."""

    label: str
    """The path as people know it: relative to the project."""
    nodes: CommentedMap

    @property
    def content(self) -> dict[str, Any]:
        """The values as plain Python, without the parser's own types."""
        plain: dict[str, Any] = _plain(self.nodes)
        return plain

    def line_of(self, path: Iterable[str | int]) -> int:
        """The line, counted from 1, of the deepest part of the path that stands in the file."""
        node: Any = self.nodes
        line = 1
        for part in path:
            if isinstance(node, CommentedMap) and part in node:
                # What `<<` merges in stands elsewhere: then what it is merged into is the nearest that is known.
                place = (node.lc.data or {}).get(part)
                line = line if place is None else place[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
                line = node.lc.item(part)[0] + 1
            else:
                break
            node = node[part]
        return line

    def problem(self, text: str, *, path: Sequence[str | int] = (), line: int | None = None) -> str:
        """Puts the file and the line in front of what is wrong."""
        return f"{self.label}:{line or self.line_of(path)}: {text}"


class UnreadableError(Exception):
    """The file is not a YAML mapping; the message says where and why."""


def read(path: Path, *, root: Path) -> SettingsFile:
    """Reads one file.

    Raises `UnreadableError` for what is not YAML (with the line), for a key that stands twice, and for
    anything that is not a mapping; `FileNotFoundError` where there is no file.
    """
    label = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    try:
        nodes = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"{label}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{label}: is not UTF-8 text (byte {error.start})") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UnreadableError(f"{label}:{line}: {error.problem}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        # The last two: numbers of thousands of digits, and mappings in mappings without an end.
        raise UnreadableError(f"{label}: {error}") from error
    if not isinstance(nodes, CommentedMap):
        found = "nothing" if nodes is None else f"a {type(_plain(nodes)).__name__}"
        raise UnreadableError(f"{label}: must be a mapping of keys to values, found {found}")
    return SettingsFile(label, nodes)


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
