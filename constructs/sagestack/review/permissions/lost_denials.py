"""Whether a denial that is gone matters: whether what it denied may be done afterwards, and what denies it still."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace

from sagestack.review.permissions import actions as known
from sagestack.review.permissions.comparison import action_classes, takes
from sagestack.review.permissions.conditions import Conditions, are_tried, outcomes
from sagestack.review.permissions.globs import exists
from sagestack.review.permissions.references import Names
from sagestack.review.permissions.sentences import action_labels, condition_labels, listed, only_if, target_labels
from sagestack.review.permissions.statements import SELF, Selection, Statement

_MOST = 3
"""So many statements in a sentence."""


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
            https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
        unread: what of its permissions is not in `after`, readable.
    """
    own = sorted(after, key=repr)
    # Whom a grant is for has been decided; its conditions and resources say the rest.
    whom = Selection((SELF,))
    others = [Statement(True, whom, each.actions, each.resources, each.conditions) for each in granted]
    denied = [
        Statement(False, whom, _selection(action), _selection(target), lost.conditions)
        for action in lost.actions
        for target in lost.targets
    ]
    statements = [*own, *sorted(others, key=repr)]
    met = list(dict.fromkeys(each for one in denied for each in _met(one, statements)))
    return Remains(
        tuple(each for each in met if each.allows),
        tuple(each for each in met if not each.allows),
        tuple(sorted(unread)),
    )


def _met(denied: Statement, statements: Sequence[Statement]) -> Iterator[Statement]:
    """The Allows that let through a request that was denied, and the Denies that stop one."""
    for what in action_classes([denied, *statements]):
        if not takes(denied.actions, what):
            continue
        about = [each for each in statements if takes(each.actions, what)]
        for each in about:
            against = [other for other in about if not other.allows] if each.allows else []
            if any(_meet(denied, each, denials) for denials in _worlds(denied, each, against)):
                yield replace(each, actions=_about(each.actions, denied.actions))


def _about(selection: Selection, wanted: Selection) -> Selection:
    """The patterns that have anything to do with what is wanted: a statement may speak of twenty other actions."""
    if selection.is_negated or wanted.is_negated:
        return selection
    found = [
        each
        for each in selection.patterns
        if any(known.covers(each, one.lower()) or known.covers(one, each.lower()) for one in wanted.patterns)
    ]
    return Selection(tuple(found)) if found else selection


def _worlds(denied: Statement, statement: Statement, against: Sequence[Statement]) -> Iterator[list[Statement]]:
    """The Denies that hold beside, for each kind of request for which both statements hold."""
    both = {denied.conditions, statement.conditions}
    if not are_tried({*both, *(other.conditions for other in against)}):
        # Too much to try: what might be allowed counts as allowed.
        yield [other for other in against if not other.conditions]
        return
    for held in outcomes({*both, *(other.conditions for other in against)}):
        if both <= held:
            yield [other for other in against if other.conditions in held]


def _meet(denied: Statement, statement: Statement, denials: Sequence[Statement]) -> bool:
    """Whether there is a resource of which both speak and no denial does."""
    selections = [denied.resources, statement.resources, *(each.resources for each in denials)]
    patterns = sorted({pattern for each in selections for pattern in each.patterns})

    def speaks(selection: Selection, matching: frozenset[int]) -> bool:
        return any(patterns[place] in selection.patterns for place in matching) != selection.is_negated

    return exists(
        patterns,
        None,
        lambda matching: (
            speaks(denied.resources, matching)
            and speaks(statement.resources, matching)
            and not any(speaks(each.resources, matching) for each in denials)
        ),
    )


def in_words(found: Remains, names: Names) -> str:
    """What follows on `... is no longer denied`."""
    still = f"; still denied: {_listed(found.denials, names)}" if found.denials else ""
    if found.ways:
        return f", and this allows it: {_listed(found.ways, names)}{still}"
    if found.unread:
        return f", and whether it is allowed is not known, since nobody can read here {listed(found.unread)}{still}"
    return f", and nothing that is read here allows it{still}"


def _listed(statements: Sequence[Statement], names: Names) -> str:
    told = list(dict.fromkeys(_in_words(each, names) for each in statements))
    return "; ".join(told if len(told) <= _MOST else [*told[: _MOST - 1], f"{len(told) - _MOST + 1} more"])


def _in_words(statement: Statement, names: Names) -> str:
    but = "anything but " if statement.actions.is_negated else ""
    service = statement.actions.patterns[0].partition(":")[0]
    if statement.resources.is_negated:
        on = f"everything but {listed([names.readable(each) for each in statement.resources.patterns])}"
    else:
        on = listed(target_labels(statement.resources.patterns, service, names))
    conditions = only_if(condition_labels(statement.conditions, names))
    return f"{but}{listed(action_labels(statement.actions.patterns))} on {on}{conditions}"


def _selection(text: str) -> Selection:
    """What `comparison` wrote as one pattern, or as `not a or b`."""
    if text.startswith("not "):
        return Selection(tuple(text.removeprefix("not ").split(" or ")), is_negated=True)
    return Selection((text,))
