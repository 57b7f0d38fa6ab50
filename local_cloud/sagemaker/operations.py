"""The operations of one AWS service: each is answered by its handler once its request fits the shape, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

import botocore.session
from botocore.model import ServiceModel

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ApiError, NotEmulated, ValidationError
from local_cloud.sagemaker.validation import validate

Request = dict[str, Any]
Response = dict[str, Any]
Service = TypeVar("Service")
Handler = Callable[[Service, Caller, Request], Response]


class Operations(Generic[Service]):
    """What a service answers.

    Args:
        service_id: botocore's name of the service.
        called: what people call it, for refusals.
    """

    def __init__(self, service_id: str, called: str) -> None:
        self._service_id = service_id
        self._called = called
        self.handlers: dict[str, Handler[Service]] = {}
        """By the operation's API name; filled by `register` as the modules are imported."""

    @cached_property
    def model(self) -> ServiceModel:
        """botocore's description of the API."""
        return botocore.session.get_session().get_service_model(self._service_id)

    def register(self, name: str) -> Callable[[Handler[Service]], Handler[Service]]:
        """A decorator that registers the handler of one operation.

        Raises:
            ValueError: the service has no operation of that name, or it is registered already.
        """
        if name not in self.model.operation_names:
            raise ValueError(f"{self._called} has no operation {name}")

        def register(handler: Handler[Service]) -> Handler[Service]:
            if name in self.handlers:
                raise ValueError(f"operation {name} is registered twice")
            self.handlers[name] = handler
            return handler

        return register

    def checked(self, name: str, request: Request) -> Handler[Service]:
        """The handler of an operation whose request fits its shape.

        Raises:
            NotEmulated: the service has the operation, and the local cloud does not.
            ValidationError: the request does not fit.
            ApiError: the service has no such operation.
        """
        handler = self.handlers.get(name)
        if handler is None:
            if name in self.model.operation_names:
                raise NotEmulated.operation(name, self._called)
            raise ApiError(f"{self._called} has no operation {name}")
        shape = self.model.operation_model(name).input_shape
        if shape is not None:
            validate(request, shape)
        return handler


def paged(
    items: list[dict[str, Any]],
    request: Request,
    key: str,
    size: int,
    refused: Callable[[str], ApiError] = ValidationError,
) -> Response:
    """One page of a list; NextToken is the offset.

    Args:
        items: the whole list.
        request: with NextToken, or without.
        key: the member of the answer that the page is.
        size: how many items.
        refused: the error of a token that is not one of ours.
    """
    token = request.get("NextToken") or "0"
    # Other digits than these are digits to Python, and no numbers.
    if not (token.isascii() and token.isdigit() and len(token) < 10):
        raise refused(f"Invalid NextToken: {token}")
    end = int(token) + size
    response: Response = {key: items[int(token) : end]}
    if end < len(items):
        response["NextToken"] = str(end)
    return response
