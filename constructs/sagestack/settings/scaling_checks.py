"""Which autoscaling could not work, in words, each by its key below `endpoint`."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.settings.hosting import Asynchronous, Autoscaling, Hosting, InferenceComponents, RealTime, Serverless

TARGETS = (
    "invocations_per_instance",
    "model_latency_ms",
    "cpu_percent",
    "backlog_per_instance",
    "provisioned_concurrency_utilization",
)

# What SageMaker publishes for each kind, so what can be kept even:
# https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
# https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
# https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-autoscale.html
_TRACKABLE = {
    RealTime: ("invocations_per_instance", "model_latency_ms", "cpu_percent"),
    Asynchronous: ("backlog_per_instance", "model_latency_ms", "cpu_percent"),
    Serverless: ("provisioned_concurrency_utilization",),
    InferenceComponents: ("invocations_per_instance", "model_latency_ms", "cpu_percent"),
}


def scaling_problems(hosting: Hosting) -> list[str]:
    """What keeps the autoscaling from working; nothing where there is none."""
    scaling = hosting.autoscaling
    if scaling is None:
        return []
    return [
        *_bounds(scaling),
        *_targets(hosting, scaling),
        *_from_zero(hosting, scaling),
        *_provisioned(hosting, scaling),
    ]


def _bounds(scaling: Autoscaling) -> Iterator[str]:
    bounds = [("", scaling.min_capacity, scaling.max_capacity)]
    bounds += [(f".schedule[{n}]", at.min_capacity, at.max_capacity) for n, at in enumerate(scaling.schedule)]
    for where, least, most in bounds:
        if least > most:
            yield (
                f"autoscaling{where}.min_capacity: {least} is more than max_capacity, {most}; swap them, or raise the maximum"
            )


def _targets(hosting: Hosting, scaling: Autoscaling) -> Iterator[str]:
    trackable = _TRACKABLE[type(hosting)]
    chosen = [target for target in TARGETS if getattr(scaling, target) is not None]
    for target in chosen:
        if target not in trackable:
            yield (
                f"autoscaling.{target}: SageMaker measures no such thing for kind: {hosting.kind}"
                f" (allowed: {', '.join(trackable)}, schedule)"
            )
    if not chosen and not scaling.schedule:
        yield (f"autoscaling: nothing says when to scale (allowed: at least one of {', '.join(trackable)}, schedule)")


def _from_zero(hosting: Hosting, scaling: Autoscaling) -> Iterator[str]:
    bounds = [
        ("", scaling.min_capacity),
        *((f".schedule[{n}]", at.min_capacity) for n, at in enumerate(scaling.schedule)),
    ]
    for where in [where for where, least in bounds if least == 0]:
        if isinstance(hosting, RealTime | Serverless):
            yield (
                f"autoscaling{where}.min_capacity: 0 does not fit kind: {hosting.kind}; only asynchronous endpoints and"
                " inference components scale to zero; write 1 at least"
            )
        elif isinstance(hosting, Asynchronous) and scaling.backlog_per_instance is None:
            yield (
                f"autoscaling{where}.min_capacity: 0 without backlog_per_instance: nothing else says that the queue is empty;"
                " set backlog_per_instance, or write 1 at least"
            )


def _provisioned(hosting: Hosting, scaling: Autoscaling) -> Iterator[str]:
    if not isinstance(hosting, Serverless):
        return
    if hosting.provisioned_concurrency is None:
        yield (
            "autoscaling: scales the provisioned concurrency, and there is none; set provisioned_concurrency, or leave"
            " autoscaling out, since concurrency on demand scales by itself"
        )
    if scaling.most > hosting.max_concurrency:
        yield (
            f"autoscaling.max_capacity: {scaling.most} is more than max_concurrency, {hosting.max_concurrency}, which counts"
            " the provisioned ones, too"
        )
