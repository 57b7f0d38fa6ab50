"""The errors of the SageMaker API, with the codes that botocore's model documents."""

from __future__ import annotations


class ApiError(Exception):
    """An answer that is an error: its code, its HTTP status and its message."""

    code = "ValidationException"
    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ValidationError(ApiError):
    """The request is malformed, or names something that does not exist where SageMaker answers so."""


class ResourceNotFound(ApiError):
    """What the request names does not exist."""

    code = "ResourceNotFound"


class ResourceInUse(ApiError):
    """The name is taken, or the state forbids the change."""

    code = "ResourceInUse"


class ResourceLimitExceeded(ApiError):
    """A quota is reached."""

    code = "ResourceLimitExceeded"


class ConflictError(ApiError):
    """Two changes met, or something still depends on what is to be deleted."""

    code = "ConflictException"


class AccessDenied(ApiError):
    """IAM says no; the message names the principal, the action and the resource."""

    code = "AccessDeniedException"


class InternalFailure(ApiError):
    """The local cloud itself failed; its log has the traceback."""

    code = "InternalFailure"
    status = 500


class NotEmulated(ApiError):
    """The local cloud does not do this, and says so by name instead of pretending."""

    code = "UnsupportedOperation"
    status = 501

    @classmethod
    def operation(cls, name: str, service: str = "SageMaker") -> NotEmulated:
        """An operation of a service's API that is not here."""
        return cls(f"The local cloud does not emulate {service}'s {name}. It works unchanged against AWS.")
