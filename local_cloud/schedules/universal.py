"""Universal targets: `arn:aws:scheduler:::aws-sdk:SERVICE:operation`, a call of an API with what `Input` says.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel, ServiceModel, StructureShape

_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):scheduler:::aws-sdk:(?P<service>[a-z0-9-]+):(?P<action>[A-Za-z0-9]+)")
_READING = re.compile(
    r"(get|describe|list|poll|receive|search|scan|query|select|read|lookup|batchGet|batchDescribe)[A-Z]"
)
"""What only reads cannot be a target, for nobody would see the answer."""


class BadTarget(Exception):
    """The target cannot be; the message says why."""


@dataclass(frozen=True)
class UniversalTarget:
    """A call that a schedule makes.

    Attributes:
        service: as botocore calls it.
        method: of its client.
        operation: as the API calls it.
    """

    service: str
    method: str
    operation: str

    def request(self, text: str | None) -> dict[str, Any]:
        """What is called with.

        Args:
            text: the target's `Input`.

        Raises:
            BadTarget: it is no JSON object, or has a member that the operation does not take.
        """
        try:
            said = json.loads(text or "{}")
        except ValueError as error:
            raise BadTarget(f"Input of a universal target must be JSON: {error}") from error
        if not isinstance(said, dict):
            raise BadTarget("Input of a universal target must be a JSON object with the request's parameters")
        shape = _operation(self.service, self.operation).input_shape
        members = {member.lower(): member for member in shape.members} if isinstance(shape, StructureShape) else {}
        if unknown := [key for key in said if key.lower() not in members]:
            raise BadTarget(f"{self.operation} takes no {unknown[0]} (allowed: {', '.join(members.values())})")
        # Scheduler writes all members with a capital, whatever the API does.
        return {members[key.lower()]: value for key, value in said.items()}


def is_universal(arn: str) -> bool:
    """Whether a target is a call of an API."""
    return ":scheduler:::aws-sdk:" in arn


def parse(arn: str) -> UniversalTarget:
    """The call that an ARN names.

    Raises:
        BadTarget: there is no such service or operation, or it only reads.
    """
    found = _ARN.fullmatch(arn)
    if found is None:
        raise BadTarget(f"{arn} is no universal target, which is arn:aws:scheduler:::aws-sdk:service:apiAction")
    service, action = found["service"], found["action"]
    if not action[0].islower():
        raise BadTarget(f"{arn}: the action must begin with a small letter ({action[0].lower()}{action[1:]})")
    if _READING.match(action):
        raise BadTarget(f"{arn}: {action} only reads, and cannot be a target")
    try:
        names = _model(service).operation_names
    except UnknownServiceError as error:
        raise BadTarget(f"{arn}: there is no service {service}") from error
    operation = action[0].upper() + action[1:]
    if operation not in names:
        raise BadTarget(f"{arn}: {service} has no action {action}")
    return UniversalTarget(service, xform_name(operation), operation)


@functools.cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def _operation(service: str, name: str) -> OperationModel:
    return _model(service).operation_model(name)
