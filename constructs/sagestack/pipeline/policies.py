"""When a step is not run again (its cache), and when it is (its retries)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class CacheConfig:
    """Takes a step's outputs from an earlier successful execution with the same arguments, where one is found.

    `expire_after` is how old that execution may be, as an ISO 8601 duration: `P30D`, `P1DT12H`, `T16M`. It has no default,
    since how long data stays the same is not for us to know. `enabled` false keeps the entry and does not look.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching-enabling.html
    """

    expire_after: str
    enabled: bool = True

    def to_request(self) -> dict[str, object]:
        return {"Enabled": self.enabled, "ExpireAfter": self.expire_after}


class RetryOn(StrEnum):
    """The failures that can be retried.

    The first two happen to any call that a step makes, and SageMaker retries them by itself unless a policy says
    otherwise; the others happen to jobs, so a RegisterModel step cannot name them.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
    """

    SERVICE_FAULT = "Step.SERVICE_FAULT"
    THROTTLING = "Step.THROTTLING"
    JOB_INTERNAL_ERROR = "SageMaker.JOB_INTERNAL_ERROR"
    CAPACITY_ERROR = "SageMaker.CAPACITY_ERROR"
    RESOURCE_LIMIT = "SageMaker.RESOURCE_LIMIT"


@dataclass(frozen=True)
class RetryPolicy:
    """Runs a failed step again: first after `interval_seconds`, then `backoff_rate` times later each time.

    It ends after `max_attempts` (0 to 20) or `expire_after_minutes` (0 to 14,400), not both; 0 means never again.
    With neither, SageMaker tries 5 times. The interval (1 second, at most 43,200) and the rate (2.0) are its defaults, too.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
    """

    exception_types: Sequence[RetryOn]
    max_attempts: int | None = None
    expire_after_minutes: int | None = None
    interval_seconds: int = 1
    backoff_rate: float = 2.0

    def to_request(self) -> dict[str, object]:
        request: dict[str, object] = {
            "ExceptionType": [str(kind) for kind in self.exception_types],
            "IntervalSeconds": self.interval_seconds,
            "BackoffRate": self.backoff_rate,
        }
        if self.max_attempts is not None:
            request["MaxAttempts"] = self.max_attempts
        if self.expire_after_minutes is not None:
            request["ExpireAfterMin"] = self.expire_after_minutes
        return request
