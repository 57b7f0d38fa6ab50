"""How the requests of a transform job are cut: by its request, by what its container asks for, or by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_PAYLOAD_MB = 6
"""MaxPayloadInMB where nobody names one (CreateTransformJob in the API reference)."""
STRATEGIES = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}
"""A BatchStrategy as containers write it, and as the API does."""


@dataclass(frozen=True)
class Limits:
    """How the requests of an instance are cut.

    Attributes:
        concurrent: how many are open at once.
        payload_mb: how large they are at most, in MiB; 0 for any size, sent in chunks.
        strategy: MultiRecord or SingleRecord.
    """

    concurrent: int
    payload_mb: int
    strategy: str

    @classmethod
    def of(cls, job: Mapping[str, Any], asked: Mapping[str, Any]) -> Limits:
        """From the request first, then from what the container asks for, then the defaults.

        "How Containers Serve Requests" in the developer guide.

        Args:
            job: the request.
            asked: what the container answered to `/execution-parameters`.
        """
        payload = job.get("MaxPayloadInMB")
        return cls(
            concurrent=job.get("MaxConcurrentTransforms") or _positive(asked.get("MaxConcurrentTransforms")) or 1,
            payload_mb=(
                _positive(asked.get("MaxPayloadInMB")) or DEFAULT_PAYLOAD_MB if payload is None else int(payload)
            ),
            strategy=job.get("BatchStrategy") or STRATEGIES.get(str(asked.get("BatchStrategy")), "MultiRecord"),
        )

    def __str__(self) -> str:
        """As the data log tells it."""
        return (
            f"MaxConcurrentTransforms={self.concurrent}, MaxPayloadInMB={self.payload_mb}, "
            f"BatchStrategy={_word(self.strategy)}"
        )


def variables(job: Mapping[str, Any]) -> dict[str, str]:
    """What a container is told: that it serves a batch, and those limits that the request sets.

    "If the user doesn't set values for them, they aren't passed" ("Use Your Own Inference Code with Batch Transform" in the
    developer guide).
    """
    told = {"SAGEMAKER_BATCH": "true"}
    if "MaxPayloadInMB" in job:
        told["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(job["MaxPayloadInMB"])
    if "BatchStrategy" in job:
        told["SAGEMAKER_BATCH_STRATEGY"] = _word(job["BatchStrategy"])
    if job.get("MaxConcurrentTransforms"):
        told["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(job["MaxConcurrentTransforms"])
    return told


def _word(strategy: str) -> str:
    return next(word for word, name in STRATEGIES.items() if name == strategy)


def _positive(value: Any) -> int:
    """A number that a container asks for; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
