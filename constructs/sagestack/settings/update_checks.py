"""Which updates SageMaker would not guard, in words, each by its key below `endpoint`.

SageMaker itself often refuses nothing: where its guardrails do not apply it shifts all traffic at once, watches no alarm,
and reports success. What is excluded:
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from sagestack.settings.errors import dotted
from sagestack.settings.hosting import Asynchronous, Hosting, InferenceComponents, RealTime, Serverless
from sagestack.settings.updates import AllAtOnce, Canary, Linear, Rolling, Update

Problem = tuple[tuple[str, ...], str]
Updated = RealTime | Asynchronous | InferenceComponents

MAIN_VARIANT = "AllTraffic"
"""The variant of the served version. A name that never changes: metrics, alarms and scaling targets are bound to it."""
SHADOW_VARIANT = "Shadow"

LEAST_BAKE_IN_SECONDS = 180
"""What the slowest roll-back alarm needs: two full minutes over its limit, and one until the metrics are there.

SageMaker publishes them once a minute: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""


def chosen_update(hosting: Hosting) -> Update | None:
    """The update that the settings say, or the safe one where they say none.

    That is a canary where two instances or more are certain, else all at once, watched: a canary of one instance is all
    of it. A serverless endpoint has none: SageMaker guards real-time and asynchronous endpoints alone. An inference
    component rolls by half its copies, or, with one copy, is just replaced: a batch is half of them at most.
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
    """
    if isinstance(hosting, Serverless):
        return None
    if hosting.update is not None:
        return hosting.update
    two_at_least = least_fleet(hosting) >= 2
    if isinstance(hosting, InferenceComponents):
        return Rolling(kind="rolling", batch_percent=50) if two_at_least else None
    return Canary(kind="canary") if two_at_least else AllAtOnce(kind="all-at-once")


def least_fleet(hosting: Updated) -> int:
    """The fewest instances (copies) that an update can find, counting what autoscaling may have taken away."""
    if hosting.autoscaling is not None:
        return hosting.autoscaling.least
    return hosting.copies if isinstance(hosting, InferenceComponents) else hosting.initial_instance_count


def waits_in_seconds(update: Update) -> int:
    """How long an update without trouble waits, besides the time that instances need to start.

    There is a bake at every stage: after the canary and after the rest, after each linear step, after each batch.
    """
    match update:
        case Canary():
            return 2 * update.bake_in_seconds + update.termination_wait_in_seconds
        case Linear():
            return math.ceil(100 / update.step_percent) * update.bake_in_seconds + update.termination_wait_in_seconds
        case AllAtOnce():
            return update.bake_in_seconds + update.termination_wait_in_seconds
        case Rolling():
            return math.ceil(100 / update.batch_percent) * update.bake_in_seconds


def is_unguarded(instance_type: str) -> bool:
    """Whether deployment guardrails do not apply: the first generation of Inferentia."""
    return instance_type.startswith("ml.inf1.")


def update_problems(hosting: Hosting) -> list[str]:
    """What keeps updates from being guarded as the settings ask."""
    if isinstance(hosting, Serverless):
        return []
    return [f"{dotted(path)}: {text}" for path, text in _problems(hosting)]


def _problems(hosting: Updated) -> Iterator[Problem]:
    if isinstance(hosting, RealTime):
        yield from _names(hosting)
    update = chosen_update(hosting)
    if update is None:
        return
    yield from _guarded_at_all(hosting, update)
    yield from _watched(update)
    if not isinstance(update, AllAtOnce):
        yield from _large_enough(hosting, update)
        yield from _noticed(hosting, update)
    if isinstance(update, Rolling) and isinstance(hosting, RealTime):
        yield from _alone(hosting)


def _first_part(update: Canary | Linear | Rolling) -> tuple[str, int]:
    """The key and the percentage of what moves first."""
    match update:
        case Canary():
            return "canary_percent", update.canary_percent
        case Linear():
            return "step_percent", update.step_percent
        case Rolling():
            return "batch_percent", update.batch_percent


def _names(hosting: RealTime) -> Iterator[Problem]:
    for name, owner in ((MAIN_VARIANT, "the served version's"), (SHADOW_VARIANT, "the shadow's")):
        if name.lower() in {other.lower() for other in hosting.variants}:
            yield (
                ("variants", name),
                f"is {owner} name, which must stay: SageMaker guards an update only between configs with the same variant"
                " names; choose another",
            )


def _guarded_at_all(hosting: Updated, update: Update) -> Iterator[Problem]:
    types: dict[tuple[str, ...], str] = {("instance_type",): hosting.instance_type}
    if isinstance(hosting, RealTime):
        types |= {("variants", name, "instance_type"): each.instance_type for name, each in hosting.variants.items()}
    for path, instance_type in types.items():
        if is_unguarded(instance_type) and not _is_unwatched_by_choice(update):
            yield (
                path,
                f"{instance_type!r} gets no guarded updates: SageMaker moves all traffic at once and watches no alarm; take"
                " another family, like ml.inf2, or say that you know it: update: {kind: all-at-once, bake_in_seconds: 0}",
            )


def _is_unwatched_by_choice(update: Update) -> bool:
    return isinstance(update, AllAtOnce) and update.bake_in_seconds == 0


def _watched(update: Update) -> Iterator[Problem]:
    bake = update.bake_in_seconds
    if bake < LEAST_BAKE_IN_SECONDS and not _is_unwatched_by_choice(update):
        or_not = ", or 0 to watch nothing" if isinstance(update, AllAtOnce) else ""
        yield (
            ("update", "bake_in_seconds"),
            f"{bake} is over before the roll-back alarms can see anything: they look at whole minutes, two of them; write"
            f" {LEAST_BAKE_IN_SECONDS} at least{or_not}",
        )
    waits, limit = waits_in_seconds(update), update.maximum_execution_in_seconds
    if waits >= limit:
        yield (
            ("update", "maximum_execution_in_seconds"),
            f"{limit} is over before the update is: it waits {waits} seconds in all, with bake_in_seconds at every stage"
            f"{'' if isinstance(update, Rolling) else ' and termination_wait_in_seconds'}, and instances must start"
            " besides; raise it, up to 28800, or bake for less or at fewer stages",
        )


def _large_enough(hosting: Updated, update: Canary | Linear | Rolling) -> Iterator[Problem]:
    least = least_fleet(hosting)
    if least >= 2:
        return
    key, percent = _first_part(update)
    by_copies = isinstance(hosting, InferenceComponents)
    count_key = "copies" if by_copies else "initial_instance_count"
    where = "autoscaling.min_capacity" if hosting.autoscaling else count_key
    yield (
        ("update", key),
        f"{percent} percent of a fleet that may be as small as {least} ({where}): the first part is half of it at most,"
        f" so it takes 2 {'copies' if by_copies else 'instances'}; raise {where} to 2, or"
        f" {'leave update out' if by_copies else 'write kind: all-at-once'}",
    )


def _noticed(hosting: Updated, update: Canary | Linear | Rolling) -> Iterator[Problem]:
    """The metrics of a variant are those of the old and the new fleet together, so a small part must still show."""
    key, percent = _first_part(update)
    limit = hosting.rollback.error_percent
    if limit >= percent:
        yield (
            ("rollback", "error_percent"),
            f"{limit:g} would let a version through that fails on every request: at first it gets {percent} percent of them"
            f" (update.{key}), and the old fleet answers the rest; write less than {percent}",
        )
    if percent <= 1:
        yield (
            ("update", key),
            f"{percent} percent of the requests do not show in the 99th percentile of all, which the latency alarm looks"
            " at; write 2 at least",
        )


def _alone(hosting: RealTime) -> Iterator[Problem]:
    others = [*hosting.variants, *([SHADOW_VARIANT] if hosting.shadow else [])]
    if others:
        yield (
            ("update", "kind"),
            f"'rolling' is for endpoints with one variant, and this one has {len(others) + 1}"
            f" ({', '.join([MAIN_VARIANT, *others])}); write canary, linear or all-at-once, or take the others away",
        )
