"""The disks of a pipeline's jobs are encrypted with a key that somebody can take away."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own import pipelines
from sagestack.review.rules.own.instances import some_take_a_key
from sagestack.review.rules.own.rule import Around, Rule


def _broken(pipeline: Resource, around: Around) -> Iterator[str]:
    for job in pipelines.jobs(pipeline):
        groups = job.cluster.get("InstanceGroups") or [job.cluster]
        instance_types = [job.value(group.get("InstanceType")) for group in groups]
        if some_take_a_key(instance_types) and not job.cluster.get("VolumeKmsKeyId"):
            yield f"The {job.type.lower()} step {job.name!r} has no VolumeKmsKeyId: its data lies on disks without your key."


RULE = Rule(
    name="SAGESTACK-JobVolumeKey",
    promise="The volumes of training, tuning, processing and transform steps are encrypted with a key of yours, unless the"
    " instance brings NVMe disks, which take none.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/encryption-at-rest.html",
    types=frozenset({pipelines.TYPE}),
    broken=_broken,
)
