"""Inference components: models that share the instances of an endpoint. Create, Describe, List, Update, Delete."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker import notifications, tags
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting.hosting import Hosting, hosting_of, key_for
from local_cloud.sagemaker.inference_components import inference_components_moves as moves
from local_cloud.sagemaker.inference_components import (
    inference_components_rolling,
    inference_components_rules,
    inference_components_specification,
)
from local_cloud.sagemaker.inference_components.inference_components_copies import components_of
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.request_checks import refuse
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

KIND = moves.KIND
_SUMMARY = (
    "CreationTime",
    "InferenceComponentArn",
    "InferenceComponentName",
    "EndpointArn",
    "EndpointName",
    "VariantName",
    "InferenceComponentStatus",
    "LastModifiedTime",
)


@operation("CreateInferenceComponent")
def create_inference_component(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateInferenceComponent: answers at once; the copies start in the background."""
    _refuse_specifications(request)
    count = (request.get("RuntimeConfig") or {}).get("CopyCount", 1)
    if count < 1:
        # The API reference allows 0; the service was seen to answer so. Zero is reached by an update or by autoscaling.
        raise ValidationError(f"Inference components copy count must be an integer larger than 0, got {count}.")
    if not request.get("Specification"):
        raise ValidationError("Specification is required.")
    name, component_arn = request["InferenceComponentName"], arn_of(caller, KIND, request["InferenceComponentName"])
    endpoint = inference_components_rules.endpoint_of(service, caller, request["EndpointName"])
    variant = inference_components_rules.host_variant(endpoint, request.get("VariantName"))
    target = inference_components_specification.target(service, caller, request["Specification"], variant)
    now = time.time()
    document: Document = {
        "InferenceComponentName": name,
        "InferenceComponentArn": component_arn,
        "EndpointName": endpoint["EndpointName"],
        "EndpointArn": endpoint["EndpointArn"],
        "VariantName": variant["VariantName"],
        "InferenceComponentStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
        "CopyCount": count,
        "Deployed": None,
        "Pending": {"Target": target, "CopyCount": count},
    }
    try:
        with service.store.transaction():
            # Once more, where no deletion of the endpoint can come between.
            inference_components_rules.endpoint_of(service, caller, request["EndpointName"])
            service.store.insert(KIND, caller.account, caller.region, key_of(name), document)
            tags.save(service, caller, component_arn, request.get("Tags"))
    except Duplicate:
        raise ValidationError(f'Cannot create already existing inference component "{component_arn}".') from None
    _in_background(service, caller, name, moves.create)
    return {"InferenceComponentArn": component_arn}


@operation("DescribeInferenceComponent")
def describe_inference_component(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeInferenceComponent; the current count is that of the copies that take requests now."""
    document = _find(service, caller, request["InferenceComponentName"])
    pending = document["Pending"] or {}
    target = document["Deployed"] or pending["Target"]
    key = key_for(caller, document["InferenceComponentName"])
    described = {member: document[member] for member in _SUMMARY}
    if document.get("FailureReason"):
        described["FailureReason"] = document["FailureReason"]
    if document.get("LastDeploymentConfig"):
        described["LastDeploymentConfig"] = document["LastDeploymentConfig"]
    return described | {
        "Specification": inference_components_specification.described(target),
        "RuntimeConfig": {
            "DesiredCopyCount": pending.get("CopyCount", document["CopyCount"]),
            "CurrentCopyCount": len(components_of(hosting_of(service)).ready(key)),
        },
    }


@operation("ListInferenceComponents")
def list_inference_components(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListInferenceComponents."""
    components = service.store.list(KIND, caller.account, caller.region)
    kept = matching(components, request, name_key="InferenceComponentName", status_key="InferenceComponentStatus")
    for member, filtered in (("EndpointNameEquals", "EndpointName"), ("VariantNameEquals", "VariantName")):
        if request.get(member):
            kept = [component for component in kept if component[filtered] == request[member]]
    summaries = [{member: component[member] for member in _SUMMARY} for component in kept]
    return page(summaries, request, "InferenceComponents")


@operation("UpdateInferenceComponent")
def update_inference_component(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateInferenceComponent: another specification, batch by batch, and then another number of copies."""
    _refuse_specifications(request)

    def change(document: Document) -> None:
        count = (request.get("RuntimeConfig") or {}).get("CopyCount", document["CopyCount"])
        target = None
        if specification := request.get("Specification"):
            endpoint = inference_components_rules.endpoint_of(service, caller, document["EndpointName"])
            variant = inference_components_rules.host_variant(endpoint, document["VariantName"])
            if not inference_components_specification.same_model(specification, document["Deployed"]):
                target = inference_components_specification.target(service, caller, specification, variant)
            inference_components_rolling.check(request.get("DeploymentConfig"), document["CopyCount"])
        config = request.get("DeploymentConfig")
        document["Pending"] = {"Target": target, "CopyCount": count, "DeploymentConfig": config}

    return _changed(service, caller, request["InferenceComponentName"], change, moves.update)


@operation("UpdateInferenceComponentRuntimeConfig")
def update_inference_component_runtime_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateInferenceComponentRuntimeConfig: another number of copies; zero is one."""

    def change(document: Document) -> None:
        document["Pending"] = {"Target": None, "CopyCount": request["DesiredRuntimeConfig"]["CopyCount"]}

    return _changed(service, caller, request["InferenceComponentName"], change, moves.update)


@operation("DeleteInferenceComponent")
def delete_inference_component(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteInferenceComponent: Deleting while requests in flight finish, then gone."""
    _changed(service, caller, request["InferenceComponentName"], lambda _: None, moves.delete, status="Deleting")
    return {}


def start(service: Sagemaker) -> None:
    """Bring every component back, once its endpoint is; returns before they are in service."""
    for account, region, document in service.store.everywhere(KIND):
        # Nobody called: what is resumed was allowed when it was asked for.
        caller = Caller(account=account, region=region, arn=f"arn:aws:iam::{account}:root")
        name = document["InferenceComponentName"]
        if document["InferenceComponentStatus"] == "InService":
            # The nearest of its statuses to what endpoints call SystemUpdating.
            service.store.update(
                KIND, account, region, key_of(name), lambda found: found.update(InferenceComponentStatus="Updating")
            )
        _in_background(service, caller, name, moves.resume)


def stop(service: Sagemaker) -> None:
    """Nothing: the copies belong to the hosting, which ends them with the endpoints' servers."""


def _refuse_specifications(request: Request) -> None:
    if request.get("Specifications"):
        refuse("inference components with a specification for each instance type (Specifications)")


def _find(service: Sagemaker, caller: Caller, name: str) -> Document:
    document = service.store.get(KIND, caller.account, caller.region, key_of(name))
    if document is None:
        raise _missing(caller, name)
    return document


def _missing(caller: Caller, name: str) -> ValidationError:
    return ValidationError(f'Could not find inference component "{arn_of(caller, KIND, name)}".')


def _changed(
    service: Sagemaker,
    caller: Caller,
    name: str,
    change: Callable[[Document], None],
    work: Callable[[Hosting, Caller, str], None],
    status: str = "Updating",
) -> Response:
    """Change a component's document and start the work on it."""

    def begin(document: Document) -> None:
        now = document["InferenceComponentStatus"]
        if now not in ("InService", "Failed") or (now == "Failed" and status != "Deleting"):
            raise ValidationError(
                f"Cannot {'delete' if status == 'Deleting' else 'update'} inference component "
                f'"{document["InferenceComponentArn"]}" in status {now}.'
                + (" DeleteInferenceComponent is the only operation on a failed one." if now == "Failed" else "")
            )
        change(document)
        document.update(InferenceComponentStatus=status, FailureReason=None, LastModifiedTime=time.time())

    document = service.store.update(KIND, caller.account, caller.region, key_of(name), begin)
    if document is None:
        raise _missing(caller, name)
    notifications.publish(KIND, document["InferenceComponentArn"])
    _in_background(service, caller, document["InferenceComponentName"], work)
    return {"InferenceComponentArn": document["InferenceComponentArn"]}


def _in_background(service: Sagemaker, caller: Caller, name: str, work: Callable[[Hosting, Caller, str], Any]) -> None:
    hosting = hosting_of(service)
    hosting.run(f"inference component {name}: {work.__name__}", lambda: work(hosting, caller, name))
