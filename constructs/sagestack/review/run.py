"""One review from beginning to end: both sides, everything that is asked of them, and what of it calls for a human."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sagestack.cli.errors import CliError
from sagestack.review.asked import conditions_of
from sagestack.review.assembly import Assembly
from sagestack.review.conditions import evaluate
from sagestack.review.results import (
    CostEstimate,
    EnvironmentReview,
    PermissionChange,
    Picture,
    ResourceChange,
    Review,
    RuleFinding,
)
from sagestack.review.sides.cache import Cache
from sagestack.review.sides.opening import OpenSide, open_sides
from sagestack.review.sides.synthesis import Progress, Synthesized, synthesize
from sagestack.settings.errors import suggestion
from sagestack.settings.names import EnvironmentNames
from sagestack.settings.review_conditions import Condition

CACHE = Path("cdk.out") / "review-cache"
"""Below the project's root, where git ignores it."""


@dataclass(frozen=True)
class Analyses:
    """What is asked of the assemblies; each part takes None for a side that lacks the environment."""

    changes: Callable[[Assembly | None, Assembly | None], tuple[ResourceChange, ...]]
    permissions: Callable[[Assembly | None, Assembly | None], tuple[PermissionChange, ...]]
    cost: Callable[[Assembly | None], CostEstimate]
    price_date: str
    price_source: str
    notes: Callable[[Assembly | None, Assembly | None], tuple[str, ...]]
    check: Callable[[Sequence[Assembly | None]], Sequence[Any]]
    """The rules, of all assemblies at once, since the start of the tools takes longer than their rules."""
    compare: Callable[[Any, Any], tuple[RuleFinding, ...]]
    unneeded: Callable[[Sequence[Any], Sequence[Any]], tuple[str, ...]]
    """Acceptances that accept nothing any more, from what was checked of the bases and of the heads."""
    pictures: Callable[[Assembly | None, Assembly | None, Sequence[ResourceChange]], tuple[Picture, ...]]


@dataclass(frozen=True)
class Outcome:
    """A review, and what it took."""

    review: Review
    synthesized: int
    reused: int
    seconds: float


def run_review(
    root: Path,
    base: str,
    head: str | None = None,
    environments: Sequence[str] = (),
    conditions: Sequence[Condition] | None = (),
    progress: Progress = lambda _text: None,
    analyses: Callable[[Path], Analyses] | None = None,
) -> Outcome:
    """Compares two states of a project.

    Nothing of the user's is touched: files are read from copies, and what is synthesized is kept in `cdk.out/review-cache`.

    Args:
        root: the project's folder.
        base: a ref of git, of which its merge base with the head counts, as in a pull request; or a folder that `cdk synth`
            wrote.
        head: the same; None for the working tree as it is.
        environments: their names; all that either side has, where none is given.
        conditions: what calls for a human; None for what delivery.yaml says, on both sides.
        progress: takes what goes on now.
        analyses: makes them, given a folder where they may keep what they found; the real ones where nothing is given.

    Raises:
        CliError: a side is not there or does not synthesize, or an environment is in neither.
    """
    started = time.monotonic()
    progress("Reading both sides")
    with Cache(root / CACHE) as cache:
        before, after = open_sides(root, base, head, environments, cache)
        said: tuple[str, ...] = ()
        if conditions is None:
            conditions, said = conditions_of(root, before, after)
        names = _chosen(environments, before, after)
        assemblies = synthesize(root, before, after, names, cache, progress)
        progress("Reading prices")
        asked = (analyses or partial(_real_analyses, root))(cache.findings)
        reviews, unneeded = _analyzed(names, assemblies, asked, progress)
        notes = [*said, *before.notes, *after.notes, *_library_notes(before, after), *unneeded]
    return Outcome(
        Review(
            base=before.side,
            head=after.side,
            environments=reviews,
            price_date=asked.price_date,
            price_source=asked.price_source,
            met=evaluate(conditions, reviews),
            notes=tuple(notes),
            asked=tuple(str(condition) for condition in conditions),
        ),
        assemblies.made,
        assemblies.reused,
        time.monotonic() - started,
    )


def _chosen(wanted: Sequence[str], before: OpenSide, after: OpenSide) -> list[str]:
    known = sorted({*before.environments, *after.environments})
    if not known:
        raise CliError(f"Neither {before.side.label} nor {after.side.label} has an environment.", code="not-found")
    for name in wanted:
        if name not in known:
            raise CliError(
                f"There is no environment {name!r} on either side{suggestion(name, known)} (known: {', '.join(known)}).",
                code="settings",
            )
    return list(dict.fromkeys(wanted)) or known


def _analyzed(
    names: Sequence[str], assemblies: Synthesized, asked: Analyses, progress: Progress
) -> tuple[tuple[EnvironmentReview, ...], tuple[str, ...]]:
    pairs = {name: (assemblies.base.get(name), assemblies.head.get(name)) for name in names}
    progress("Comparing, and checking rules")
    with ThreadPoolExecutor(1) as pool:
        # In processes of their own, so the rest goes on meanwhile.
        checking = pool.submit(asked.check, [side for pair in pairs.values() for side in pair])
        compared = {name: _compared(*pair, asked) for name, pair in pairs.items()}
        progress("Checking rules")
        checked = checking.result()
    old, new = checked[::2], checked[1::2]
    reviews = tuple(
        _review(name, *pairs[name], compared[name], asked.compare(old[place], new[place]))
        for place, name in enumerate(names)
    )
    return reviews, asked.unneeded(old, new)


@dataclass(frozen=True)
class _Compared:
    changes: tuple[ResourceChange, ...]
    permissions: tuple[PermissionChange, ...]
    cost_before: CostEstimate
    cost_after: CostEstimate
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]


def _compared(before: Assembly | None, after: Assembly | None, asked: Analyses) -> _Compared:
    cost_before = asked.cost(before)
    if after is None:
        # Its stacks stay: nothing is deleted, and nothing is allowed or paid differently.
        return _Compared((), (), cost_before, cost_before, (), asked.notes(before, after))
    changes = asked.changes(before, after)
    return _Compared(
        changes,
        asked.permissions(before, after),
        cost_before,
        _with_what_stays(asked, before, after),
        asked.pictures(before, after, changes),
        asked.notes(before, after),
    )


def _with_what_stays(asked: Analyses, before: Assembly | None, after: Assembly) -> CostEstimate:
    """What is paid after the deployment: a stack that left the app, or moved to another place, is there until it is deleted."""
    cost = asked.cost(after)
    here = {(stack.name, stack.account, stack.region) for stack in after.stacks.values()}
    stay = {
        stack.name: stack
        for stack in (before.stacks.values() if before else ())
        if (stack.name, stack.account, stack.region) not in here
    }
    if not stay:
        return cost
    lines = asked.cost(Assembly(after.environment, stay)).lines
    return replace(cost, lines=(*cost.lines, *(replace(line, how=f"{line.how}; {_STAYS}") for line in lines)))


_STAYS = "it stays and is paid for until its stack is deleted"


def _review(
    name: str,
    before: Assembly | None,
    after: Assembly | None,
    compared: _Compared,
    findings: tuple[RuleFinding, ...],
) -> EnvironmentReview:
    from sagestack.review.changes.endpoint_notes import several_at_once

    assembly = after or before
    assert assembly is not None  # a name is of a side at least
    stack = next(iter(assembly.stacks.values()), None)
    return EnvironmentReview(
        environment=name,
        account=stack.account if stack else "",
        region=stack.region if stack else "",
        changes=compared.changes,
        permissions=compared.permissions,
        cost_before=compared.cost_before,
        cost_after=compared.cost_after,
        # Rules that an environment breaks no more because it left the app are not mended.
        findings=findings if after is not None else (),
        pictures=compared.pictures,
        notes=(*several_at_once(before, after, compared.changes), *_bootstrap_notes(name, compared), *compared.notes),
        is_new=before is None,
        is_gone=after is None,
    )


def _bootstrap_notes(name: str, compared: _Compared) -> Iterator[str]:
    stack = EnvironmentNames(name).bootstrap_stack
    if any(change.resource.stack == stack for change in compared.changes):
        yield (
            f"Stack {stack} says who may deploy {name}, and no deployment changes it: an administrator does, with `sagestack"
            f" bootstrap --env {name}`."
        )


def _library_notes(before: OpenSide, after: OpenSide) -> list[str]:
    """Both sides are synthesized with what is installed, so a change of the CDK's version shows nothing of what it does."""
    if before.files is None or after.files is None or before.files.missing:
        return []
    old, new = (_pinned(side.files.folder) for side in (before, after) if side.files)
    changed = [
        f"{name} {old.get(name, 'none')} to {new.get(name, 'none')}"
        for name in ("aws-cdk-lib", "constructs")
        if old.get(name) != new.get(name)
    ]
    if not changed:
        return []
    return [
        f"The change moves {', '.join(changed)}. Both sides were synthesized with the one that is installed, so what the other"
        " version would write differently is not in this review. To see it, synthesize the base in a clone of its own, and"
        " give that folder as --base."
    ]


def _pinned(folder: Path) -> Mapping[str, str]:
    file = folder / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    pairs = (line.split("#")[0].partition("==") for line in lines)
    return {name.strip(): version.split(";")[0].strip() for name, sign, version in pairs if sign}


def _real_analyses(root: Path, findings: Path) -> Analyses:
    # Imported when they are needed: a base that cannot be had should say so before seconds of imports.
    from sagestack.review.changes import change_notes, resource_changes
    from sagestack.review.costs import estimate, expected_load
    from sagestack.review.permissions import permission_changes
    from sagestack.review.pictures import pictures
    from sagestack.review.prices import PriceTableError, load_prices
    from sagestack.review.rules import CheckFailed, check, compare, no_longer_needed

    def checked(assemblies: Sequence[Assembly | None]) -> Sequence[Any]:
        try:
            return check(assemblies, cache=findings)
        except CheckFailed as error:
            raise CliError(
                f"The rules could not be checked: {error}", hint="`make setup` installs what they need.", code="set-up"
            ) from error

    try:
        prices = load_prices()
    except PriceTableError as error:
        raise CliError(str(error), hint="`sagestack prices refresh` writes it anew.", code="settings") from error
    return Analyses(
        changes=resource_changes,
        permissions=permission_changes,
        cost=lambda side: estimate(side, prices, expected_load(root, side.environment) if side else None),
        price_date=prices.date,
        price_source=prices.source,
        notes=change_notes,
        check=checked,
        compare=compare,
        unneeded=no_longer_needed,
        pictures=pictures,
    )
