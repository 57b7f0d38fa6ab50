"""What is told to the person who deletes or changes a stack."""

from __future__ import annotations

from botocore.exceptions import ClientError


class Problem(Exception):
    """It cannot be done; the message says what is left, and what to do."""


def is_gone(error: ClientError) -> bool:
    """Whether an error says that the thing is not there (any more)."""
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if "NotFound" in code or code in ("ResourceNotFound", "InvalidGroup.NotFound"):
        return True
    # SageMaker has no code of its own for a part of a domain that is gone.
    return code == "ValidationException" and "does not exist" in message


def is_transient(error: ClientError) -> bool:
    """Whether an error is gone when the same is asked a little later: too many requests, or the service's own trouble."""
    code = error.response["Error"]["Code"]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return "Throttl" in code or code in ("RequestLimitExceeded", "TooManyRequestsException") or status >= 500


def in_words(error: ClientError) -> str:
    """What a service said, with its code: for the end of a sentence."""
    return f"{error.response['Error']['Code']}: {error.response['Error'].get('Message', '')}".rstrip(": ")
