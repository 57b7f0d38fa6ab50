"""The status of an endpoint: written to the store, told to whoever waits, and sent to EventBridge."""

from __future__ import annotations

import logging
import time
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, notifications, tags
from local_cloud.sagemaker.asynchronous import async_endpoints
from local_cloud.sagemaker.deployments.deployment_run import Stage
from local_cloud.sagemaker.hosting.hosting import Hosting, Key, key_for
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

KIND = "endpoint"
MAX_REASON = 1024
"""FailureReason in the API reference."""
AGAIN = "(Started again: the local cloud was restarted in between.)"
"""Follows what is told of an update that a restart of the local cloud had cut off."""


def finish(
    hosting: Hosting, caller: Caller, name: str, status: str, reason: str | None, **members: Document | None
) -> None:
    """Write an endpoint's new status, and tell it."""

    def change(document: Document) -> None:
        document.update(members)
        document.update(
            EndpointStatus=status, FailureReason=reason[:MAX_REASON] if reason else None, LastModifiedTime=time.time()
        )

    # Told before anybody can see it, and go on: events keep the order of what happened.
    with hosting.service.store.undisturbed():
        document = hosting.service.store.update(KIND, *key_for(caller, name), change)
        if document is None:
            return
        send_event(hosting.service, caller, document)
    logger.info("Endpoint %s is %s%s", name, status, f": {reason}" if reason else "")
    if status == "InService" and document["Deployed"].get("AsyncInferenceConfig"):
        async_endpoints.queue_of(hosting, key_for(caller, name), document["EndpointName"])
    notifications.publish(KIND, document["EndpointArn"])


def enter_stage(hosting: Hosting, caller: Caller, name: str, stage: Stage, waited_s: float) -> None:
    """Write and tell where an update is: VariantStatus of its new variants in DescribeEndpoint, and an event."""

    def change(document: Document) -> None:
        now = time.time()
        messages = dict(stage.messages)
        if document["Pending"].get("Restarts"):
            messages = {name: f"{message} {AGAIN}" for name, message in messages.items()}
        document["Pending"].update(
            Stage={"Status": stage.status, "StartTime": now, "Messages": messages, "Active": dict(stage.active)},
            WaitedS=waited_s,
        )
        document["LastModifiedTime"] = now

    document = hosting.service.store.update(KIND, *key_for(caller, name), change)
    if document is None:
        return
    logger.info("Endpoint %s: %s: %s", name, stage.status, "; ".join(dict.fromkeys(stage.messages.values())))
    notifications.publish(KIND, document["EndpointArn"])
    detail = _detail(hosting.service, caller, document)
    detail["PendingDeploymentSummary"] = _in_milliseconds(pending_summary(document["Pending"]))
    arn = document["EndpointArn"]
    events.send(
        hosting.service, caller.account, caller.region, "SageMaker Endpoint Deployment State Change", detail, [arn]
    )


def pending_summary(pending: Document) -> Document:
    """PendingDeploymentSummary: what an update brings, and where it is; CurrentInstanceCount is what takes traffic."""
    stage = pending.get("Stage") or {"Status": "Creating", "StartTime": pending["StartTime"]}
    return {
        "EndpointConfigName": pending["EndpointConfigName"],
        "StartTime": pending["StartTime"],
        "ProductionVariants": [_pending_variant(variant, stage) for variant in pending["Variants"]],
    }


def _pending_variant(variant: Document, stage: Document) -> Document:
    name = variant["VariantName"]
    active, message = stage.get("Active", {}).get(name, 0), stage.get("Messages", {}).get(name)
    status = {"Status": stage["Status"], "StartTime": stage["StartTime"]}
    if message:
        status["StatusMessage"] = message
    return summary_of(variant, active, variant["DesiredWeight"] if active else 0.0) | {"VariantStatus": [status]}


def summary_of(variant: Document, current_count: int, current_weight: float) -> Document:
    """ProductionVariantSummary of a planned variant."""
    weights = {
        "VariantName": variant["VariantName"],
        **({"DeployedImages": variant["DeployedImages"]} if variant["DeployedImages"] else {}),
        "CurrentWeight": current_weight,
        "DesiredWeight": variant["DesiredWeight"],
    }
    if serverless := variant.get("ServerlessConfig"):
        # Nobody asks for a number of its instances, and 0 is told of those that it has.
        configs = {"CurrentServerlessConfig": serverless, "DesiredServerlessConfig": serverless}
        return {**weights, "CurrentInstanceCount": 0, **configs}
    return {
        **weights,
        "CurrentInstanceCount": current_count,
        "DesiredInstanceCount": variant["DesiredInstanceCount"],
        **({"RoutingConfig": variant["RoutingConfig"]} if variant["RoutingConfig"] else {}),
        **({"ManagedInstanceScaling": scaling} if (scaling := variant.get("ManagedInstanceScaling")) else {}),
    }


def send_event(service: Sagemaker, caller: Caller, document: Document, kept_tags: dict[str, str] | None = None) -> None:
    """`SageMaker Endpoint State Change`, in the form that the developer guide shows: IN_SERVICE, times in milliseconds."""
    detail, arn = _detail(service, caller, document, kept_tags), document["EndpointArn"]
    events.send(service, caller.account, caller.region, "SageMaker Endpoint State Change", detail, [arn])


def _detail(
    service: Sagemaker, caller: Caller, document: Document, kept_tags: dict[str, str] | None = None
) -> dict[str, Any]:
    serving = document.get("Deployed") or document["Pending"]
    status = "".join(f"_{letter}" if letter.isupper() else letter for letter in document["EndpointStatus"])
    return {
        "EndpointName": document["EndpointName"],
        "EndpointArn": document["EndpointArn"],
        "EndpointConfigName": serving["EndpointConfigName"],
        "ProductionVariants": [
            {member: variant[member] for member in ("VariantName", "DesiredWeight", "DesiredInstanceCount")}
            for variant in serving["Variants"]
            if not variant.get("IsShadow")
        ],
        "EndpointStatus": status.lstrip("_").upper(),
        **({"FailureReason": document["FailureReason"]} if document.get("FailureReason") else {}),
        "CreationTime": document["CreationTime"] * 1000,
        "LastModifiedTime": document["LastModifiedTime"] * 1000,
        "Tags": tags.current(service, caller, document["EndpointArn"]) if kept_tags is None else kept_tags,
    }


def _in_milliseconds(summary: Document) -> Document:
    """The times of a summary as events write them; the members of its variants that the developer guide shows."""
    shown = ("VariantName", "CurrentWeight", "DesiredWeight", "CurrentInstanceCount", "DesiredInstanceCount")
    return {
        **summary,
        "StartTime": summary["StartTime"] * 1000,
        "ProductionVariants": [
            {member: variant[member] for member in shown if member in variant}
            | {
                "VariantStatus": [
                    {**status, "StartTime": status["StartTime"] * 1000} for status in variant["VariantStatus"]
                ]
            }
            for variant in summary["ProductionVariants"]
        ],
    }


def document_of(hosting: Hosting, key: Key) -> Document:
    """The document of an endpoint that is worked on, and so cannot be deleted."""
    document = hosting.service.store.get(KIND, *key)
    assert document is not None, f"endpoint {key} is gone while it is worked on"
    return document
