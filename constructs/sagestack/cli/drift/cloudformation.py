"""CloudFormation's own drift detection: what it finds, and what it says that it cannot check.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagestack.cli.drift.results import Difference, Drifted

if TYPE_CHECKING:
    from sagestack.cli.session import Session

TIMEOUT_S = 900
"""AWS says that a detection takes up to several minutes, by the number of resources."""
DETECTABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED")
"""The statuses in which a stack can be looked at."""


class DetectionFailed(Exception):
    """CloudFormation could not finish; the message is its own."""


@dataclass(frozen=True)
class Detection:
    """What CloudFormation says of one stack.

    Attributes:
        checked: the logical ids that it compared.
        unchecked: type to how many resources it cannot compare, by the logical ids that it did not name.
    """

    drifted: tuple[Drifted, ...]
    checked: frozenset[str]
    unchecked: Mapping[str, int]


def detect(
    session: Session, stack: str, resources: Mapping[str, Mapping[str, Any]], paths: Mapping[str, str]
) -> Detection:
    """Starts a detection, waits for its end, and reads it.

    Args:
        session: the environment.
        stack: its name.
        resources: the stack's resources by logical id, as `resources_of` gives them.
        paths: logical id to construct path.

    Raises:
        DetectionFailed: it ended without a result, or not in time.
    """
    from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

    cloudformation = session.cloudformation
    detection = cloudformation.detect_stack_drift(StackName=stack)["StackDriftDetectionId"]
    waiting = Retrying(
        retry=retry_if_result(lambda answer: answer["DetectionStatus"] == "DETECTION_IN_PROGRESS"),
        wait=wait_fixed(session.poll_seconds),
        stop=stop_after_delay(TIMEOUT_S),
    )
    try:
        answer = waiting(cloudformation.describe_stack_drift_detection_status, StackDriftDetectionId=detection)
    except RetryError:
        raise DetectionFailed(f"drift detection did not end within {TIMEOUT_S // 60} minutes") from None
    drifts = [drift for page in _pages(cloudformation, stack) for drift in page]
    # Resources that could be looked at were, though one that could not makes all of it a failure.
    if answer["DetectionStatus"] == "DETECTION_FAILED" and not drifts:
        raise DetectionFailed(answer.get("DetectionStatusReason", "drift detection failed and gives no reason"))
    checked = {
        drift["LogicalResourceId"]
        for drift in drifts
        if drift["StackResourceDriftStatus"] in ("IN_SYNC", "MODIFIED", "DELETED")
    }
    return Detection(
        drifted=tuple(
            _drifted(stack, drift, paths)
            for drift in drifts
            if drift["StackResourceDriftStatus"] in ("MODIFIED", "DELETED")
        ),
        checked=frozenset(checked),
        unchecked=Counter(
            str(resource["ResourceType"]) for logical_id, resource in resources.items() if logical_id not in checked
        ),
    )


def _pages(cloudformation: Any, stack: str) -> Any:
    more: dict[str, str] = {}
    while True:
        page = cloudformation.describe_stack_resource_drifts(StackName=stack, MaxResults=100, **more)
        yield page["StackResourceDrifts"]
        if "NextToken" not in page:
            return
        more = {"NextToken": page["NextToken"]}


def resources_of(session: Session, stack: str) -> dict[str, Mapping[str, Any]]:
    """The resources of a stack, by logical id."""
    pages = session.cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {
        resource["LogicalResourceId"]: resource
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceStatus"] != "DELETE_COMPLETE"
    }


def _drifted(stack: str, drift: Mapping[str, Any], paths: Mapping[str, str]) -> Drifted:
    return Drifted(
        stack=stack,
        logical_id=drift["LogicalResourceId"],
        path=paths.get(drift["LogicalResourceId"], drift["LogicalResourceId"]),
        type=drift["ResourceType"],
        physical_id=drift.get("PhysicalResourceId", ""),
        kind="deleted" if drift["StackResourceDriftStatus"] == "DELETED" else "changed",
        seen_by="CloudFormation",
        differences=tuple(
            Difference(
                each["PropertyPath"].lstrip("/").replace("/", "."),
                None if each["DifferenceType"] == "ADD" else _value(each["ExpectedValue"]),
                None if each["DifferenceType"] == "REMOVE" else _value(each["ActualValue"]),
            )
            for each in drift.get("PropertyDifferences", [])
        ),
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
