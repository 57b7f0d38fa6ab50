"""Endpoints: models that answer. CreateEndpoint, Describe, List, Update, UpdateEndpointWeightsAndCapacities, Delete."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker import deployments, endpoint_configs, endpoint_metrics, endpoint_plans, notifications, tags
from local_cloud.sagemaker.deployments import KIND
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.hosting import Hosting, hosting_of, key_for, shut_down
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_DEPLOYMENT_MEMBERS = ("DeploymentConfig", "RetainDeploymentConfig")


@operation("CreateEndpoint")
def create_endpoint(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateEndpoint: answers at once; the servers start in the background."""
    _refuse_deployment_config(request, "CreateEndpoint")
    name, endpoint_arn = request["EndpointName"], arn_of(caller, KIND, request["EndpointName"])
    config = endpoint_configs.find(service, caller, request["EndpointConfigName"])
    now = time.time()
    document: Document = {
        "EndpointName": name,
        "EndpointArn": endpoint_arn,
        "EndpointStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
        "Deployed": None,
        "Pending": _pending(endpoint_plans.plan_of(service, caller, config)),
    }
    try:
        with service.store.transaction():
            service.store.insert(KIND, caller.account, caller.region, key_of(name), document)
            tags.save(service, caller, endpoint_arn, request.get("Tags"))
    except Duplicate:
        raise ValidationError(f'Cannot create already existing endpoint "{endpoint_arn}".') from None
    deployments.send_event(service, caller, document)
    _in_background(service, caller, name, deployments.create)
    return {"EndpointArn": endpoint_arn}


@operation("DescribeEndpoint")
def describe_endpoint(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeEndpoint; the instance counts are those of the servers that take requests now."""
    document = _find(service, caller, request["EndpointName"])
    deployed, pending, status = document["Deployed"], document["Pending"], document["EndpointStatus"]
    members = ("EndpointName", "EndpointArn", "EndpointStatus", "CreationTime", "LastModifiedTime")
    described = {member: document[member] for member in members}
    described["EndpointConfigName"] = (deployed or pending)["EndpointConfigName"]
    if document.get("FailureReason"):
        described["FailureReason"] = document["FailureReason"]
    if deployed and status != "Failed":
        ready = _ready_instances(service, caller, document["EndpointName"])
        described["ProductionVariants"] = [
            _summary(variant, ready.get(variant["VariantName"], 0), variant["DesiredWeight"])
            for variant in deployed["Variants"]
        ]
        if pending and pending["Rescales"]:
            # The difference shows as desired against current.
            for summary, variant in zip(described["ProductionVariants"], pending["Variants"], strict=True):
                summary |= {key: variant[key] for key in ("DesiredWeight", "DesiredInstanceCount")}
    if pending and not pending["Rescales"]:
        described["PendingDeploymentSummary"] = {
            "EndpointConfigName": pending["EndpointConfigName"],
            "StartTime": pending["StartTime"],
            "ProductionVariants": [
                _summary(variant, 0, 0.0)
                | {"VariantStatus": [{"Status": "Creating", "StartTime": pending["StartTime"]}]}
                for variant in pending["Variants"]
            ],
        }
    if capture := (deployed or pending).get("DataCaptureConfig"):
        described["DataCaptureConfig"] = {
            "EnableCapture": False,
            "CaptureStatus": "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
    return described


@operation("ListEndpoints")
def list_endpoints(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListEndpoints."""
    endpoints = service.store.list(KIND, caller.account, caller.region)
    kept = matching(endpoints, request, name_key="EndpointName", status_key="EndpointStatus")
    members = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
    return page([{member: endpoint[member] for member in members} for endpoint in kept], request, "Endpoints")


@operation("UpdateEndpoint")
def update_endpoint(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateEndpoint: a new fleet beside the old one, and all traffic to it once it is healthy.

    The configuration that is deployed already is taken too, and deployed anew: no document of SageMaker refuses it.
    """
    _refuse_deployment_config(request, "UpdateEndpoint")
    config = endpoint_configs.find(service, caller, request["EndpointConfigName"])
    plan = endpoint_plans.plan_of(service, caller, config)

    def change(document: Document) -> None:
        _refuse_change(document)
        if request.get("RetainAllVariantProperties") and document["Deployed"]:
            endpoint_plans.retained(plan, document["Deployed"], request)
        document["Pending"] = _pending(plan)

    return _changed(service, caller, request["EndpointName"], change, deployments.update)


@operation("UpdateEndpointWeightsAndCapacities")
def update_endpoint_weights_and_capacities(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateEndpointWeightsAndCapacities: other counts and weights for the variants that serve."""

    def change(document: Document) -> None:
        _refuse_change(document, only="InService")
        plan = {**document["Deployed"], "Variants": [dict(variant) for variant in document["Deployed"]["Variants"]]}
        planned = {variant["VariantName"]: variant for variant in plan["Variants"]}
        for wanted in request["DesiredWeightsAndCapacities"]:
            where = f"variant {wanted['VariantName']} of endpoint {document['EndpointArn']}"
            if wanted.get("ServerlessUpdateConfig"):
                raise NotEmulated("The local cloud does not emulate serverless endpoints (ServerlessUpdateConfig).")
            if wanted["VariantName"] not in planned:
                raise ValidationError(f"Could not find {where}; it has: {', '.join(planned)}.")
            if wanted.get("DesiredInstanceCount") == 0:
                raise ValidationError(
                    f"DesiredInstanceCount 0 for {where}: a real-time variant needs one instance at least."
                )
            for member in ("DesiredInstanceCount", "DesiredWeight"):
                if wanted.get(member) is not None:
                    planned[wanted["VariantName"]][member] = wanted[member]
        document["Pending"] = _pending(plan, rescales=True)

    return _changed(service, caller, request["EndpointName"], change, deployments.rescale)


@operation("DeleteEndpoint")
def delete_endpoint(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteEndpoint: Deleting while requests in flight finish, then gone."""

    def change(document: Document) -> None:
        _refuse_in_progress(document)
        document["EndpointStatus"] = "Deleting"

    _changed(service, caller, request["EndpointName"], change, deployments.delete, status="Deleting")
    return {}


def start(service: Sagemaker) -> None:
    """Bring every endpoint back, and finish what a killed local cloud had begun; returns before they are in service."""
    hosting = hosting_of(service)
    # No server of an earlier run is left, so neither is anybody who needs its files.
    shutil.rmtree(hosting.folder, ignore_errors=True)
    for account, region, document in service.store.everywhere(KIND):
        # Nobody called: what is resumed was allowed when it was asked for.
        caller = Caller(account=account, region=region, arn=f"arn:aws:iam::{account}:root")
        name = document["EndpointName"]
        if document["EndpointStatus"] in ("InService", "OutOfService"):
            # SageMaker's own word for maintenance that changes nothing and lets nothing be changed.
            service.store.update(
                KIND, account, region, key_of(name), lambda found: found.update(EndpointStatus="SystemUpdating")
            )
        _in_background(service, caller, name, deployments.resume)


def stop(service: Sagemaker) -> None:
    """End every server; what was under way is finished after the next start."""
    shut_down(hosting_of(service))
    endpoint_metrics.recorder_of(service).close()


def _find(service: Sagemaker, caller: Caller, name: str) -> Document:
    document = service.store.get(KIND, caller.account, caller.region, key_of(name))
    if document is None:
        raise ValidationError(f'Could not find endpoint "{arn_of(caller, KIND, name)}".')
    return document


def _changed(
    service: Sagemaker,
    caller: Caller,
    name: str,
    change: Callable[[Document], None],
    work: Callable[[Hosting, Caller, str], None],
    status: str = "Updating",
) -> Response:
    """Change an endpoint's document and start the work on it."""

    def begin(document: Document) -> None:
        change(document)
        document.update(EndpointStatus=status, FailureReason=None, LastModifiedTime=time.time())

    document = service.store.update(KIND, caller.account, caller.region, key_of(name), begin)
    if document is None:
        raise ValidationError(f'Could not find endpoint "{arn_of(caller, KIND, name)}".')
    notifications.publish(KIND, document["EndpointArn"])
    deployments.send_event(service, caller, document)
    _in_background(service, caller, document["EndpointName"], work)
    return {"EndpointArn": document["EndpointArn"]}


def _in_background(service: Sagemaker, caller: Caller, name: str, work: Callable[[Hosting, Caller, str], None]) -> None:
    hosting = hosting_of(service)
    hosting.run(f"endpoint {name}: {work.__name__}", lambda: work(hosting, caller, name))


def _refuse_in_progress(document: Document) -> None:
    if document["EndpointStatus"] in _IN_PROGRESS:
        raise ValidationError(f'Cannot update in-progress endpoint "{document["EndpointArn"]}".')


def _refuse_change(document: Document, only: str | None = None) -> None:
    _refuse_in_progress(document)
    status = document["EndpointStatus"]
    if status == "Failed" or (only and status != only):
        raise ValidationError(
            f'Cannot update endpoint "{document["EndpointArn"]}" in status {status}.'
            + (" DeleteEndpoint is the only operation on a failed endpoint." if status == "Failed" else "")
        )


def _refuse_deployment_config(request: Request, where: str) -> None:
    for member in _DEPLOYMENT_MEMBERS:
        if request.get(member):
            raise NotEmulated(f"The local cloud does not emulate {member} of {where} yet.")


def _pending(plan: Document, *, rescales: bool = False) -> Document:
    return {**plan, "StartTime": time.time(), "Rescales": rescales}


def _ready_instances(service: Sagemaker, caller: Caller, name: str) -> dict[str, int]:
    router = hosting_of(service).router(key_for(caller, name))
    counts: dict[str, int] = {}
    for fleet in router.fleets if router else []:
        for variant in fleet.variants.values():
            counts[variant.name] = counts.get(variant.name, 0) + len(variant.ready)
    return counts


def _summary(variant: Document, current_count: int, current_weight: float) -> dict[str, Any]:
    """ProductionVariantSummary."""
    return {
        "VariantName": variant["VariantName"],
        **({"DeployedImages": variant["DeployedImages"]} if variant["DeployedImages"] else {}),
        "CurrentWeight": current_weight,
        "DesiredWeight": variant["DesiredWeight"],
        "CurrentInstanceCount": current_count,
        "DesiredInstanceCount": variant["DesiredInstanceCount"],
        **({"RoutingConfig": variant["RoutingConfig"]} if variant["RoutingConfig"] else {}),
    }
