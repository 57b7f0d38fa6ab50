"""What guards a deployment: a check of the versions before anything changes, a gate after it, and a probe meanwhile.

Check and gate are custom resources: CDK's provider framework calls `on_event` once, then `is_complete` until it says so.
Each call is short, and nothing runs in between.
https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.custom_resources-readme.html

A roll-back of the stack is let through by both, whatever they would find: it brings back what served before, and a
resource that fails in it leaves the stack in UPDATE_ROLLBACK_FAILED, from where no deployment goes on without help.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from . import probe, versions
from .gate import Clients, Gate
from .names import GATE, VERSION_CHECK
from .problems import Problem

_MARGIN_S = 20
"""What is kept of a call's time to tell the outcome, once waiting is given up."""

Event = Mapping[str, Any]


def on_event(event: Event, _context: object, clients: Clients | None = None) -> dict[str, Any]:
    """Check the versions before anything is deployed. The gate waits for `is_complete`.

    Raises:
        Problem: a version must not be served.
    """
    if event["RequestType"] == "Delete" or event["ResourceType"] != VERSION_CHECK:
        return {}
    clients = clients or _clients()
    properties = event["ResourceProperties"]
    if _is_rolling_back(clients, event):
        return {}
    for wanted in properties["Versions"]:
        arn = wanted["ModelPackageArn"]
        try:
            golden = versions.check(clients.sagemaker, clients.s3, arn, wanted["ModelPackageGroupArn"])
        except versions.Refused as error:
            _tell("refused", properties, reason=str(error))
            raise versions.Refused(f"{error} Endpoint {properties['EndpointName']} was not touched.") from error
        _tell("version checked", properties, version=arn, records=len(golden.records))
    return {}


def is_complete(event: Event, context: Any, clients: Clients | None = None) -> dict[str, Any]:
    """Whether the endpoint is what was wanted and answers what it must; False while it changes.

    Raises:
        Problem: it is not, or does not, and will not.
    """
    if event["RequestType"] == "Delete" or event["ResourceType"] != GATE:
        return {"IsComplete": True}
    clients = clients or _clients()
    properties = event["ResourceProperties"]
    if _is_rolling_back(clients, event):
        return {"IsComplete": True}
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _MARGIN_S
    try:
        passes = Gate(clients, properties, event["RequestId"]).passes(until)
    except Problem as error:
        _tell("refused", properties, reason=str(error))
        raise
    _tell("passed" if passes else "waiting", properties)
    return {"IsComplete": passes}


def watch(event: Event, context: Any, clients: probe.Clients | None = None) -> dict[str, str]:
    """Ask golden records while the endpoint is updated: from EventBridge's event, or where an earlier call ended."""
    endpoint = event["detail"]["EndpointName"]
    outcome = probe.Probe(
        clients or _probe_clients(event, context),
        endpoint,
        probe.Pace.from_environment(os.environ),
        until=time.monotonic() + context.get_remaining_time_in_millis() / 1000,
        memory=event.get("memory", {}),
    ).watch()
    print(json.dumps({"outcome": outcome, "endpoint": endpoint}), flush=True)
    return {"outcome": outcome}


def _is_rolling_back(clients: Clients, event: Event) -> bool:
    """Whether CloudFormation undoes a deployment; it calls with the earlier properties then, and does not say so."""
    if event["RequestType"] != "Update":
        return False
    stack = clients.cloudformation.describe_stacks(StackName=event["StackId"])["Stacks"][0]
    if "ROLLBACK" not in stack["StackStatus"]:
        return False
    _tell("let through: the stack is rolled back", event["ResourceProperties"], status=stack["StackStatus"])
    return True


def _tell(what: str, properties: Mapping[str, Any], **more: Any) -> None:
    print(json.dumps({"outcome": what, "endpoint": properties["EndpointName"], **more}), flush=True)


def _clients() -> Clients:
    return Clients(boto3.client("sagemaker"), _runtime(), boto3.client("s3"), boto3.client("cloudformation"))


def _probe_clients(event: Event, context: Any) -> probe.Clients:
    def again(memory: dict[str, Any]) -> None:
        payload = json.dumps({"detail": {"EndpointName": event["detail"]["EndpointName"]}, "memory": memory})
        boto3.client("lambda").invoke(
            FunctionName=context.function_name, InvocationType="Event", Payload=payload.encode()
        )

    return probe.Clients(boto3.client("sagemaker"), _runtime(), boto3.client("s3"), boto3.client("cloudwatch"), again)


def _runtime() -> Any:
    # A prediction may take 60 s, and a client that asks again by itself would make two of one.
    return boto3.client(
        "sagemaker-runtime", config=Config(read_timeout=65, retries={"mode": "standard", "max_attempts": 1})
    )
