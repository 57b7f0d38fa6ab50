"""Metric math: expressions over metrics, as alarms have them.

The syntax is that of the user guide, "Using math expressions with CloudWatch metrics". Its operators and calls are Python's
but for `^`, `&&`, `||`, AND and OR, so Python's own parser reads them (no grammar of our own), and nothing is evaluated but the
nodes that are named here.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from local_cloud.cloudwatch.series import (
    Array,
    BadExpression,
    Series,
    Value,
    both,
    chosen,
    differences,
    each,
    interpolated,
    reduced,
    repeated,
    spread,
)

__all__ = ["BadExpression", "Expression", "Series", "parse"]

MAX_LENGTH = 2048
"""Of an expression (MetricDataQuery in the API reference)."""
_TOKEN = re.compile(r""""[^"]*"|'[^']*'|&&|\|\||\^|\b(?:AND|OR)\b|(?<![\w.])[a-z]\w*""")
_PYTHON = {"^": "**", "&&": " and ", "||": " or ", "AND": " and ", "OR": " or "}
_ID = "_id_"
"""What stands before each id in the translation: `in` and `is` are ids in metric math, and words of Python."""
_FILLERS = ("REPEAT", "LINEAR")


@dataclass(frozen=True)
class Expression:
    """An expression that has been checked.

    Attributes:
        text: as it was written.
        names: the ids that it refers to; not those that METRICS() stands for.
    """

    text: str
    names: frozenset[str]
    _tree: ast.expr

    def over(self, series: Mapping[str, Series], metrics: Sequence[str], period_s: float, periods: int) -> Series:
        """The series that it gives.

        Args:
            series: the values of the ids.
            metrics: the ids that are metrics rather than expressions: METRICS() has these.
            period_s: how long a period is, in the cloud's seconds (PERIOD, RATE).
            periods: how many there are.

        Raises:
            BadExpression: several series or a number where one series must come out, or an argument of the wrong kind.
        """
        try:
            result = _Evaluation(series, metrics, period_s, periods).value(self._tree)
        except BadExpression as error:
            raise BadExpression(f"The expression {self.text} cannot be computed: {error}") from None
        if isinstance(result, Array):
            raise BadExpression(f"The expression {self.text} gives several series; an alarm watches one.")
        if not isinstance(result, list):
            raise BadExpression(
                f"The expression {self.text} gives a number, and an alarm watches a series: TIME_SERIES() makes one."
            )
        return result


def parse(text: str) -> Expression:
    """Check an expression.

    Raises:
        BadExpression: it cannot be read, or uses what is not computed here, by name.
    """
    if len(text) > MAX_LENGTH:
        raise BadExpression(f"An expression has at most {MAX_LENGTH} characters, this one {len(text)}.")
    try:
        tree = ast.parse(_TOKEN.sub(_translated, text).strip(), mode="eval").body
    except SyntaxError as error:
        raise BadExpression(f"The expression {text} cannot be read: {error.msg}.") from None
    names: set[str] = set()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else _shown(node.func)
            if name not in _FUNCTIONS or node.keywords:
                raise BadExpression(
                    f"The local cloud does not compute {name.removeprefix(_ID)} of the expression {text}; it has "
                    f"{', '.join(sorted(_FUNCTIONS))}."
                )
        elif isinstance(node, ast.Name):
            if node.id.startswith(_ID):
                names.add(node.id.removeprefix(_ID))
            elif id(node) not in called and node.id not in _FILLERS:
                raise BadExpression(f"The expression {text} has {node.id}; an id begins with a lower case letter.")
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, int | float | str):
                raise BadExpression(f"The expression {text} has {node.value!r}, which is no number.")
        elif not isinstance(node, _ALLOWED):
            raise BadExpression(f"The expression {text} has what metric math does not have: {_shown(node)}")
    return Expression(text, frozenset(names), tree)


def _translated(token: re.Match[str]) -> str:
    text = token[0]
    return _PYTHON.get(text) or (text if text[0] in "\"'" else _ID + text)


def _shown(node: ast.AST) -> str:
    return ast.unparse(node).replace(_ID, "")


class _Evaluation:
    """One evaluation of one expression."""

    def __init__(self, series: Mapping[str, Series], metrics: Sequence[str], period_s: float, periods: int) -> None:
        self.series, self.metrics, self.period_s, self.periods = series, metrics, period_s, periods

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name.startswith(_ID):
                return self._named(name.removeprefix(_ID))
            case ast.List(elts=items):
                return Array(flat for item in items for flat in self._flat(item))
            case ast.UnaryOp(op=op, operand=operand):
                return each(_UNARY[type(op)], self.value(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return both(_BINARY[type(op)], self.value(left), self.value(right))
            case ast.BoolOp(op=op, values=[first, *others]):
                decided = self.value(first)
                for other in others:
                    decided = both(_LOGIC[type(op)], decided, self.value(other))
                return decided
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return both(_COMPARE[type(op)], self.value(left), self.value(right))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _FUNCTIONS[name](self, arguments)
        raise BadExpression(f"{_shown(node)} stands where a number or a metric must stand.")

    def _named(self, name: str) -> Series:
        if name not in self.series:
            raise BadExpression(f"there is no {name}; Metrics has {', '.join(sorted(self.series))}.")
        return self.series[name]

    def _flat(self, node: ast.expr) -> list[float | Series]:
        value = self.value(node)
        return list(value) if isinstance(value, Array) else [value]


_Function = Callable[[_Evaluation, list[ast.expr]], Value]


def _if(evaluation: _Evaluation, arguments: list[ast.expr]) -> Value:
    if len(arguments) not in (2, 3):
        raise BadExpression(f"IF has 2 or 3 arguments, and here {len(arguments)}.")
    condition, then, *otherwise = (evaluation.value(item) for item in arguments)
    return chosen(condition, then, otherwise[0] if otherwise else None)


def _fill(evaluation: _Evaluation, arguments: list[ast.expr]) -> Value:
    what, how = _count(arguments, 2)
    value = evaluation.value(what)
    if isinstance(value, Array):
        return Array(_filled(spread(item, evaluation.periods), how, evaluation) for item in value)
    return _filled(spread(value, evaluation.periods), how, evaluation)


def _filled(series: Series, how: ast.expr, evaluation: _Evaluation) -> Series:
    if isinstance(how, ast.Name) and how.id == "REPEAT":
        return repeated(series)
    if isinstance(how, ast.Name) and how.id == "LINEAR":
        return interpolated(series)
    filler = spread(evaluation.value(how), evaluation.periods)
    return [other if item is None else item for item, other in zip(series, filler, strict=True)]


def _differences(is_rate: bool) -> _Function:
    def work(evaluation: _Evaluation, arguments: list[ast.expr]) -> Value:
        value = evaluation.value(_only(arguments))
        second_s = evaluation.period_s if is_rate else None
        if isinstance(value, Array):
            return Array(differences(spread(item, evaluation.periods), second_s) for item in value)
        return differences(spread(value, evaluation.periods), second_s)

    return work


def _metrics(evaluation: _Evaluation, arguments: list[ast.expr]) -> Value:
    wanted = ""
    if arguments:
        match _only(arguments):
            case ast.Constant(value=str() as wanted):
                pass
            case other:
                raise BadExpression(f"METRICS takes a part of an id in quotes, not {_shown(other)}.")
    return Array(evaluation.series[name] for name in evaluation.metrics if wanted in name)


def _period(evaluation: _Evaluation, arguments: list[ast.expr]) -> Value:
    match _only(arguments):
        case ast.Name(id=name) if name.removeprefix(_ID) in evaluation.metrics:
            return float(evaluation.period_s)
        case other:
            raise BadExpression(f"PERIOD takes the id of a metric, not {_shown(other)}.")


def _time_series(evaluation: _Evaluation, arguments: list[ast.expr]) -> Value:
    value = evaluation.value(_only(arguments))
    if isinstance(value, list):
        raise BadExpression("TIME_SERIES takes a number.")
    return spread(value, evaluation.periods)


def _of_each(work: Callable[[float], float]) -> _Function:
    return lambda evaluation, arguments: each(work, evaluation.value(_only(arguments)))


def _over(reduce: Callable[[list[float]], float], missing: float | None = None) -> _Function:
    return lambda evaluation, arguments: reduced(reduce, evaluation.value(_only(arguments)), missing)


def _only(arguments: list[ast.expr]) -> ast.expr:
    return _count(arguments, 1)[0]


def _count(arguments: list[ast.expr], number: int) -> list[ast.expr]:
    if len(arguments) != number:
        raise BadExpression(f"a function has {len(arguments)} arguments and needs {number}.")
    return arguments


_UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_LOGIC: dict[type[ast.boolop], Callable[[float, float], bool]] = {
    ast.And: lambda left, right: bool(left) and bool(right),
    ast.Or: lambda left, right: bool(left) or bool(right),
}
_ALLOWED = (
    ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.List, ast.Load, *_UNARY, *_BINARY, *_COMPARE, *_LOGIC,
)  # fmt: skip
_FUNCTIONS: dict[str, _Function] = {
    "ABS": _of_each(abs),
    "AVG": _over(lambda known: sum(known) / len(known), missing=0.0),
    "CEIL": _of_each(math.ceil),
    "DIFF": _differences(is_rate=False),
    "FILL": _fill,
    "FLOOR": _of_each(math.floor),
    "IF": _if,
    "MAX": _over(max),
    "METRICS": _metrics,
    "MIN": _over(min),
    "PERIOD": _period,
    "RATE": _differences(is_rate=True),
    "SUM": _over(sum),
    "TIME_SERIES": _time_series,
}
