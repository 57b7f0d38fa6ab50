"""The HTTP API in front of an endpoint, for callers that speak no SigV4."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed
from sagestack.settings.scaling import Count


class JwtAuthorizer(Settings):
    """Who may call the front door, by a token."""

    issuer: Annotated[str, Field(pattern=r"^https://"), Allowed("an https:// address of an OpenID provider")]
    audience: Annotated[list[str], Field(min_length=1), Allowed("at least one")]


class FrontDoor(Settings):
    """An HTTP API in front of the endpoint, for callers without AWS credentials (JWT) or with them (IAM)."""

    authorization: Annotated[Literal["iam"] | JwtAuthorizer, Allowed("iam, or issuer and audience")]
    requests_per_second: Count = 100
    burst: Count = 200
