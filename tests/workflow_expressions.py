"""GitHub's expressions, evaluated strictly: what is not known here fails by name, where GitHub would make an empty string of it.

https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

STATUS = frozenset({"success", "failure", "cancelled", "always"})
"""Functions that a condition may ask; one that asks none of them means `success() && (...)`."""
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)|(?P<string>'(?:[^']|'')*')|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<sign>\|\||&&|==|!=|<=|>=|[!<>().\[\],]))"
)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


class UnknownExpression(AssertionError):
    """An expression that this evaluator does not know, or a name that nothing here defines."""


class Payload(dict[str, Any]):
    """Somebody else's data, as of an event: what is not in it is null, as on GitHub, and no mistake of the workflow."""


Functions = Mapping[str, Callable[..., Any]]


def evaluate(expression: str, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """The value of an expression without its `${{ }}`.

    Raises:
        UnknownExpression: see there.
    """
    return _Parser(expression, contexts, functions).value()


def filled_in(text: Any, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """A value of the workflow with its expressions evaluated; one that is nothing but an expression keeps its type."""
    if not isinstance(text, str):
        return text
    if whole := re.fullmatch(r"\$\{\{((?:(?!\}\}).)*)\}\}", text.strip(), re.DOTALL):
        return evaluate(whole[1], contexts, functions)
    return re.sub(
        r"\$\{\{(.*?)\}\}", lambda found: as_text(evaluate(found[1], contexts, functions)), text, flags=re.DOTALL
    )


def condition(written: str | None, contexts: Mapping[str, Any], functions: Functions) -> bool:
    """Whether a job or a step runs: `if` may stand with or without `${{ }}`."""
    text = "success()" if written is None else str(written).strip()
    if text.startswith("${{") and text.endswith("}}"):
        text = text[3:-2]
    if not STATUS & set(re.findall(r"([a-z]+)\s*\(", text)):
        text = f"success() && ({text})"
    return truth(evaluate(text, contexts, functions))


def truth(value: Any) -> bool:
    """What GitHub takes for true; an object always is."""
    return bool(value) or isinstance(value, Mapping)


def as_text(value: Any) -> str:
    """As it is pasted into a string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list):
        raise UnknownExpression(f"an object in a string: {json.dumps(value)[:200]}")
    return str(value)


class _Parser:
    """From the loosest to the tightest: `||`, `&&`, `==` and `!=`, `<` and its like, `!`. All sides are evaluated."""

    def __init__(self, expression: str, contexts: Mapping[str, Any], functions: Functions) -> None:
        self._text, self._contexts, self._functions = expression, contexts, functions
        self._tokens = self._read(expression)
        self._place = 0

    def value(self) -> Any:
        found = self._or()
        if self._place < len(self._tokens):
            raise self._unknown(f"{self._tokens[self._place][1]!r} is left over")
        return found

    def _read(self, text: str) -> list[tuple[str, str]]:
        tokens, place = [], 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if not found or not found.lastgroup:
                raise self._unknown(f"{text[place:].strip()[:20]!r} is not known")
            tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
        return tokens

    def _unknown(self, why: str) -> UnknownExpression:
        return UnknownExpression(f"${{{{ {self._text.strip()} }}}}: {why}")

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "")

    def _take(self, *signs: str) -> str | None:
        kind, text = self._next()
        if kind != "sign" or text not in signs:
            return None
        self._place += 1
        return text

    def _must(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unknown(f"{sign!r} is missing")

    def _or(self) -> Any:
        left = self._and()
        while self._take("||"):
            right = self._and()
            left = left if truth(left) else right
        return left

    def _and(self) -> Any:
        left = self._equal()
        while self._take("&&"):
            right = self._equal()
            left = right if truth(left) else left
        return left

    def _equal(self) -> Any:
        left = self._compared()
        while sign := self._take("==", "!="):
            left = _same(left, self._compared()) == (sign == "==")
        return left

    def _compared(self) -> Any:
        left = self._not()
        while sign := self._take(*_COMPARISONS):
            left = _COMPARISONS[sign](_number(left), _number(self._not()))
        return left

    def _not(self) -> Any:
        return not truth(self._not()) if self._take("!") else self._named()

    def _named(self) -> Any:
        value, path = self._first()
        while sign := self._take(".", "["):
            if sign == ".":
                kind, key = self._next()
                self._place += 1
                if kind != "name":
                    raise self._unknown(f"{path}.{key} is not known")
            else:
                key = as_text(self._or())
                self._must("]")
            value, path = self._member(value, key, path), f"{path}.{key}"
        return value

    def _first(self) -> tuple[Any, str]:
        kind, text = self._next()
        self._place += 1
        if kind == "sign" and text == "(":
            inner = self._or()
            self._must(")")
            return inner, "(...)"
        if kind == "number":
            return float(text) if "." in text else int(text), text
        if kind == "string":
            return text[1:-1].replace("''", "'"), text
        if kind != "name":
            raise self._unknown(f"{text or 'nothing'!r} where a value should be")
        if text in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[text], text
        if self._take("("):
            return self._called(text), f"{text}()"
        if text not in self._contexts:
            raise self._unknown(f"the context {text!r} is not known here")
        return self._contexts[text], text

    def _called(self, name: str) -> Any:
        if name not in self._functions:
            raise self._unknown(f"the function {name}() is not known here")
        arguments = []
        while not self._take(")"):
            arguments.append(self._or())
            if not self._take(","):
                self._must(")")
                break
        return self._functions[name](*arguments)

    def _member(self, value: Any, key: str, path: str) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self._unknown(f"{path} has no members")
        if key not in value and not isinstance(value, Payload):
            raise self._unknown(f"{path}.{key} is not known here")
        found = value.get(key)
        return Payload(found) if isinstance(value, Payload) and isinstance(found, dict) else found


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left.casefold() == right.casefold()
    if isinstance(left, Mapping) or isinstance(right, Mapping):
        return left is right
    if type(left) is type(right):
        return bool(left == right)
    return _number(left) == _number(right)


def _number(value: Any) -> float:
    if value is None or value == "":
        return 0.0
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
