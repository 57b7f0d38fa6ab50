"""Lifecycle configurations of notebook instances: the OnCreate and the OnStart script, kept until an instance starts."""

from __future__ import annotations

import base64
import binascii
import time

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, tags
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

KIND = "notebook-instance-lifecycle-config"
EVENT = "SageMaker Notebook Lifecycle Config State Change"
HOOKS = ("OnCreate", "OnStart")
_NAME = "NotebookInstanceLifecycleConfigName"
_ARN = "NotebookInstanceLifecycleConfigArn"


@operation("CreateNotebookInstanceLifecycleConfig")
def create_lifecycle_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateNotebookInstanceLifecycleConfig; the length of a script is a matter of the request's shape."""
    name, arn = request[_NAME], arn_of(caller, KIND, request[_NAME])
    _check_scripts(request, "create", arn)
    now = time.time()
    hooks = {hook: request.get(hook) or [] for hook in HOOKS}
    document: Document = {_NAME: name, _ARN: arn, **hooks, "CreationTime": now, "LastModifiedTime": now}
    try:
        with service.store.undisturbed():
            with service.store.transaction():
                service.store.insert(KIND, caller.account, caller.region, key_of(name), document)
                tags.save(service, caller, arn, request.get("Tags"))
            _send_event(service, caller, document, tags.current(service, caller, arn))
    except Duplicate:
        raise _refusal("create", arn, "Notebook Instance Lifecycle Config already exists.") from None
    return {_ARN: arn}


@operation("DescribeNotebookInstanceLifecycleConfig")
def describe_lifecycle_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeNotebookInstanceLifecycleConfig."""
    return find(service, caller, request[_NAME])


@operation("ListNotebookInstanceLifecycleConfigs")
def list_lifecycle_configs(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListNotebookInstanceLifecycleConfigs."""
    kept = matching(service.store.list(KIND, caller.account, caller.region), request, name_key=_NAME)
    members = (_NAME, _ARN, "CreationTime", "LastModifiedTime")
    summaries = [{member: document[member] for member in members} for document in kept]
    return page(summaries, request, "NotebookInstanceLifecycleConfigs")


@operation("UpdateNotebookInstanceLifecycleConfig")
def update_lifecycle_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateNotebookInstanceLifecycleConfig: instances have it at their next start.

    A script that the request does not name stays, and an empty list takes it away: the reference says neither.
    """
    arn = arn_of(caller, KIND, request[_NAME])
    _check_scripts(request, "update", arn)

    def change(document: Document) -> None:
        document.update({hook: request[hook] for hook in HOOKS if request.get(hook) is not None})
        document["LastModifiedTime"] = time.time()

    with service.store.undisturbed():
        document = service.store.update(KIND, caller.account, caller.region, key_of(request[_NAME]), change)
        if document is None:
            raise _unknown("update", arn)
        _send_event(service, caller, document, tags.current(service, caller, arn))
    return {}


@operation("DeleteNotebookInstanceLifecycleConfig")
def delete_lifecycle_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteNotebookInstanceLifecycleConfig: the reference names no error for one that an instance has."""
    arn = arn_of(caller, KIND, request[_NAME])
    with service.store.undisturbed():
        with service.store.transaction():
            document = service.store.get(KIND, caller.account, caller.region, key_of(request[_NAME]))
            if document is None:
                raise _unknown("delete", arn)
            service.store.delete(KIND, caller.account, caller.region, key_of(request[_NAME]))
            last_tags = tags.current(service, caller, arn)
            tags.forget(service, caller, arn)
        _send_event(service, caller, document, last_tags)
    return {}


def find(service: Sagemaker, caller: Caller, name: str) -> Document:
    """The lifecycle configuration of that name.

    Raises:
        ValidationError: there is none.
    """
    document = service.store.get(KIND, caller.account, caller.region, key_of(name))
    if document is None:
        raise _unknown("describe", arn_of(caller, KIND, name))
    return document


def script_of(document: Document, hook: str) -> str | None:
    """The text of one of its scripts, None where it has none."""
    for script in document[hook]:
        if script.get("Content"):
            return base64.b64decode(script["Content"]).decode()
    return None


def _check_scripts(request: Request, verb: str, arn: str) -> None:
    for hook in HOOKS:
        for script in request.get(hook) or []:
            content = script.get("Content")
            if content is None:
                raise _refusal(verb, arn, f"{hook} has no Content.")
            try:
                # People wrap base64 at 76 characters, as the tools do.
                base64.b64decode("".join(content.split()), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise _refusal(verb, arn, f"The Content of {hook} is no base64 of a text in UTF-8.") from None


def _unknown(verb: str, arn: str) -> ValidationError:
    return _refusal(verb, arn, "Notebook Instance Lifecycle Config does not exist.")


def _refusal(verb: str, arn: str, details: str) -> ValidationError:
    """SageMaker's form."""
    return ValidationError(f"Unable to {verb} Notebook Instance Lifecycle Config '{arn}'. (Details: {details})")


def _send_event(service: Sagemaker, caller: Caller, document: Document, its_tags: dict[str, str]) -> None:
    """The members of EventBridge's schema registry: the scripts are not among them."""
    detail = {
        _NAME: document[_NAME],
        _ARN: document[_ARN],
        "CreationTime": int(document["CreationTime"] * 1000),
        "LastModifiedTime": int(document["LastModifiedTime"] * 1000),
        "Tags": its_tags,
    }
    events.send(service, caller.account, caller.region, EVENT, detail, [document[_ARN]])
