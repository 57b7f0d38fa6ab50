"""What a caller is told when there is no prediction: SageMaker's errors, in the words of HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_RETRY_SOON = {"retry-after": "1"}
_JSON = {"content-type": "application/json"}


class Refusal(Exception):
    """A request without a prediction.

    Attributes:
        status: of the HTTP answer.
        code: what happened, in one word; it is logged, too.
        body: JSON with `message`, or what the model itself answered.
    """

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.code = code
        self.body = json.dumps({"error": code, "message": message}).encode()
        self.headers = {**_JSON, **(headers or {})}
        super().__init__(message)


def refusal_of(response: Mapping[str, Any]) -> Refusal:
    """The refusal for an error of InvokeEndpoint.

    What the model refused (4xx) is the caller's to correct, so it gets the model's own words. What went wrong behind the
    door is said without its details, which are in the logs of the endpoint.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html#API_runtime_InvokeEndpoint_Errors
    """
    error = response["Error"]
    code = error.get("Code", "")
    match code:
        case "ModelError":
            return _of_the_model(response)
        case "ValidationError" | "ValidationException":
            return Refusal(400, code, error.get("Message", ""))
        case "ThrottlingException" | "ThrottlingError" | "TooManyRequestsException":
            return Refusal(429, "Throttled", "The endpoint takes no more requests now.", headers=_RETRY_SOON)
        case "ModelNotReadyException":
            return Refusal(503, "ModelNotReady", "The model is being loaded.", headers=_RETRY_SOON)
        case "ServiceUnavailable" | "ServiceUnavailableException":
            return Refusal(503, "Unavailable", "The endpoint cannot answer now.", headers=_RETRY_SOON)
        case "AccessDeniedException" | "AccessDenied":
            return Refusal(500, "Misconfigured", "The front door may not ask the endpoint.")
    return Refusal(502, code or "Unknown", "The endpoint failed.")


def _of_the_model(response: Mapping[str, Any]) -> Refusal:
    status = int(response.get("OriginalStatusCode") or 0)
    if status == 503:
        return Refusal(503, "ModelUnavailable", "The model cannot answer now.", headers=_RETRY_SOON)
    if not 400 <= status < 500:
        return Refusal(502, "ModelError", "The model failed on this request.")
    return Refusal(status, "RefusedByModel", str(response.get("OriginalMessage") or "The model refused the request."))
