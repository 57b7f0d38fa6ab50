"""What a review can be told to call a human for: the words of `--fail-on` and of `review.fail_on` in delivery.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sagestack.settings.errors import suggestion

NEVER = "never"
"""Alone, in the place of conditions: whatever is found, the review ends with 0."""

_LIMIT = re.compile(r"cost\s*>\s*(?P<number>[0-9]+(\.[0-9]+)?)\s*(?P<percent>%?)")


class ConditionKind(StrEnum):
    """What is asked, as it is written; `cost` is followed by its limit."""

    DATA_LOSS = "data-loss"
    REPLACEMENT_WITH_DATA = "replacement-with-data"
    REPLACEMENT = "replacement"
    DELETION = "deletion"
    INTERRUPTION = "interruption"
    CANNOT_DEPLOY = "cannot-deploy"
    IAM_WIDENING = "iam-widening"
    PUBLIC_ACCESS = "public-access"
    LOST_BOUNDARY = "lost-boundary"
    NEW_FINDING = "new-finding"
    UNKNOWN_COST = "unknown-cost"
    COST = "cost"
    ANY_CHANGE = "any-change"


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        limit: of `cost`: by how much an environment may become dearer in a month.
        is_percent: whether the limit is in percent of what it cost before; US dollars otherwise.
    """

    kind: ConditionKind
    limit: float = 0.0
    is_percent: bool = False

    def __str__(self) -> str:
        if self.kind is not ConditionKind.COST:
            return str(self.kind)
        return f"cost>{self.limit:g}{'%' if self.is_percent else ''}"


class ConditionError(ValueError):
    """What stands there is no condition; says which there are."""


KNOWN = (*(str(kind) for kind in ConditionKind if kind is not ConditionKind.COST), "cost>N%", "cost>N")
"""Every form that is understood; N is a number."""


def parse_conditions(written: str | Iterable[str]) -> tuple[Condition, ...]:
    """Reads conditions: one text with commas in it, as on the command line, or one condition each, as in a file.

    `never` alone gives none. The same condition twice counts once.

    Raises:
        ConditionError: one is not understood, none is given, or `never` stands beside others.
    """
    texts = written.split(",") if isinstance(written, str) else list(written)
    texts = [text.strip() for text in texts]
    if texts == [NEVER]:
        return ()
    if NEVER in texts:
        raise ConditionError(f"{NEVER!r} stands alone, or not at all: it means that no condition counts")
    if not any(texts):
        raise ConditionError(f"no condition is given (allowed: {', '.join(KNOWN)}; or {NEVER!r})")
    return tuple(dict.fromkeys(_parsed(text) for text in texts))


def _parsed(text: str) -> Condition:
    if limit := _LIMIT.fullmatch(text):
        return Condition(ConditionKind.COST, float(limit["number"]), bool(limit["percent"]))
    if text.startswith("cost"):
        raise ConditionError(
            f"{text!r} is not a condition: a limit of cost is cost>N% (of what the environment cost before) or cost>N"
            " (US dollars a month), as in cost>10%"
        )
    try:
        return Condition(ConditionKind(text))
    except ValueError:
        known = [*KNOWN, NEVER]
        raise ConditionError(
            f"{text!r} is not a condition{suggestion(text, known)} (allowed: {', '.join(KNOWN)}; or {NEVER!r} alone)"
        ) from None
