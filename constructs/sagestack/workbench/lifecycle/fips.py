"""Calls of AWS through endpoints with validated cryptography (FIPS 140)."""

from __future__ import annotations

from collections.abc import Mapping

from sagestack.settings.workbench.lifecycle_fips import check_fips_region
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step


def steps(option: bool, context: LifecycleContext) -> tuple[Step, ...]:
    """None: the SDKs and the AWS CLI read a variable.

    Raises:
        ValueError: SageMaker has no such endpoint in the region, so that every call would fail.
    """
    check_fips_region(context.region)
    return ()


def environment(option: bool, context: LifecycleContext) -> Mapping[str, str]:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html"""
    return {"AWS_USE_FIPS_ENDPOINT": "true"}
