"""Looks at a model's endpoint and asks it for predictions."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagestack.cli.errors import CliError
from sagestack.cli.registry import number_of

if TYPE_CHECKING:
    from sagestack.cli.session import Session

MOVING = ("Creating", "Updating", "SystemUpdating", "RollingBack")
WAIT_TIMEOUT_S = 1800
"""A large model on a new instance takes AWS many minutes; the local cloud takes seconds."""


@dataclass(frozen=True)
class State:
    """An endpoint as it is now."""

    name: str
    status: str
    failure_reason: str | None
    versions: tuple[int, ...] | None
    """What its variants serve; None where that may not be looked at."""
    instances: int
    changed: datetime.datetime
    denied: str | None = None
    """The operation that would say which versions, where the caller may not."""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "status": self.status,
            "failure_reason": self.failure_reason,
            "versions": None if self.versions is None else list(self.versions),
            "instances": self.instances,
            "changed": self.changed,
        }


@dataclass(frozen=True)
class Answer:
    """What a model answered."""

    body: bytes
    content_type: str
    variant: str

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")


def find_name(session: Session, model: str) -> str | None:
    """The name of a model's endpoint, or None while the environment serves no version."""
    return session.find_parameter(session.names.model(model).endpoint_name_parameter)


def name(session: Session, model: str) -> str:
    """The name of a model's endpoint.

    Raises:
        CliError: the environment serves no version.
    """
    found = find_name(session, model)
    if found is None:
        raise CliError(
            f"Environment {session.environment.name!r} has no endpoint for {model}.",
            hint=f"Pin an approved version and deploy: {session.command('promote', model)}, then {session.command('deploy')}",
            code="not-deployed",
        )
    return found


def describe(session: Session, endpoint: str) -> State:
    """The endpoint as it is now, down to the versions that it serves, where the caller may see them.

    CloudFormation names endpoint configs and models, and none of their names says of which environment they are: a role that sees
    one environment alone, as those of people do, cannot be let to see them.
    """
    from botocore.exceptions import ClientError

    answer = session.sagemaker.describe_endpoint(EndpointName=endpoint)
    versions: tuple[int, ...] | None = None
    denied: str | None = None
    try:
        versions = _served(session, answer.get("EndpointConfigName"))
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        denied = error.operation_name
    return State(
        name=endpoint,
        status=answer["EndpointStatus"],
        failure_reason=answer.get("FailureReason"),
        versions=versions,
        denied=denied,
        instances=sum(variant.get("CurrentInstanceCount", 0) for variant in answer.get("ProductionVariants", [])),
        changed=answer["LastModifiedTime"],
    )


def wait_in_service(session: Session, endpoint: str) -> State:
    """Waits until the endpoint has stopped moving.

    Raises:
        CliError: it did not come into service, or not in time.
    """
    from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

    waiting = Retrying(
        retry=retry_if_result(lambda state: state.status in MOVING),
        wait=wait_fixed(session.poll_seconds),
        stop=stop_after_delay(WAIT_TIMEOUT_S),
    )
    try:
        state = waiting(describe, session, endpoint)
    except RetryError as error:
        state = error.last_attempt.result()
    if state.status != "InService":
        raise CliError(
            f"Endpoint {endpoint} is {state.status}: {state.failure_reason or 'it gives no reason'}.",
            hint=f"Its log: {session.command('logs --endpoint')}",
            code="refused",
        )
    return state


def invoke(session: Session, endpoint: str, body: bytes, content_type: str, accept: str | None) -> Answer:
    """Asks for predictions.

    Raises:
        CliError: the model refused the request, or failed on it.
    """
    from botocore.exceptions import ClientError

    more = {"Accept": accept} if accept else {}
    try:
        answer = session.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=content_type, **more)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ModelError":
            raise
        # SageMaker answers 424 for whatever the container answered; what the container said is in these two.
        response: dict[str, Any] = dict(error.response)
        status, said = response.get("OriginalStatusCode"), str(response.get("OriginalMessage") or "").strip()
        who = "The model refused the request" if status and 400 <= int(status) < 500 else "The model failed"
        raise CliError(
            f"{who} with {status or 'no status'}: {said or error.response['Error']['Message']}",
            hint=f"Its log: {session.command('logs --endpoint')}",
            code="model-error",
            details={"status": status, "answer": said},
        ) from error
    return Answer(answer["Body"].read(), answer["ContentType"], answer.get("InvokedProductionVariant", ""))


def _served(session: Session, config: str | None) -> tuple[int, ...]:
    if not config:
        return ()
    variants = session.sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    return tuple(sorted(set().union(*(_versions(session, variant.get("ModelName", "")) for variant in variants))))


def _versions(session: Session, model: str) -> set[int]:
    if not model:
        return set()
    answer = session.sagemaker.describe_model(ModelName=model)
    primary = answer.get("PrimaryContainer")
    containers = [*([primary] if primary else []), *answer.get("Containers", [])]
    numbers = {number_of(container.get("ModelPackageName", "")) for container in containers}
    return {number for number in numbers if number is not None}
