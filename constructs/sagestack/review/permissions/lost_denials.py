"""Whether a denial that is gone matters: whether what it denied may be done afterwards, and what denies it still."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass

from sagestack.review.permissions.comparison import covering, overlapping
from sagestack.review.permissions.conditions import Conditions
from sagestack.review.permissions.statements import Selection, Statement


@dataclass(frozen=True)
class Lost:
    """What a principal's own policies deny no more, in the words of a row."""

    actions: tuple[str, ...]
    targets: tuple[str, ...]
    conditions: Conditions


@dataclass(frozen=True)
class Remains:
    """What is left after the change for the principal that was denied something.

    Attributes:
        ways: the Allows by which some of it may be done, in an order that does not change.
        denials: the Denies that some of it meets still.
        unread: what it may have besides and nobody can read here: managed policies of AWS, groups, a document that only the
            deployment knows, or all of the policies of somebody else's role.
    """

    ways: tuple[Statement, ...]
    denials: tuple[Statement, ...]
    unread: tuple[str, ...]

    @property
    def is_harmless(self) -> bool:
        """Whether nobody is able to do what was denied: then only the text of a policy is shorter."""
        return not self.ways and not self.unread


def remains(lost: Lost, after: Set[Statement], granted: Iterable[Statement], unread: Collection[str]) -> Remains:
    """Looks for what was denied in everything that the principal has after the change.

    Args:
        after: the statements of its own policies.
        granted: Allows in the policies of resources and keys that name it. In the same account each is enough by itself:
            https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-req-context.html
        unread: what of its permissions is not in `after`, readable.
    """
    own = sorted(after, key=repr)
    # Whom a grant is for has been decided; its conditions and resources say the rest.
    whom = own[0].principals if own else Selection(("*",))
    others = [Statement(True, whom, each.actions, each.resources, each.conditions) for each in granted]
    denied = [
        Statement(False, whom, _selection(action), _selection(target), lost.conditions)
        for action in lost.actions
        for target in lost.targets
    ]
    statements: Sequence[Statement] = [*own, *sorted(others, key=repr)]
    ways = [each for one in denied for each in covering(one, statements)]
    denials = [each for one in denied for each in overlapping(one, statements)]
    return Remains(tuple(dict.fromkeys(ways)), tuple(dict.fromkeys(denials)), tuple(sorted(unread)))


def _selection(text: str) -> Selection:
    """What `comparison` wrote as one pattern, or as `not a or b`."""
    if text.startswith("not "):
        return Selection(tuple(text.removeprefix("not ").split(" or ")), is_negated=True)
    return Selection((text,))
