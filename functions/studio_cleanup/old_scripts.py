"""Lifecycle configs that an update of the stack left: SageMaker deletes none that an app still runs with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from .names import MARK
from .problems import in_words, is_gone


def remove_old_scripts(sagemaker: Any, *, mark: str) -> list[str]:
    """Deletes the lifecycle configs that carry our tag, once no app is left.

    CloudFormation deletes those that it knows by itself, before or after this.

    Returns:
        What is still there, in words.

    Raises:
        ClientError: SageMaker refused to look.
    """
    left = []
    for name, arn in _all(sagemaker):
        try:
            if _mark_of(sagemaker, arn) == mark:
                sagemaker.delete_studio_lifecycle_config(StudioLifecycleConfigName=name)
        except ClientError as error:
            if not is_gone(error):
                left.append(f"lifecycle config {name}: {in_words(error)}")
    return left


def _all(sagemaker: Any) -> Iterator[tuple[str, str]]:
    for page in sagemaker.get_paginator("list_studio_lifecycle_configs").paginate():
        for each in page["StudioLifecycleConfigs"]:
            yield each["StudioLifecycleConfigName"], each["StudioLifecycleConfigArn"]


def _mark_of(sagemaker: Any, arn: str) -> str | None:
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    return tags.get(MARK)
