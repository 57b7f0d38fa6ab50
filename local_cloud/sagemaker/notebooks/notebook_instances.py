"""Notebook instances: Create, Describe, List, Update, Start, Stop, Delete. All answer at once; the rest is in the background."""

from __future__ import annotations

import time
from collections.abc import Callable

from local_cloud.platform import Caller
from local_cloud.sagemaker import tags
from local_cloud.sagemaker.answers import without_nulls
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.notebooks import instance_changes, instance_life, instance_requests, notebook_status
from local_cloud.sagemaker.notebooks.notebook_status import KIND
from local_cloud.sagemaker.notebooks.running import Notebooks, notebooks_of
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

DEFAULT_PLATFORM = "notebook-al2023-v1"
DEFAULT_VOLUME_GB = 5
"""The defaults of CreateNotebookInstance in the API reference."""
_SUMMARY = (
    "NotebookInstanceName",
    "NotebookInstanceArn",
    "NotebookInstanceStatus",
    "Url",
    "InstanceType",
    "CreationTime",
    "LastModifiedTime",
    "NotebookInstanceLifecycleConfigName",
    "DefaultCodeRepository",
    "AdditionalCodeRepositories",
)


@operation("CreateNotebookInstance")
def create_notebook_instance(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateNotebookInstance: Pending, then InService or Failed."""
    name, arn = request["NotebookInstanceName"], arn_of(caller, KIND, request["NotebookInstanceName"])
    if not name:
        raise ValidationError("NotebookInstanceName must not be empty.")
    taken = ValidationError(f"Cannot create a duplicate Notebook Instance ({arn})")
    if service.store.get(KIND, caller.account, caller.region, key_of(name)) is not None:
        raise taken
    instance_requests.check(service, caller, request)
    now = time.time()
    document: Document = {
        "NotebookInstanceName": name,
        "NotebookInstanceArn": arn,
        "NotebookInstanceStatus": "Pending",
        "InstanceType": request["InstanceType"],
        "SubnetId": request.get("SubnetId"),
        "SecurityGroups": request.get("SecurityGroupIds"),
        "RoleArn": request["RoleArn"],
        "KmsKeyId": request.get("KmsKeyId"),
        "LastModifiedTime": now,
        "CreationTime": now,
        "NotebookInstanceLifecycleConfigName": request.get("LifecycleConfigName"),
        "DirectInternetAccess": request.get("DirectInternetAccess", "Enabled"),
        "VolumeSizeInGB": request.get("VolumeSizeInGB", DEFAULT_VOLUME_GB),
        "DefaultCodeRepository": request.get("DefaultCodeRepository"),
        "AdditionalCodeRepositories": request.get("AdditionalCodeRepositories"),
        "RootAccess": request.get("RootAccess", "Enabled"),
        "PlatformIdentifier": request.get("PlatformIdentifier", DEFAULT_PLATFORM),
        "IpAddressType": request.get("IpAddressType", "ipv4"),
        "InstanceMetadataServiceConfiguration": request.get("InstanceMetadataServiceConfiguration")
        or {"MinimumInstanceMetadataServiceVersion": "1"},
    }
    try:
        with service.store.undisturbed():
            with service.store.transaction():
                document[instance_life.FOLDER] = _free_folder(service, caller, name)
                service.store.insert(KIND, caller.account, caller.region, key_of(name), document)
                tags.save(service, caller, arn, request.get("Tags"))
            notebook_status.tell(service, caller, document)
    except Duplicate:
        raise taken from None
    in_background(service, caller, name, instance_life.launch)
    return {"NotebookInstanceArn": arn}


@operation("DescribeNotebookInstance")
def describe_notebook_instance(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeNotebookInstance; Url is where JupyterLab listens on this machine, while it does."""
    document = notebook_status.find(service, caller, request["NotebookInstanceName"])
    return without_nulls({key: value for key, value in document.items() if key not in instance_life.HIDDEN})


@operation("ListNotebookInstances")
def list_notebook_instances(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListNotebookInstances; by name, as the reference says."""
    instances = service.store.list(KIND, caller.account, caller.region)
    kept = [
        document
        for document in matching(
            instances,
            request,
            name_key="NotebookInstanceName",
            status_key="NotebookInstanceStatus",
            default_sort="Name",
            default_order="Ascending",
        )
        if _contains(
            document.get("NotebookInstanceLifecycleConfigName"), request, "NotebookInstanceLifecycleConfigName"
        )
        and _contains(document.get("DefaultCodeRepository"), request, "DefaultCodeRepository")
        and request.get("AdditionalCodeRepositoryEquals") in (None, *(document["AdditionalCodeRepositories"] or []))
    ]
    summaries = [without_nulls({member: document.get(member) for member in _SUMMARY}) for document in kept]
    return page(summaries, request, "NotebookInstances")


@operation("UpdateNotebookInstance")
def update_notebook_instance(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateNotebookInstance: of a stopped instance, which has it when it is started."""
    name = request["NotebookInstanceName"]
    current = notebook_status.find(service, caller, name)
    notebook_status.refuse_transition(current, "Updating")
    instance_changes.check(current, request)
    instance_requests.check(service, caller, request, instance_changes.changed(current, request))
    notebook_status.begin(
        service, caller, name, "Updating", lambda document: document.update(instance_changes.changed(document, request))
    )
    in_background(service, caller, name, instance_life.settle_update)
    return {}


@operation("StartNotebookInstance")
def start_notebook_instance(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """StartNotebookInstance: a new system with the volume as it was."""
    document = notebook_status.begin(service, caller, request["NotebookInstanceName"], "Pending")
    in_background(service, caller, document["NotebookInstanceName"], instance_life.launch)
    return {}


@operation("StopNotebookInstance")
def stop_notebook_instance(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """StopNotebookInstance: answers before the instance ends, since the instance itself may have asked for it."""
    document = notebook_status.begin(service, caller, request["NotebookInstanceName"], "Stopping")
    in_background(service, caller, document["NotebookInstanceName"], instance_life.halt)
    return {}


@operation("DeleteNotebookInstance")
def delete_notebook_instance(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteNotebookInstance: the volume goes with it."""
    document = notebook_status.begin(service, caller, request["NotebookInstanceName"], "Deleting")
    in_background(service, caller, document["NotebookInstanceName"], instance_life.remove)
    return {}


def in_background(
    service: Sagemaker, caller: Caller, name: str, work: Callable[[Notebooks, Caller, str], None]
) -> None:
    """Go on with an instance while the caller has its answer."""
    notebooks = notebooks_of(service)
    notebooks.run(f"notebook {name}: {work.__name__}", lambda: work(notebooks, caller, name))


def _contains(value: str | None, request: Request, member: str) -> bool:
    wanted = request.get(f"{member}Contains")
    return not wanted or wanted.lower() in (value or "").lower()


def _free_folder(service: Sagemaker, caller: Caller, name: str) -> str:
    """The name of the instance, unless one of another account or region has that folder."""
    key = key_of(name)
    used = {document[instance_life.FOLDER] for _, _, document in service.store.everywhere(KIND)}
    return key if key not in used else f"{key}@{caller.account}-{caller.region}"
