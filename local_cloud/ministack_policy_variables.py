"""Fills in the variables of IAM policies, like `${aws:PrincipalTag/user}`, which MiniStack compares as they are written.

So nobody could become a role that asks who they are, nor reach what is tagged as theirs.

Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ministack.core import iam_evaluator

_VARIABLE = re.compile(r"\$\{([^},]+?)(?:\s*,\s*'([^']*)')?\}")
_PATTERNS = ("stringlike", "stringnotlike", "arnlike", "arnnotlike", "arnequals", "arnnotequals")
_NOTHING = "\0"
"""Fits no value of anything: a variable that nobody has said."""
_LITERALS = str.maketrans({"*": "\ue000", "?": "\ue001"})
"""What stands in patterns for characters that a variable brings: what somebody is called is no pattern."""


def install() -> None:
    """Fill them in wherever MiniStack compares: resources and conditions of policies, conditions of trust policies."""
    first_match, conditions_met = iam_evaluator._first_match, iam_evaluator._conditions_met
    fnmatch_compile = iam_evaluator._fnmatch_compile
    written = {ord(stand_in): re.escape(chr(character)) for character, stand_in in _LITERALS.items()}

    def literal_fnmatch_compile(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        compiled: re.Pattern[str] = fnmatch_compile(pattern, ignore_case)
        if pattern.isascii() or not any(stand_in in pattern for stand_in in _LITERALS.values()):
            return compiled
        return re.compile(compiled.pattern.translate(written), compiled.flags)

    def filled_first_match(context: Any, statements: Sequence[Any], effect: str) -> Any:
        of_effect = [each for each in statements if each.effect == effect]
        return first_match(context, [_with_resources(each, context) for each in of_effect], effect)

    def filled_conditions_met(conditions: Mapping[str, Any], context: Any) -> bool:
        return bool(conditions_met(_with_values(conditions, context), context))

    iam_evaluator._fnmatch_compile = literal_fnmatch_compile
    iam_evaluator._first_match = filled_first_match
    iam_evaluator._conditions_met = filled_conditions_met


def _with_resources(statement: Any, context: Any) -> Any:
    texts = [*statement.resources, *statement.not_resources]
    if not any("${" in text for text in texts):
        return statement
    return dataclasses.replace(
        statement,
        resources=[_filled(each, context, is_pattern=True) for each in statement.resources],
        not_resources=[_filled(each, context, is_pattern=True) for each in statement.not_resources],
    )


def _with_values(conditions: Mapping[str, Any], context: Any) -> dict[str, Any]:
    return {
        operator: {
            key: _of_key(values, context, is_pattern=_plain(operator) in _PATTERNS) for key, values in by_key.items()
        }
        if isinstance(by_key, Mapping)
        else by_key
        for operator, by_key in conditions.items()
    }


def _plain(operator: str) -> str:
    return operator.rpartition(":")[2].lower().removesuffix("ifexists")


def _of_key(values: object, context: Any, *, is_pattern: bool) -> object:
    if isinstance(values, str):
        return _filled(values, context, is_pattern=is_pattern)
    if isinstance(values, list):
        return [_of_key(each, context, is_pattern=is_pattern) for each in values]
    return values


def _filled(text: str, context: Any, *, is_pattern: bool) -> str:
    def value(found: re.Match[str]) -> str:
        key, default = found[1], found[2]
        # Three are the character itself.
        said = key if key in ("*", "?", "$") else iam_evaluator._resolve_condition_key(key, context)
        said = default if said is None else said
        # A key with several values is no variable.
        if not isinstance(said, str):
            return _NOTHING
        return said.translate(_LITERALS) if is_pattern else said

    return _VARIABLE.sub(value, text) if "${" in text else text
