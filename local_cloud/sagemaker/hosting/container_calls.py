"""Requests to containers, and what comes of them; `container_http` sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MODEL_TIMEOUT_S = 60.0
"""A container must answer within 60 seconds (InvokeEndpoint in the API reference)."""
MAX_BODY_BYTES = 6_291_456
"""The largest request and the largest answer (the length of Body in botocore's model)."""


@dataclass(frozen=True)
class Call:
    """A request to a container.

    Attributes:
        path: where to.
        headers: all that it gets, in lower case.
        body: its body.
        method: its method.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    method: str = "POST"


@dataclass(frozen=True)
class Reply:
    """What came of asking a server: its answer, or why there is none (status 0: it was too slow; 502: it hung up)."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300


class Unreachable(Exception):
    """Nobody listens: the request was not sent, so another server may take it."""
