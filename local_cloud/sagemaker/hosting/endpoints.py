"""Endpoints: models that answer. CreateEndpoint, Describe, List, Update, UpdateEndpointWeightsAndCapacities, Delete."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from local_cloud.autoscaling import endpoint_changes
from local_cloud.platform import Caller
from local_cloud.sagemaker import notifications, tags
from local_cloud.sagemaker.asynchronous import async_configs, async_endpoints
from local_cloud.sagemaker.capture import data_capture, shadow_configs
from local_cloud.sagemaker.deployments import deployment_policy, deployment_requests, deployments
from local_cloud.sagemaker.deployments.deployments import KIND
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting import endpoint_configs, endpoint_metrics, endpoint_plans, endpoint_status
from local_cloud.sagemaker.hosting.hosting import Hosting, hosting_of, key_for, shut_down
from local_cloud.sagemaker.inference_components import inference_components_hosts, inference_components_rules
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.serverless import serverless_configs
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@operation("CreateEndpoint")
def create_endpoint(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateEndpoint: answers at once; the servers start in the background.

    A DeploymentConfig is kept for updates with RetainDeploymentConfig: a first deployment has nothing to go back to.
    """
    name, endpoint_arn = request["EndpointName"], arn_of(caller, KIND, request["EndpointName"])
    config = endpoint_configs.find(service, caller, request["EndpointConfigName"])
    plan = endpoint_plans.plan_of(service, caller, config)
    deployment_config = deployment_requests.config_of(request, None)
    if policy := deployment_policy.policy_of(deployment_config):
        deployment_policy.check_update(policy, plan["Variants"], ())
    now = time.time()
    document: Document = {
        "EndpointName": name,
        "EndpointArn": endpoint_arn,
        "EndpointStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
        "Deployed": None,
        "Pending": _pending(plan),
        "LastDeploymentConfig": deployment_config,
    }
    try:
        with service.store.undisturbed():
            with service.store.transaction():
                service.store.insert(KIND, caller.account, caller.region, key_of(name), document)
                tags.save(service, caller, endpoint_arn, request.get("Tags"))
            deployments.send_event(service, caller, document)
    except Duplicate:
        raise ValidationError(f'Cannot create already existing endpoint "{endpoint_arn}".') from None
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
            endpoint_status.summary_of(variant, ready.get(variant["VariantName"], 0), variant["DesiredWeight"])
            for variant in deployed["Variants"]
        ]
        if pending and pending["Rescales"]:
            # The difference shows as desired against current.
            for summary, variant in zip(described["ProductionVariants"], pending["Variants"], strict=True):
                if variant.get("ServerlessConfig"):
                    summary["DesiredWeight"] = variant["DesiredWeight"]
                    summary["DesiredServerlessConfig"] = variant["ServerlessConfig"]
                    continue
                summary |= {key: variant[key] for key in ("DesiredWeight", "DesiredInstanceCount")}
    if pending and not pending["Rescales"]:
        described["PendingDeploymentSummary"] = endpoint_status.pending_summary(pending)
    if document.get("LastDeploymentConfig"):
        described["LastDeploymentConfig"] = document["LastDeploymentConfig"]
    if asynchronous := (deployed or pending).get("AsyncInferenceConfig"):
        described["AsyncInferenceConfig"] = asynchronous
    if capture := (deployed or pending).get("DataCaptureConfig"):
        router = hosting_of(service).router(key_for(caller, document["EndpointName"]))
        described["DataCaptureConfig"] = data_capture.summary(capture, router.fleets if router else [])
    shadow_configs.separate(described, deployed, pending)
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
    """UpdateEndpoint: a new fleet beside the old one, and all traffic to it once it is healthy; or as DeploymentConfig says.

    Where DeploymentConfig and RetainDeploymentConfig are given, the former counts: no document says otherwise.

    The configuration that is deployed already is taken too, and deployed anew: no document of SageMaker refuses it.
    """
    config = endpoint_configs.find(service, caller, request["EndpointConfigName"])
    plan = endpoint_plans.plan_of(service, caller, config)
    document = _find(service, caller, request["EndpointName"])
    deployment_config = deployment_requests.config_of(request, document)
    # There are no instances behind a serverless variant whose traffic could be moved by and by.
    falls_back = deployment_policy.falls_back(config) or serverless_configs.is_serverless(config)
    guarded = bool(deployment_config) and not falls_back
    if deployment_config and guarded:
        _refuse_change(document)
        deployment_requests.refuse_unwatched(service, caller, plan, deployment_config)

    def change(document: Document) -> None:
        _refuse_change(document)
        async_configs.check_update(document["Deployed"], plan, document["EndpointArn"])
        endpoint_changes.refuse_other_types(service, caller, document["EndpointName"], document["Deployed"], plan)
        if request.get("RetainAllVariantProperties") and document["Deployed"]:
            endpoint_plans.retained(plan, document["Deployed"], request)
        components = inference_components_rules.of_endpoint(service, caller, document["EndpointName"])
        inference_components_hosts.check_room(document, plan, components)
        if guarded and (policy := deployment_policy.policy_of(deployment_config)):
            deployment_policy.check_update(policy, plan["Variants"], (document["Deployed"] or {}).get("Variants", ()))
        document["Pending"] = _pending(plan) | {"DeploymentConfig": deployment_config if guarded else None}
        document["LastDeploymentConfig"] = deployment_config

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
            if wanted["VariantName"] not in planned:
                raise ValidationError(f"Could not find {where}; it has: {', '.join(planned)}.")
            its_plan = planned[wanted["VariantName"]]
            if wanted.get("ServerlessUpdateConfig"):
                its_plan["ServerlessConfig"] = serverless_configs.updated(
                    its_plan, wanted["ServerlessUpdateConfig"], where
                )
            if wanted.get("DesiredInstanceCount") is not None and its_plan.get("ServerlessConfig"):
                raise ValidationError(f"DesiredInstanceCount for {where}, which is serverless and has no instances.")
            if wanted.get("DesiredInstanceCount") == 0 and not plan.get("AsyncInferenceConfig"):
                raise ValidationError(
                    f"DesiredInstanceCount 0 for {where}: a real-time variant needs one instance at least."
                )
            for member in ("DesiredInstanceCount", "DesiredWeight"):
                if wanted.get(member) is not None:
                    planned[wanted["VariantName"]][member] = wanted[member]
        endpoint_plans.refuse_no_weight(f"endpoint {document['EndpointArn']}", plan)
        components = inference_components_rules.of_endpoint(service, caller, document["EndpointName"])
        inference_components_hosts.check_room(document, plan, components)
        document["Pending"] = _pending(plan, rescales=True)

    return _changed(service, caller, request["EndpointName"], change, deployments.rescale)


@operation("DeleteEndpoint")
def delete_endpoint(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteEndpoint: Deleting while requests in flight finish, then gone."""

    def change(document: Document) -> None:
        _refuse_in_progress(document)
        inference_components_rules.refuse_deletion(service, caller, document)
        document["EndpointStatus"] = "Deleting"

    document = _find(service, caller, request["EndpointName"])
    _refuse_in_progress(document)
    inference_components_rules.refuse_deletion(service, caller, document)
    endpoint_changes.release(service, caller, document["EndpointName"])
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
    async_endpoints.stop(hosting_of(service))
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

    with service.store.undisturbed():
        document = service.store.update(KIND, caller.account, caller.region, key_of(name), begin)
        if document is None:
            raise ValidationError(f'Could not find endpoint "{arn_of(caller, KIND, name)}".')
        deployments.send_event(service, caller, document)
    notifications.publish(KIND, document["EndpointArn"])
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


def _pending(plan: Document, *, rescales: bool = False) -> Document:
    return {**plan, "StartTime": time.time(), "Rescales": rescales}


def _ready_instances(service: Sagemaker, caller: Caller, name: str) -> dict[str, int]:
    router = hosting_of(service).router(key_for(caller, name))
    counts: dict[str, int] = {}
    # While an update is under way, what it replaces is what is deployed.
    for fleet in (router.replaced or router.fleets) if router else ():
        for variant in fleet.variants.values():
            counts[variant.name] = counts.get(variant.name, 0) + len(variant.ready)
    return counts
