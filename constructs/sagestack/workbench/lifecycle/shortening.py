"""Takes from vendored scripts and programs what only their readers need: comments, docstrings, empty lines.

What is left runs the same and is the same on each machine: text is cut at places, never written anew by a Python version's taste.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize

_KEPT = ("#!", "# shellcheck")
_HEREDOC = re.compile(r"(?<!<)<<(?!<)-?\s*(['\"]?)(\w+)\1")


def shortened(name: str, text: str) -> str:
    """The text without what only readers need, by the name's ending; of any other ending as it is."""
    if name.endswith(".py"):
        return shortened_python(text)
    return shortened_bash(text) if name.endswith(".sh") else text


def shortened_bash(text: str) -> str:
    """Without lines that are comments or empty; what is in a heredoc stays, and so does what tells shellcheck something."""
    kept, until = [], None
    for line in text.splitlines():
        if until is not None:
            until = None if line.strip() == until else until
        elif not line.strip() or (line.lstrip().startswith("#") and not line.lstrip().startswith(_KEPT)):
            continue
        elif found := _HEREDOC.search(line):
            until = found[2]
        kept.append(line)
    return "\n".join(kept) + "\n"


def shortened_python(text: str) -> str:
    """Without comments, docstrings and empty lines. Strings of several lines stay as they are."""
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    for start, end, instead in sorted([*_docstrings(text), *_comments(text, lines)], reverse=True):
        (first, left), (last, right) = start, end
        head, tail = lines[first - 1][:left] + instead, lines[last - 1][right:]
        lines[first - 1 : last] = [head.rstrip(b" \t") + tail if not tail.strip() else head + tail] + [b""] * (
            last - first
        )
    whole = b"".join(lines).decode()
    in_strings = _lines_in_strings(whole)
    numbered = enumerate(whole.splitlines(keepends=True), start=1)
    return "".join(line for number, line in numbered if line.strip() or number in in_strings)


_Cut = tuple[tuple[int, int], tuple[int, int], bytes]


def _docstrings(text: str) -> list[_Cut]:
    cuts: list[_Cut] = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for index, statement in enumerate(node.body):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                if not isinstance(statement.value.value, str):
                    continue
                assert statement.end_lineno is not None and statement.end_col_offset is not None  # noqa: PT018
                # A body of a docstring alone needs another statement; those below attributes are gone for good.
                instead = b"pass" if index == 0 and len(node.body) == 1 and not isinstance(node, ast.Module) else b""
                cuts.append(
                    (
                        (statement.lineno, statement.col_offset),
                        (statement.end_lineno, statement.end_col_offset),
                        instead,
                    )
                )
    return cuts


def _comments(text: str, lines: list[bytes]) -> list[_Cut]:
    return [
        # Tokens are placed by characters, and the tree by bytes.
        ((row, len(line[:column].encode())), (row, len(line[:end].encode())), b"")
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not (token.start == (1, 0) and token.string.startswith("#!"))
        for (row, column), end in [(token.start, token.end[1])]
        for line in [lines[row - 1].decode()]
    ]


def _lines_in_strings(text: str) -> set[int]:
    return {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno is not None
        for line in range(node.lineno, node.end_lineno + 1)
        if node.end_lineno > node.lineno
    }
