"""What does not go together in the settings of one endpoint, in words, each by its key below `endpoint`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sagestack.settings.errors import dotted
from sagestack.settings.hosting import (
    Asynchronous,
    Autoscaling,
    Hosting,
    InferenceComponents,
    RealTime,
    Serverless,
    Shadow,
    Variant,
)
from sagestack.settings.scaling_checks import scaling_problems
from sagestack.settings.update_checks import update_problems

Problem = tuple[tuple[str | int, ...], str]


def check_hosting(hosting: Hosting) -> None:
    """Refuses what `hosting_problems` finds.

    Raises:
        ValueError: with one line for each problem.
    """
    if problems := hosting_problems(hosting):
        raise ValueError("\n".join(f"{dotted(path)}: {text}" for path, text in problems))


def hosting_problems(hosting: Hosting) -> list[Problem]:
    """Everything that does not go together, its update and its autoscaling included."""
    found = [*_of_kind(hosting), *_burstable(hosting)]
    for problem in (*scaling_problems(hosting), *update_problems(hosting)):
        key, _, text = problem.partition(": ")
        found.append((_path(key), text))
    return found


def _path(key: str) -> tuple[str | int, ...]:
    """`autoscaling.schedule[0].at`, as the steps to it."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", key))


def _of_kind(hosting: Hosting) -> Iterator[Problem]:
    match hosting:
        case RealTime():
            yield from _start_within_bounds(hosting)
            yield from _weights(hosting)
            yield from _others(hosting)
        case Serverless():
            yield from _concurrency(hosting)
        case Asynchronous():
            yield from _start_within_bounds(hosting)
        case InferenceComponents():
            yield from _components(hosting)


def _concurrency(hosting: Serverless) -> Iterator[Problem]:
    provisioned, most = hosting.provisioned_concurrency, hosting.max_concurrency
    if provisioned is not None and provisioned > most:
        yield (
            ("provisioned_concurrency",),
            f"{provisioned} is more than max_concurrency ({most}), which counts the provisioned ones, too",
        )


def _components(hosting: InferenceComponents) -> Iterator[Problem]:
    if hosting.max_instance_count < hosting.initial_instance_count:
        yield (
            ("max_instance_count",),
            f"{hosting.max_instance_count} is less than initial_instance_count ({hosting.initial_instance_count})",
        )
    scaled = hosting.autoscaling
    if scaled and _is_outside(hosting.copies, scaled):
        yield (
            ("copies",),
            f"{hosting.copies} is not within the autoscaling ({scaled.least} to {scaled.most}): it would scale at once",
        )


def _burstable(hosting: Hosting) -> Iterator[Problem]:
    if isinstance(hosting, Serverless) or hosting.autoscaling is None:
        return
    if hosting.instance_type.startswith("ml.t2."):
        # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-policy.html
        yield (
            ("instance_type",),
            f"{hosting.instance_type!r} cannot be scaled: SageMaker scales no burstable instances; take another"
            " family, like ml.m5, or leave autoscaling out",
        )


def _start_within_bounds(hosting: RealTime | Asynchronous) -> Iterator[Problem]:
    scaled = hosting.autoscaling
    if scaled and _is_outside(hosting.initial_instance_count, scaled):
        yield (
            ("initial_instance_count",),
            f"{hosting.initial_instance_count} is not within the autoscaling ({scaled.least} to {scaled.most}):"
            " it would scale at once",
        )


def _is_outside(count: int, scaled: Autoscaling) -> bool:
    """Whether it would scale at once; bounds that are the wrong way round are a problem of their own, and nothing is within."""
    return scaled.least <= scaled.most and not scaled.least <= count <= scaled.most


def _weights(hosting: RealTime) -> Iterator[Problem]:
    if hosting.weight == 0 and not hosting.variants:
        yield ("weight",), "0, and there are no variants: nobody would answer; leave weight out"
    elif hosting.weight + sum(variant.weight for variant in hosting.variants.values()) == 0:
        yield (
            ("weight",),
            f"0, as are those of {', '.join(hosting.variants)}: nobody would answer; give one at least a weight",
        )


def _others(hosting: RealTime) -> Iterator[Problem]:
    """Versions beside the served one: on instances that run the same kind of image, and take the same key."""
    for key in ("variants", "shadow"):
        if hosting.serves_archives and getattr(hosting, key):
            yield (key,), "does not go with serves_archives: what is served has no versions to compare; leave one out"
    if hosting.shadow and hosting.variants:
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html (ShadowProductionVariants)
        yield (
            ("shadow",),
            f"does not go with variants ({', '.join(hosting.variants)}): SageMaker copies the traffic of one variant"
            " to one shadow; take one of the two away",
        )
    others: list[tuple[tuple[str, ...], Variant | Shadow]] = [
        (("variants", name), variant) for name, variant in hosting.variants.items()
    ]
    if hosting.shadow:
        others.append((("shadow",), hosting.shadow))
    for path, other in others:
        if other.architecture != hosting.architecture:
            yield (
                (*path, "instance_type"),
                f"{other.instance_type!r} has {other.architecture} processors and {hosting.instance_type!r}"
                f" {hosting.architecture}: the versions of a model have one image, built for the endpoint's",
            )
        if other.takes_volume_key != hosting.takes_volume_key:
            yield (
                (*path, "instance_type"),
                f"{other.instance_type!r} and {hosting.instance_type!r} cannot share an endpoint: one of them has disks"
                " of its own, for which SageMaker takes no key, and the other's would go unencrypted by the"
                " environment's key; take two with such disks, or two without",
            )
