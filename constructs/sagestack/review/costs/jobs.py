"""What the runs of a pipeline cost, from the definition that stands in the template."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.costs.site import HOURS_PER_MONTH, Site, amount
from sagestack.review.results import CostLine
from sagestack.settings.instance_types import takes_volume_key

DEFAULT_RUNTIME = 86400
"""Seconds. What SageMaker lets a job run that says nothing: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html"""
FREE = frozenset({"Condition", "Fail", "Model", "RegisterModel", "Callback", "Lambda", "Cache"})
"""Steps that start nothing that is paid by the hour; a function is counted where it is defined."""


@dataclass(frozen=True)
class _Job:
    """What one step starts."""

    use: str
    instance_type: str | None
    count: float | None
    volume_gb: float | None
    seconds: float | None
    times: float = 1.0
    is_spot: bool = False


def pipeline(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Lines of `AWS::SageMaker::Pipeline`: one for each step with instances, at the runs of the load."""
    runs = site.model_load.training_runs
    definition = site.reading.get(resource, "PipelineDefinition")
    body = definition.get("PipelineDefinitionBody") if isinstance(definition, Mapping) else None
    document = site.reading.document(body)
    if document is None:
        yield site.unknown(resource, "runs of the pipeline", "load", "its definition is not in the template")
        return
    if not runs:
        return
    kept: dict[str, float] = {}
    defaults = {each["Name"]: each.get("DefaultValue") for each in document.get("Parameters", [])}
    for step in _steps(document.get("Steps", [])):
        name, kind = step.get("Name", "?"), step.get("Type")
        if kind in FREE:
            continue
        job = _job(kind, step.get("Arguments", {}), defaults)
        if job is None:
            yield site.unknown(resource, f"step {name}", "load", f"what a step of type {kind} costs is not known here")
            continue
        yield from _step(site, resource, name, job, runs)
        if job.volume_gb and job.instance_type and takes_volume_key(job.instance_type):
            hours = runs * job.times * (job.count or 0) * min(_minutes(site, job)) / 60
            kept[job.use] = kept.get(job.use, 0.0) + job.volume_gb * hours / HOURS_PER_MONTH
    for use, gb_months in kept.items():
        yield site.line(
            resource,
            f"storage volumes of {use} jobs",
            "load",
            f"sagemaker.{use}.storage",
            quantity=gb_months,
            how=f"{amount(gb_months)} GB-months, each volume as long as its job, x {{price}}",
        )


def _minutes(site: Site, job: _Job) -> list[float]:
    """How long the job may take, and how long the load says, where it does."""
    stated = site.model_load.job_minutes
    return [(job.seconds or 0) / 60, *([stated] if stated is not None else [])]


def _step(site: Site, resource: Resource, name: str, job: _Job, runs: float) -> Iterator[CostLine]:
    if job.instance_type is None or job.count is None or job.seconds is None:
        yield site.unknown(resource, f"step {name}", "load", "only a run knows on what and how long it runs")
        return
    bounds = _minutes(site, job)
    minutes = min(bounds)
    bound = (
        "as long as the load says" if len(bounds) > 1 else f"an upper bound: it may run {minutes:g} min and no longer"
    )
    hours = runs * job.times * job.count * minutes / 60
    several = f" x up to {job.times:g} jobs" if job.times != 1 else ""
    spot = "; on spot capacity it is cheaper" if job.is_spot else ""
    yield site.line(
        resource,
        f"step {name}: {amount(job.count)} x {job.instance_type}, {job.use}",
        "load",
        f"sagemaker.{job.use}.{job.instance_type}",
        quantity=hours,
        how=f"{runs:g} runs{several} x {amount(job.count)} x {{price}} x {minutes / 60:g} h, {bound}{spot}",
    )


def _steps(steps: Any) -> Iterator[Mapping[str, Any]]:
    """All steps, those of both branches of a condition too: a run takes one of them, so the sum is an upper bound."""
    for step in steps if isinstance(steps, list) else []:
        if isinstance(step, Mapping):
            yield step
            if step.get("Type") == "Condition":
                arguments = step.get("Arguments", {})
                yield from _steps(arguments.get("IfSteps"))
                yield from _steps(arguments.get("ElseSteps"))


def _job(kind: Any, arguments: Any, defaults: Mapping[str, Any]) -> _Job | None:
    def get(*path: str) -> Any:
        value = arguments
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        return _plain(value, defaults)

    match kind:
        case "Processing":
            cluster = ("ProcessingResources", "ClusterConfig")
            return _Job(
                "processing",
                _text(get(*cluster, "InstanceType")),
                _number(get(*cluster, "InstanceCount")),
                _number(get(*cluster, "VolumeSizeInGB")),
                _number(get("StoppingCondition", "MaxRuntimeInSeconds"), DEFAULT_RUNTIME),
            )
        case "Training":
            return _training(get)
        case "Tuning":
            jobs = _number(get("HyperParameterTuningJobConfig", "ResourceLimits", "MaxNumberOfTrainingJobs"))
            job = _training(lambda *path: get("TrainingJobDefinition", *path))
            return None if jobs is None else _Job(**{**job.__dict__, "times": jobs})
        case "Transform":
            # A batch transform has no limit of its own that the step states.
            resources = "TransformResources"
            count = _number(get(resources, "InstanceCount"))
            return _Job("transform", _text(get(resources, "InstanceType")), count, None, DEFAULT_RUNTIME)
    return None


def _training(get: Any) -> _Job:
    return _Job(
        "training",
        _text(get("ResourceConfig", "InstanceType")),
        _number(get("ResourceConfig", "InstanceCount")),
        _number(get("ResourceConfig", "VolumeSizeInGB")),
        _number(get("StoppingCondition", "MaxRuntimeInSeconds"), DEFAULT_RUNTIME),
        is_spot=str(get("EnableManagedSpotTraining")).lower() == "true",
    )


def _plain(value: Any, defaults: Mapping[str, Any]) -> Any:
    """The default of a pipeline parameter, where that is what a value is taken from."""
    if isinstance(value, Mapping) and isinstance(value.get("Get"), str):
        match = re.fullmatch(r"Parameters\.(\w+)", value["Get"])
        return defaults.get(match[1]) if match else None
    return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and "${" not in value else None


def _number(value: Any, default: float | None = None) -> float | None:
    if value is None:
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
