"""What the hosts of one job tell each other cannot be read on the way."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own import pipelines
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import UNKNOWN


def _hosts(job: pipelines.Job) -> int:
    """How many certainly take part."""
    groups = job.cluster.get("InstanceGroups") or [job.cluster]
    counts = [job.value(group.get("InstanceCount", 1)) for group in groups]
    return sum(count for count in counts if isinstance(count, int))


def _broken(pipeline: Resource, around: Around) -> Iterator[str]:
    for job in pipelines.jobs(pipeline):
        # The hosts of a transform job do not talk to each other.
        if job.type == "Transform" or _hosts(job) < 2:
            continue
        network = job.request.get("NetworkConfig", {}) if job.type == "Processing" else job.request
        if job.value(network.get("EnableInterContainerTrafficEncryption", False)) not in (True, UNKNOWN):
            yield (
                f"The {job.type.lower()} step {job.name!r} runs on {_hosts(job)} hosts without"
                " EnableInterContainerTrafficEncryption: they exchange data in the clear."
            )


RULE = Rule(
    name="SAGESTACK-JobTrafficEncryption",
    promise="The hosts of a distributed job talk to each other encrypted.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html",
    types=frozenset({pipelines.TYPE}),
    broken=_broken,
)
