"""The SageMaker API itself: finds the operation, validates the request with botocore's model, answers or refuses by name."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from botocore.model import ServiceModel

from local_cloud.clock import Clock
from local_cloud.platform import Caller, Platform
from local_cloud.sagemaker.errors import AccessDenied, ApiError, InternalFailure, ValidationError
from local_cloud.sagemaker.operations import Operations, paged
from local_cloud.sagemaker.operations import Request as Request
from local_cloud.sagemaker.operations import Response as Response
from local_cloud.sagemaker.store import Store

if TYPE_CHECKING:
    from local_cloud.containers.engine import ContainerEngine

logger = logging.getLogger(__name__)

_SAGEMAKER: Operations[Sagemaker] = Operations("sagemaker", "SageMaker")
OPERATIONS = _SAGEMAKER.handlers
"""Every operation that the local cloud answers, by its API name. Filled by `@operation` as the modules are imported."""
operation = _SAGEMAKER.register


def model() -> ServiceModel:
    """botocore's description of the SageMaker API."""
    return _SAGEMAKER.model


@dataclass
class Sagemaker:
    """The service: what its operations stand on."""

    store: Store
    platform: Platform
    engine: ContainerEngine
    state_dir: Path
    background: dict[str, Any] = field(default_factory=dict)
    """Long-lived helpers (job threads, fleets of servers, executions), by the name of the module that owns them."""
    clock: Clock = field(default_factory=Clock)
    """How fast the waits pass that AWS defines in seconds."""

    def call(self, name: str, caller: Caller, request: Request) -> Response:
        """Answer one operation, from wherever it comes: the wire, CloudFormation, a pipeline.

        Raises:
            ApiError: the answer is an error.
        """
        return _SAGEMAKER.checked(name, request)(self, caller, request)

    def check_pass_role(self, caller: Caller, role_arn: str) -> None:
        """Refuse the call if its caller may not pass the role to SageMaker.

        Raises:
            AccessDenied: IAM forbids iam:PassRole on the role.
        """
        message = self.platform.denied(
            caller, "iam:PassRole", role_arn, {"iam:PassedToService": "sagemaker.amazonaws.com"}
        )
        if message:
            raise AccessDenied(message)


def arn(caller: Caller, resource: str) -> str:
    """The ARN of a SageMaker resource; `resource` is what follows the account, such as `endpoint/mine`."""
    return f"arn:aws:sagemaker:{caller.region}:{caller.account}:{resource}"


def name_of(arn_or_name: str) -> str:
    """The name in an ARN, or the name itself: SageMaker takes either in most places."""
    return re.sub(r"^arn:[^:]+:sagemaker:[^:]*:[^:]*:[a-z-]+/", "", arn_or_name)


class Api(Protocol):
    """Something that answers operations: SageMaker, or a service beside it."""

    def call(self, name: str, caller: Caller, request: Request) -> Response:
        """Answer one operation; ApiError is an answer too."""


def answer(service: Api, caller: Caller, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Answer one request of the JSON protocol: status, headers, body.

    Args:
        service: the service.
        caller: who calls.
        target: the X-Amz-Target header, such as `SageMaker.CreateModel`.
        body: the JSON of the request.
    """
    name = target.rsplit(".", 1)[-1]
    try:
        try:
            request = json.loads(body or b"{}")
        except ValueError as error:
            raise ValidationError(f"The request body is not JSON: {error}") from error
        if not isinstance(request, dict):
            raise ValidationError("The request body is not a JSON object")
        response = service.call(name, caller, request)
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(response).encode()
    except ApiError as error:
        return error_answer(error)
    except sqlite3.OperationalError as error:
        logger.exception("%s failed", name)
        return error_answer(
            InternalFailure(f"The local cloud cannot write its state: {error}. Call {name} again later.")
        )
    except Exception:
        logger.exception("%s failed", name)
        return error_answer(InternalFailure(f"The local cloud failed in {name}; see its log (sagestack logs --cloud)."))


def error_answer(error: ApiError) -> tuple[int, dict[str, str], bytes]:
    """An error in the JSON protocol."""
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}
    return error.status, headers, json.dumps({"__type": error.code, "message": error.message}).encode()


def page(items: list[dict[str, Any]], request: Request, key: str, default_size: int = 10) -> Response:
    """One page of a list, by MaxResults and NextToken.

    Raises:
        ValidationError: the token is not one of ours.
    """
    return paged(items, request, key, request.get("MaxResults", default_size))


def matching(
    items: list[dict[str, Any]],
    request: Request,
    *,
    name_key: str,
    status_key: str | None = None,
    default_order: str = "Descending",
    default_sort: str = "CreationTime",
) -> list[dict[str, Any]]:
    """The items of a List call: NameContains, CreationTimeAfter/Before, LastModifiedTimeAfter/Before, StatusEquals, sorted."""
    needle = request.get("NameContains", "").lower()
    kept = [item for item in items if needle in item[name_key].lower()]
    for time_key in ("CreationTime", "LastModifiedTime"):
        after, before = request.get(f"{time_key}After"), request.get(f"{time_key}Before")
        if after is not None:
            kept = [item for item in kept if item.get(time_key, 0) >= after]
        if before is not None:
            kept = [item for item in kept if item.get(time_key, 0) <= before]
    if status_key and request.get("StatusEquals"):
        kept = [item for item in kept if item.get(status_key) == request["StatusEquals"]]
    sort_by = request.get("SortBy", default_sort)
    sort_key = {"Name": name_key, "Status": status_key or name_key}.get(str(sort_by), str(sort_by))
    kept.sort(
        key=lambda item: (item.get(sort_key) is not None, item.get(sort_key, "")),
        reverse=request.get("SortOrder", default_order) == "Descending",
    )
    return kept
