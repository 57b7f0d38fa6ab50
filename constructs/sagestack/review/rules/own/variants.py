"""The variants of endpoint configurations, as other resources of the stack need to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.intrinsics import referred
from sagestack.review.rules.own.rule import Around
from sagestack.review.rules.own.values import each, part

CONFIG = "AWS::SageMaker::EndpointConfig"


def variants_of(config: Resource) -> list[Mapping[str, Any]]:
    """The variants that get requests, and the shadows that get copies of them."""
    return [
        variant
        for kind in ("ProductionVariants", "ShadowProductionVariants")
        for variant in each(config.properties.get(kind))
        if isinstance(variant, Mapping)
    ]


def is_serverless(variant: Mapping[str, Any]) -> bool:
    """Whether no instance of the account's runs it: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html

    SageMaker has no network isolation, no VPC, no data capture and no volume key for it.
    """
    return part(variant, "ServerlessConfig") is not None


def holds_components(variant: Mapping[str, Any]) -> bool:
    """Whether it names no model: inference components put theirs on it, and have deployment configurations of their own."""
    return part(variant, "ModelName") is None


def variants_of_endpoint(endpoint: Resource, around: Around) -> list[Mapping[str, Any]]:
    """Those of an endpoint whose configuration stands in the same stack."""
    names = referred(endpoint.properties.get("EndpointConfigName"))
    configs = [config for config in around.of_type(CONFIG) if config.logical_id in names]
    return [variant for config in configs for variant in variants_of(config)]


def variants_of_model(model: Resource, around: Around) -> list[Mapping[str, Any]]:
    """Those that a model of the same stack is served by."""
    return [
        variant
        for config in around.of_type(CONFIG)
        for variant in variants_of(config)
        if model.logical_id in referred(part(variant, "ModelName"))
    ]
