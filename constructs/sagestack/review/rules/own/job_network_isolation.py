"""A job cannot send the data it was given anywhere."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own import pipelines
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import UNKNOWN


def _broken(pipeline: Resource, around: Around) -> Iterator[str]:
    for job in pipelines.jobs(pipeline):
        if job.type == "Transform":
            # The model that it runs says whether it is isolated.
            continue
        network = job.request.get("NetworkConfig", {}) if job.type == "Processing" else job.request
        isolated = job.value(network.get("EnableNetworkIsolation", False))
        if isolated not in (True, UNKNOWN) and not network.get("VpcConfig"):
            yield f"The {job.type.lower()} step {job.name!r} reaches the internet: no EnableNetworkIsolation, no VpcConfig."


RULE = Rule(
    name="SAGESTACK-JobNetworkIsolation",
    promise="A training, tuning or processing step has no network, or one of yours.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
    types=frozenset({pipelines.TYPE}),
    broken=_broken,
)
