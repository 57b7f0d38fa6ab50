"""Whether a review meets the conditions of `--fail-on`, and where: what makes its exit code ask for a human."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from sagestack.review.results import (
    NOTE_OF_FAILURE,
    Action,
    CostLine,
    EnvironmentReview,
    Met,
    PermissionChange,
    PermissionFlag,
    ResourceChange,
    Severity,
)
from sagestack.settings.review_conditions import Condition, ConditionKind

# Money is added up in floating point: what differs by less than this does not differ.
_CENT_FRACTION = 1e-6

_REPLACED = (Action.REPLACED, Action.MAY_BE_REPLACED)


def evaluate(conditions: Sequence[Condition], environments: Iterable[EnvironmentReview]) -> tuple[Met, ...]:
    """The conditions that are met, in the order of the question, each with the sentences that say where."""
    environments = list(environments)
    met = []
    for condition in conditions:
        where = tuple(dict.fromkeys(sentence for each in environments for sentence in _sentences(condition, each)))
        if where:
            met.append(Met(str(condition), where))
    return tuple(met)


def _sentences(condition: Condition, found: EnvironmentReview) -> Iterator[str]:
    if condition.kind is ConditionKind.COST:
        yield from _dearer(condition, found)
    elif condition.kind is ConditionKind.UNKNOWN_COST:
        yield from _unpriced(found)
    elif condition.kind is ConditionKind.NEW_FINDING:
        yield from _new_findings(found)
    elif condition.kind is ConditionKind.CANNOT_DEPLOY:
        yield from _failures(found)
    elif condition.kind is ConditionKind.ANY_CHANGE:
        yield from _anything(found)
    elif condition.kind in _OF_CHANGES:
        is_met = _OF_CHANGES[condition.kind]
        yield from (_of_change(change, found.environment) for change in found.changes if is_met(change))
    else:
        counts = _OF_PERMISSIONS[condition.kind]
        yield from (f"{found.environment}: {each.sentence}" for each in found.permissions if counts(each))


_OF_CHANGES: dict[ConditionKind, Callable[[ResourceChange], bool]] = {
    ConditionKind.DATA_LOSS: lambda change: change.data == "lost",
    # Data that is kept counts, too: what replaces it starts empty, and somebody has to move them.
    ConditionKind.REPLACEMENT_WITH_DATA: lambda change: change.action in _REPLACED and change.data != "none",
    ConditionKind.REPLACEMENT: lambda change: change.action in _REPLACED,
    ConditionKind.DELETION: lambda change: change.action is Action.DELETED,
    ConditionKind.INTERRUPTION: lambda change: change.interruption is not None,
}

_OF_PERMISSIONS: dict[ConditionKind, Callable[[PermissionChange], bool]] = {
    # A notice is "worth a line, and no decision", so it calls nobody.
    ConditionKind.IAM_WIDENING: lambda each: each.direction == "wider" and each.severity is not Severity.NOTICE,
    ConditionKind.PUBLIC_ACCESS: lambda each: each.direction == "wider" and PermissionFlag.PUBLIC in each.flags,
    ConditionKind.LOST_BOUNDARY: lambda each: PermissionFlag.LOST_BOUNDARY in each.flags,
}


def _of_change(change: ResourceChange, environment: str) -> str:
    resource = change.resource
    verb = {Action.MAY_BE_REPLACED: "may be replaced"}.get(change.action, f"is {change.action}")
    data = {
        "none": "",
        "kept": "; the old one and its data stay, outside the stack",
        "lost": "; its data are lost",
        "refused": "; the old one stays while data are in it, outside the stack",
    }[change.data]
    if change.data == "lost" and change.action is Action.UPDATED:
        data = "; data in it are lost"
    why = next((f" ({reason})" for reason in (change.interruption, *change.reasons) if reason), "")
    return f"{environment}: {resource.type} {resource.path} in {resource.stack} {verb}{data}{why}"


def _dearer(condition: Condition, found: EnvironmentReview) -> Iterator[str]:
    yield from _priced_no_more(found)
    before, after = found.cost_before.total, found.cost_after.total
    more = after - before
    allowed = before * condition.limit / 100 if condition.is_percent else condition.limit
    if more <= allowed + _CENT_FRACTION:
        return
    share = f", {more / before:+.0%}" if before else ", where nothing was paid before"
    yield f"{found.environment}: {before:,.2f} to {after:,.2f} USD a month ({more:+,.2f}{share})"


def _priced_no_more(found: EnvironmentReview) -> Iterator[str]:
    """What had a price and has none: it looks like money saved, and may be any amount, so no limit is kept."""
    for address, lines in _by_resource(found.cost_after.unknown).items():
        old, new = (
            [line for line in side.lines if line.resource.address == address]
            for side in (found.cost_before, found.cost_after)
        )
        unknown = [line for line in lines if line.what not in {each.what for each in old}]
        was = [line.usd_per_month for line in old if line.usd_per_month]
        if unknown and len(was) > len([line for line in new if line.usd_per_month]):
            yield (
                f"{found.environment}: {unknown[0].resource.path} in {unknown[0].resource.stack} cost {sum(was):,.2f} USD a"
                f" month, and what it will cost is not known (no price for {unknown[0].what})"
            )


def _by_resource(lines: Iterable[CostLine]) -> dict[str, list[CostLine]]:
    found: dict[str, list[CostLine]] = {}
    for line in lines:
        found.setdefault(line.resource.address, []).append(line)
    return found


def _unpriced(found: EnvironmentReview) -> Iterator[str]:
    """What has no price and is new: an environment that always had something unpriced does not call for it each time."""
    known = {(line.resource.address, line.what) for line in found.cost_before.unknown}
    for line in found.cost_after.unknown:
        if (line.resource.address, line.what) not in known:
            yield f"{found.environment}: no price for {line.what}, {line.resource.path} in {line.resource.stack}: {line.how}"


def _new_findings(found: EnvironmentReview) -> Iterator[str]:
    for finding in found.findings:
        if finding.state == "new" and finding.accepted is None and finding.severity is not Severity.NOTICE:
            what = f"{finding.resource.path} in {finding.stack}" if finding.resource else finding.stack
            yield f"{found.environment}: {finding.rule} ({finding.tool}) at {what}: {finding.message}"


def _failures(found: EnvironmentReview) -> Iterator[str]:
    """What is of one resource, and what is of a whole stack, as an export that others still import."""
    for change in found.changes:
        if change.cannot_deploy:
            yield _of_change(replace(change, interruption=None), found.environment)
    yield from (f"{found.environment}: {note}" for note in found.notes if note.startswith(NOTE_OF_FAILURE))


def _anything(found: EnvironmentReview) -> Iterator[str]:
    if found.is_new:
        yield f"{found.environment}: the environment is new"
    if found.is_gone:
        yield f"{found.environment}: the environment is gone"
    yield from (_of_change(change, found.environment) for change in found.changes)
