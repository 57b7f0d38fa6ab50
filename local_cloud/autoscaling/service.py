"""The Application Auto Scaling API: finds the operation, validates the request with botocore's model, or refuses by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import botocore.session
from botocore.model import ServiceModel

from local_cloud.autoscaling.errors import InvalidNextToken, ObjectNotFound
from local_cloud.clock import Clock
from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ApiError, NotEmulated
from local_cloud.sagemaker.service import Request, Response, Sagemaker
from local_cloud.sagemaker.store import Document, Store
from local_cloud.sagemaker.validation import validate

SERVICE = "application-autoscaling"
NAMESPACE = "sagemaker"
"""The only ServiceNamespace here: nothing else in the local cloud has a capacity that is worth scaling."""
TARGET, POLICY, SCHEDULE, ACTIVITY = (f"autoscaling-{kind}" for kind in ("target", "policy", "schedule", "activity"))
"""Kinds of documents in the store."""
ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
"""The service-linked role that acts on SageMaker ("Service-linked roles for Application Auto Scaling")."""
MAX_PAGE = 50

Operation = Callable[["AutoScaling", Caller, Request], Response]
OPERATIONS: dict[str, Operation] = {}
"""Every operation that is answered, by its API name. Filled by `@operation` as the modules are imported."""


class Values(Protocol):
    """Reads what a metric was in the last periods; local_cloud.cloudwatch.windows.values is the real one."""

    def __call__(
        self,
        account: str,
        region: str,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str],
        statistic: str,
        period_s: float,
        periods: int,
        at: float | None = None,
        unit: str | None = None,
    ) -> list[float | None]:
        """One value for each period, the oldest first; None where there were no data."""


def operation(name: str) -> Callable[[Operation], Operation]:
    """Register the handler of one API operation.

    Raises:
        ValueError: the service has no operation of that name, or it is registered already.
    """
    if name not in model().operation_names:
        raise ValueError(f"Application Auto Scaling has no operation {name}")

    def register(handler: Operation) -> Operation:
        if name in OPERATIONS:
            raise ValueError(f"operation {name} is registered twice")
        OPERATIONS[name] = handler
        return handler

    return register


@cache
def model() -> ServiceModel:
    """botocore's description of the API."""
    return botocore.session.get_session().get_service_model(SERVICE)


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
        handler = OPERATIONS.get(name)
        if handler is None:
            if name in model().operation_names:
                raise NotEmulated(
                    f"The local cloud does not emulate Application Auto Scaling's {name}. It works unchanged against AWS."
                )
            raise ApiError(f"Application Auto Scaling has no operation {name}")
        shape = model().operation_model(name).input_shape
        if shape is not None:
            validate(request, shape)
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
    """One page of a Describe call, by MaxResults (at most and by default 50) and NextToken; the token is the offset.

    Raises:
        InvalidNextToken: the token is not one of ours.
    """
    token = request.get("NextToken", "0")
    if not token.isdigit():
        raise InvalidNextToken(f"Invalid NextToken: {token}")
    start, size = int(token), min(MAX_PAGE, request.get("MaxResults") or MAX_PAGE)
    response: Response = {key: items[start : start + size]}
    if start + size < len(items):
        response["NextToken"] = str(start + size)
    return response
