"""The instances of one variant: how many idle, and how many hours more the load needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.costs.capacity import COPY_COUNT, INSTANCE_COUNT, Scaling, names_of, scaling_of, vcpus
from sagestack.review.costs.site import HOURS_PER_MONTH, Site, amount

COMPONENT = "AWS::SageMaker::InferenceComponent"


@dataclass(frozen=True)
class Fleet:
    """The instances of one variant.

    Attributes:
        label: `real-time`, `asynchronous`, `real-time, shadow`.
        idle: how many there are with no request.
        extra_hours: instance hours that the load adds in a month.
        why: of the extra hours, in words.
        notes: what a reader should know of the idle number.
    """

    instance_type: str
    label: str
    keys: tuple[str, ...]
    idle: int
    extra_hours: float
    why: str
    notes: str


def fleet_of(
    site: Site,
    endpoint: Resource,
    config: Resource,
    variant: Mapping[str, Any],
    share: float,
    *,
    is_async: bool,
    is_shadow: bool,
) -> Fleet | None:
    """The instances of a variant that has some; None where only the deployment knows how many.

    Args:
        endpoint: whose variant it is.
        config: of the endpoint.
        variant: one of the config's, with an instance type in plain text.
        share: of the requests.
        is_async: whether requests wait in a queue.
        is_shadow: whether it gets copies of requests.
    """
    instance_type = str(variant["InstanceType"])
    initial = site.reading.number(variant.get("InitialInstanceCount"))
    ids = {f"endpoint/{each}/variant/{variant.get('VariantName')}" for each in names_of(site, endpoint)}
    scaling = scaling_of(site, ids, INSTANCE_COUNT)
    if "ManagedInstanceScaling" in variant:
        return _managed(site, endpoint, variant, instance_type, initial)
    if is_async:
        return _asynchronous(site, config, instance_type, initial, scaling, share)
    return _real_time(site, instance_type, initial, scaling, share, is_shadow=is_shadow)


def number(value: Any, default: float) -> float:
    """The number that a value is, or the default."""
    try:
        return default if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return default


def _real_time(
    site: Site, instance_type: str, initial: float | None, scaling: Scaling | None, share: float, *, is_shadow: bool
) -> Fleet | None:
    idle = scaling.least if scaling and scaling.least is not None else None if initial is None else int(initial)
    if idle is None:
        return None
    rate = site.model_load.requests_per_second * share
    needed = scaling.needed(rate, idle) if scaling else idle
    why = ""
    if scaling and needed > idle:
        why = (
            f"{amount(rate)} requests a second need {needed} at {amount(scaling.requests_per_minute or 0)} a minute"
            f" each, ({needed} - {idle}) x {HOURS_PER_MONTH} h"
        )
    return Fleet(
        instance_type,
        "real-time, shadow" if is_shadow else "real-time",
        (f"sagemaker.hosting.{instance_type}",),
        idle,
        float((needed - idle) * HOURS_PER_MONTH),
        why,
        _bounds(scaling),
    )


def _asynchronous(
    site: Site, config: Resource, instance_type: str, initial: float | None, scaling: Scaling | None, share: float
) -> Fleet | None:
    idle = scaling.least if scaling and scaling.least is not None else None if initial is None else int(initial)
    if idle is None:
        return None
    load = site.model_load
    client = site.reading.get(config, "AsyncInferenceConfig", "ClientConfig") or {}
    at_once = number(client.get("MaxConcurrentInvocationsPerInstance"), 4.0)
    busy = load.requests * share * load.request_seconds / 3600 / at_once
    hours, why = 0.0, ""
    if scaling and load.requests * share:
        stays = scaling.scale_in_cooldown
        # Each request wakes an instance, which then waits for the next; more of them overlap, up to all month.
        awake = min(float(HOURS_PER_MONTH), load.requests * share * (load.request_seconds + stays) / 3600)
        needed = max(1, math.ceil(busy / HOURS_PER_MONTH))
        needed = min(needed, scaling.most) if scaling.most else needed
        hours = max(0.0, awake * needed - idle * HOURS_PER_MONTH) if needed > idle else 0.0
        why = (
            f"{amount(load.requests * share)} requests a month of {load.request_seconds:g} s, {amount(at_once)} at a time,"
            f" need {needed}, awake {amount(awake)} h ({amount(stays)} s after the last request)"
        )
    return Fleet(
        instance_type,
        "asynchronous",
        (f"sagemaker.asynchronous.{instance_type}", f"sagemaker.hosting.{instance_type}"),
        idle,
        hours,
        why,
        _bounds(scaling),
    )


def _managed(
    site: Site, resource: Resource, variant: Mapping[str, Any], instance_type: str, initial: float | None
) -> Fleet | None:
    """Instances that SageMaker adds and takes away for the copies of inference components, counted by their CPU."""
    bounds = variant["ManagedInstanceScaling"]
    is_on = isinstance(bounds, Mapping) and bounds.get("Status", "ENABLED") == "ENABLED"
    least = site.reading.number(bounds.get("MinInstanceCount")) if is_on else initial
    most = site.reading.number(bounds.get("MaxInstanceCount")) if is_on else initial
    if least is None:
        least = initial
    if least is None:
        return None
    cpus_idle = cpus_loaded = 0.0
    copies_idle = copies_loaded = 0
    for component in _components(site, resource):
        idle, loaded = _copies(site, component)
        need = site.reading.get(component, "Specification", "ComputeResourceRequirements", "NumberOfCpuCoresRequired")
        cpus_idle += idle * number(need, 0.0)
        cpus_loaded += loaded * number(need, 0.0)
        copies_idle, copies_loaded = copies_idle + idle, copies_loaded + loaded
    per_instance = vcpus(instance_type) or math.inf

    def hosts(copies: int, cpus: float) -> int:
        wanted = max(int(least), math.ceil(cpus / per_instance), 1 if copies else 0)
        return min(wanted, int(most)) if most is not None else wanted

    idle, loaded = hosts(copies_idle, cpus_idle), hosts(copies_loaded, cpus_loaded)
    return Fleet(
        instance_type,
        "real-time, shared by inference components",
        (f"sagemaker.hosting.{instance_type}",),
        idle,
        float(max(0, loaded - idle) * HOURS_PER_MONTH),
        f"{copies_loaded} copies need {loaded} by their CPU, ({loaded} - {idle}) x {HOURS_PER_MONTH} h",
        f"; {copies_idle} copies by their CPU, within {amount(least)} to {'?' if most is None else amount(most)} instances",
    )


def _components(site: Site, resource: Resource) -> Iterator[Resource]:
    names = names_of(site, resource)
    for component in site.of_type(COMPONENT):
        if site.reading.text(component.properties.get("EndpointName")) in names and site.reading.exists(component):
            yield component


def _copies(site: Site, component: Resource) -> tuple[int, int]:
    given = int(number(site.reading.get(component, "RuntimeConfig", "CopyCount"), 1.0))
    ids = {f"inference-component/{name}" for name in names_of(site, component)}
    scaling = scaling_of(site, ids, COPY_COUNT)
    if scaling is None:
        return given, given
    idle = given if scaling.least is None else scaling.least
    rate = site.model_load.requests_per_second
    return idle, scaling.needed(rate, max(idle, 1 if rate else 0))


def _bounds(scaling: Scaling | None) -> str:
    if scaling is None:
        return ""
    most = "?" if scaling.most is None else scaling.most
    schedule = "; scheduled actions set other bounds at times, which are not counted" if scaling.has_schedule else ""
    return f"; the least of {scaling.least} to {most} that autoscaling keeps{schedule}"
