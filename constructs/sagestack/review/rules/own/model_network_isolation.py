"""A model that is served cannot send requests anywhere."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import may_be_missing, may_be_other_than
from sagestack.review.rules.own.variants import is_serverless, variants_of_model


def _broken(model: Resource, around: Around) -> Iterator[str]:
    served = variants_of_model(model, around)
    if served and all(is_serverless(variant) for variant in served):
        # SageMaker offers neither there.
        return
    if may_be_other_than(model.properties.get("EnableNetworkIsolation"), True) and may_be_missing(
        model.properties.get("VpcConfig")
    ):
        yield "Its containers reach the internet: neither EnableNetworkIsolation nor a VpcConfig."


RULE = Rule(
    name="SAGESTACK-ModelNetworkIsolation",
    promise="The containers of a served model have no network, or one of yours. (Serverless variants can have neither.)",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
    types=frozenset({"AWS::SageMaker::Model"}),
    broken=_broken,
)
