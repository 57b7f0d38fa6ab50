"""The Application Auto Scaling API: finds the operation, validates the request with botocore's model, or refuses by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ServiceModel

from local_cloud.autoscaling.errors import InvalidNextToken, ObjectNotFound
from local_cloud.clock import Clock
from local_cloud.cloudwatch.windows import Wanted
from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import NotEmulated
from local_cloud.sagemaker.operations import Operations, paged
from local_cloud.sagemaker.service import Request, Response, Sagemaker
from local_cloud.sagemaker.store import Document, Store

SERVICE = "application-autoscaling"
NAMESPACE = "sagemaker"
"""The only ServiceNamespace here: nothing else in the local cloud has a capacity that is worth scaling."""
TARGET, POLICY, SCHEDULE, ACTIVITY = (f"autoscaling-{kind}" for kind in ("target", "policy", "schedule", "activity"))
"""Kinds of documents in the store."""
ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
"""The service-linked role that acts on SageMaker ("Service-linked roles for Application Auto Scaling")."""
MAX_PAGE = 50

Values = Callable[[Wanted], list[float | None]]
"""Reads what a metric was in its last periods; local_cloud.cloudwatch.windows.values is the real one."""
_OPERATIONS: Operations[AutoScaling] = Operations(SERVICE, "Application Auto Scaling")
operation = _OPERATIONS.register


def model() -> ServiceModel:
    """botocore's description of the API."""
    return _OPERATIONS.model


@dataclass
class AutoScaling:
    """The service: what its operations and its loop stand on."""

    sagemaker: Sagemaker
    values: Values
    changed: threading.Event = field(default_factory=threading.Event)
    """Set by whatever the loop should look at soon."""

    @property
    def store(self) -> Store:
        """Where everything is kept: SageMaker's store, which a kill does not hurt."""
        return self.sagemaker.store

    @property
    def clock(self) -> Clock:
        """The local cloud's clock."""
        return self.sagemaker.clock

    def cloudwatch(self, region: str) -> Any:
        """A CloudWatch client of the service's own."""
        return self.sagemaker.platform.client("cloudwatch", region)

    def call(self, name: str, caller: Caller, request: Request) -> Response:
        """Answer one operation, from the wire or from CloudFormation.

        Raises:
            ApiError: the answer is an error.
        """
        handler = _OPERATIONS.checked(name, request)
        namespace = request.get("ServiceNamespace", NAMESPACE)
        if namespace != NAMESPACE:
            raise NotEmulated(
                f"The local cloud scales what SageMaker serves (ServiceNamespace sagemaker); it does not emulate "
                f"Application Auto Scaling of {namespace}."
            )
        return handler(self, caller, request)


def key_of(request: Mapping[str, Any]) -> str:
    """Under which name a scalable target is kept."""
    return f"{request['ResourceId']}|{request['ScalableDimension']}"


def target_of(service: AutoScaling, caller: Caller, request: Request) -> Document:
    """The scalable target that a request names.

    Raises:
        ObjectNotFound: there is none.
    """
    target = service.store.get(TARGET, caller.account, caller.region, key_of(request))
    if target is None:
        raise ObjectNotFound(f"No scalable target registered for {described(request)}")
    return target


def described(request: Mapping[str, Any]) -> str:
    """What a request is about, in the words of AWS's messages."""
    return (
        f"service namespace: {NAMESPACE}, resource ID: {request['ResourceId']}, scalable dimension: "
        f"{request['ScalableDimension']}"
    )


def role_arn(account: str) -> str:
    """The ARN of the service-linked role."""
    return f"arn:aws:iam::{account}:role/aws-service-role/sagemaker.{SERVICE}.amazonaws.com/{ROLE}"


def acting(account: str, region: str) -> Caller:
    """The service itself as a caller of SageMaker: by its service-linked role, whose policy SageMaker's owner wrote."""
    return Caller(account, region, f"arn:aws:sts::{account}:assumed-role/{ROLE}/AutoScaling-UpdateDesiredCapacity")


def selected(
    documents: list[Document], request: Request, names: str | None = None, name_key: str | None = None
) -> list[Document]:
    """The documents that a Describe request asks for, by resource, dimension and names."""
    wanted = set(request.get(names) or []) if names else set()
    return [
        document
        for document in documents
        if all(request.get(key) in (None, document[key]) for key in ("ResourceId", "ScalableDimension"))
        and (not wanted or document[name_key or ""] in wanted)
    ]


def page(items: list[dict[str, Any]], request: Request, key: str) -> Response:
    """One page of a Describe call, by MaxResults (at most and by default 50) and NextToken.

    Raises:
        InvalidNextToken: the token is not one of ours.
    """
    return paged(items, request, key, min(MAX_PAGE, request.get("MaxResults") or MAX_PAGE), InvalidNextToken)
