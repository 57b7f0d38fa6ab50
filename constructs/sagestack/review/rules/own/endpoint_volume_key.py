"""The disks of an endpoint's instances are encrypted with a key that somebody can take away."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.instances import some_take_a_key
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import may_be_missing, part
from sagestack.review.rules.own.variants import CONFIG, is_serverless, variants_of


def _broken(config: Resource, around: Around) -> Iterator[str]:
    instance_types = [part(variant, "InstanceType") for variant in variants_of(config) if not is_serverless(variant)]
    if some_take_a_key(instance_types) and may_be_missing(config.properties.get("KmsKeyId")):
        yield "The volumes of its instances have no KmsKeyId: models and requests lie on disks without a key of yours."


RULE = Rule(
    name="SAGESTACK-EndpointVolumeKey",
    promise="The volumes of an endpoint's instances are encrypted with a key of yours, unless all bring NVMe disks,"
    " which take none.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html",
    types=frozenset({CONFIG}),
    broken=_broken,
)
