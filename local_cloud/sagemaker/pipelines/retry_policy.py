"""When a failed pipeline step is tried again: the retry policies of a definition, as AWS documents them.

Source of the members, their bounds and defaults: "Retry Policy for Pipeline Steps" in the SageMaker Developer Guide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SERVICE_FAULT = "Step.SERVICE_FAULT"
THROTTLING = "Step.THROTTLING"
JOB_INTERNAL_ERROR = "SageMaker.JOB_INTERNAL_ERROR"
CAPACITY_ERROR = "SageMaker.CAPACITY_ERROR"
RESOURCE_LIMIT = "SageMaker.RESOURCE_LIMIT"
EXCEPTION_TYPES = (SERVICE_FAULT, THROTTLING, JOB_INTERNAL_ERROR, CAPACITY_ERROR, RESOURCE_LIMIT)

_BOUNDS = {"IntervalSeconds": 43_200, "BackoffRate": float("inf"), "MaxAttempts": 20, "ExpireAfterMin": 14_400}


class PolicyProblem(Exception):
    """A retry policy is malformed; the message says how."""


@dataclass(frozen=True)
class RetryPolicy:
    """One policy of a step.

    Attributes:
        exception_types: what it covers.
        interval_s: seconds before the first retry.
        backoff_rate: what the interval is multiplied with after each retry.
        max_attempts: how many retries at most; None if a time bounds them.
        expire_after_s: seconds after the step's start in which retries begin; None if a number bounds them.
    """

    exception_types: tuple[str, ...]
    interval_s: float = 1
    backoff_rate: float = 2.0
    max_attempts: int | None = 5
    expire_after_s: float | None = None

    def delay(self, retries: int, running_s: float) -> float | None:
        """Seconds to wait before the next retry, or None if there is none.

        Args:
            retries: how many this policy has made for this step.
            running_s: seconds since the step started.
        """
        delay = self.interval_s * self.backoff_rate**retries
        if self.max_attempts is not None and retries >= self.max_attempts:
            return None
        if self.expire_after_s is not None and running_s + delay > self.expire_after_s:
            return None
        return delay


AUTOMATIC = RetryPolicy((SERVICE_FAULT, THROTTLING), max_attempts=2)
"""SageMaker retries these two unasked, and does not say how often. Twice here: what fails on one machine three times in
a row has a reason that the user should read soon."""


def parse(policies: Any) -> tuple[RetryPolicy, ...]:
    """The RetryPolicies of a step.

    Raises:
        PolicyProblem: with the member and the value that is wrong.
    """
    if not isinstance(policies, list):
        raise PolicyProblem(f"RetryPolicies must be a list, got {policies!r}")
    return tuple(_parse_one(policy) for policy in policies)


def covering(policies: Iterable[RetryPolicy], exception_type: str) -> RetryPolicy | None:
    """The policy for a kind of failure: the step's own, else what happens unasked."""
    for policy in (*policies, AUTOMATIC):
        if exception_type in policy.exception_types:
            return policy
    return None


def of_job_failure(failure_reason: str) -> str | None:
    """The exception type of a job that failed, from its FailureReason; None if retrying cannot help."""
    if failure_reason.startswith(("InternalServerError", "InternalError")):
        return JOB_INTERNAL_ERROR
    if failure_reason.startswith(("CapacityError", "InsufficientCapacityError")):
        return CAPACITY_ERROR
    return None


def of_refused_call(code: str, status: int) -> str | None:
    """The exception type of a call that was refused, from its error code and HTTP status; None if retrying cannot help."""
    if code in ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"):
        return THROTTLING
    if code == "ResourceLimitExceeded":
        return RESOURCE_LIMIT
    # 501 is what the local cloud does not emulate: it will not learn it while we wait.
    if status >= 500 and status != 501:
        return SERVICE_FAULT
    return None


def _parse_one(policy: Any) -> RetryPolicy:
    if not isinstance(policy, dict):
        raise PolicyProblem(f"a retry policy must be an object, got {policy!r}")
    if unknown := set(policy) - {"ExceptionType", *_BOUNDS}:
        raise PolicyProblem(f"a retry policy has no '{sorted(unknown)[0]}'; it has ExceptionType, {', '.join(_BOUNDS)}")
    types = policy.get("ExceptionType")
    types = [types] if isinstance(types, str) else types
    if not isinstance(types, list) or not types or set(types) - set(EXCEPTION_TYPES):
        raise PolicyProblem(f"ExceptionType must list some of {', '.join(EXCEPTION_TYPES)}, got {types!r}")
    numbers: dict[str, float] = {}
    for name, most in _BOUNDS.items():
        value = policy.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise PolicyProblem(f"{name} must be a number between 0 and {most}, got {value!r}")
        numbers[name] = value
    if "MaxAttempts" in numbers and "ExpireAfterMin" in numbers:
        raise PolicyProblem("a retry policy takes MaxAttempts or ExpireAfterMin, not both")
    expires = numbers.get("ExpireAfterMin")
    return RetryPolicy(
        exception_types=tuple(types),
        interval_s=numbers.get("IntervalSeconds", 1),
        backoff_rate=numbers.get("BackoffRate", 2.0),
        max_attempts=None if expires is not None else int(numbers.get("MaxAttempts", 5)),
        expire_after_s=None if expires is None else expires * 60,
    )
