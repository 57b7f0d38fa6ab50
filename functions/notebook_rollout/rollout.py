"""Brings notebook instances to the lifecycle config that they have now: by a stop and a start, in the window.

An instance runs its lifecycle config when it starts. Whether one that runs has an older version is seen from two times: when
the config changed last, and when the instance came into service last. What is under way is kept in a tag of the instance, so
that a run that is broken off is taken up by the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .tags import RESTART_TAG, SPENT_TAG


@dataclass
class Outcome:
    """What a run found and did, as names of notebook instances."""

    outdated: list[str] = field(default_factory=list)
    """They run an older config, and nothing was done about it yet."""
    stopped: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    moving: list[str] = field(default_factory=list)
    """On their way, by us."""
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way."""
        return not (self.stopped or self.started or self.moving)


def run(sagemaker: Any, instances: Sequence[str], *, may_stop: bool, heeds_the_mark: bool) -> Outcome:
    """Take each instance one step further.

    Args:
        sagemaker: the client.
        instances: names of notebook instances.
        may_stop: whether the window is open. What was stopped before is started in any case.
        heeds_the_mark: whether what a spent budget has stopped stays so; without a budget nobody takes old marks away.
    """
    outcome = Outcome()
    for name in instances:
        try:
            _step(sagemaker, name, outcome, may_stop=may_stop, heeds_the_mark=heeds_the_mark)
        except (ClientError, BotoCoreError) as error:
            # One that cannot be brought further must not keep the others from it.
            outcome.failed[name] = str(error)
    return outcome


def _step(sagemaker: Any, name: str, outcome: Outcome, *, may_stop: bool, heeds_the_mark: bool) -> None:
    described = _described(sagemaker, name)
    if described is None:
        return
    status, arn = described["NotebookInstanceStatus"], described["NotebookInstanceArn"]
    tags = {tag["Key"] for tag in _tags(sagemaker, arn)}
    is_ours = RESTART_TAG in tags
    if status == "InService" and is_ours:
        # Started again, by us or by somebody who was quicker.
        sagemaker.delete_tags(ResourceArn=arn, TagKeys=[RESTART_TAG])
        is_ours = False
    if status == "InService" and _is_outdated(sagemaker, described):
        if not may_stop:
            outcome.outdated.append(name)
            return
        # The tag first: a run that ends between the two leaves a tag on what runs, which does no harm.
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": RESTART_TAG, "Value": "true"}])
        try:
            sagemaker.stop_notebook_instance(NotebookInstanceName=name)
        except ClientError:
            # Perhaps because somebody was quicker: what people stop is not ours to start again.
            sagemaker.delete_tags(ResourceArn=arn, TagKeys=[RESTART_TAG])
            raise
        outcome.stopped.append(name)
    elif status == "Stopped" and is_ours and heeds_the_mark and SPENT_TAG in tags:
        # The budget was spent while it was stopped. Whoever starts it next month has the new config.
        sagemaker.delete_tags(ResourceArn=arn, TagKeys=[RESTART_TAG])
    elif status == "Stopped" and is_ours:
        sagemaker.start_notebook_instance(NotebookInstanceName=name)
        outcome.started.append(name)
    elif status == "Failed" and is_ours:
        sagemaker.delete_tags(ResourceArn=arn, TagKeys=[RESTART_TAG])
        outcome.failed[name] = described.get("FailureReason", "no reason was given")
    elif is_ours and status in ("Stopping", "Pending", "Updating"):
        outcome.moving.append(name)


def _described(sagemaker: Any, name: str) -> dict[str, Any] | None:
    try:
        return dict(sagemaker.describe_notebook_instance(NotebookInstanceName=name))
    except ClientError as error:
        # Of what is not there SageMaker says that the request is not valid.
        if error.response["Error"]["Code"] == "ValidationException":
            return None
        raise


def _tags(sagemaker: Any, arn: str) -> list[dict[str, str]]:
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return [tag for page in pages for tag in page["Tags"]]


def _is_outdated(sagemaker: Any, described: dict[str, Any]) -> bool:
    config = described.get("NotebookInstanceLifecycleConfigName")
    if not config:
        return False
    changed = sagemaker.describe_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=config)
    return bool(changed["LastModifiedTime"] > described["LastModifiedTime"])
