"""Who works here: data scientists, ML engineers, reviewers, operators, and from where they sign in."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit

PersonaName = Literal["data-scientist", "ml-engineer", "reviewer", "operator"]
_MAX_TRUST = 2048
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html (role trust policy length; for more, ask AWS)"""
PERSONAS: tuple[PersonaName, ...] = ("data-scientist", "ml-engineer", "reviewer", "operator")


def _block(cidr: str) -> str:
    try:
        ipaddress.ip_network(cidr)
    except ValueError as error:
        raise ValueError(f"{cidr!r} is no block of addresses: {error}") from error
    return cidr


def _not_of_aws(key: str) -> str:
    if key.lower().startswith("aws:"):
        raise ValueError(f"{key!r} is no key of a session tag: those that begin with aws: are AWS's own")
    return key


class Personas(Settings):
    """The roles of people, who may become them, and from where they may open a notebook."""

    trusted: Annotated[
        list[Annotated[str, Field(pattern=r"^arn:[^:]+:iam::[0-9]{12}:(root|(role|user|saml-provider)/.+)$")]],
        Field(min_length=1, max_length=20),
        Allowed("ARNs of roles, users, accounts (root) or SAML providers, at least one"),
    ]
    """Whose sessions may become a persona. Each brings a session tag that says who it is."""
    roles: Annotated[
        list[PersonaName], Field(min_length=1), Allowed("data-scientist, ml-engineer, reviewer, operator")
    ] = list(PERSONAS)
    user_tag: Annotated[
        str,
        # https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html
        Field(pattern=r"^[\w.:/=+@-]{1,64}$"),
        AfterValidator(_not_of_aws),
        Allowed("the key of a session tag"),
    ] = "user"
    """The session tag with a person's user name, which is what a notebook's `owner` is compared with."""
    source_ips: Annotated[
        list[Annotated[str, AfterValidator(_block)]], Field(max_length=50), Allowed("blocks like 203.0.113.0/24")
    ] = []
    source_vpcs: Annotated[
        list[Annotated[str, Field(pattern=r"^vpc-[0-9a-f]{8,17}$")]],
        Field(max_length=20),
        Allowed("ids like vpc-0123456789abcdef0"),
    ] = []
    """From where notebooks and Studio are opened. Both empty: from anywhere, with the person's credentials."""
    session_hours: Annotated[int, Field(ge=1, le=12), Allowed("a whole number of hours, 1 to 12")] = 8

    @model_validator(mode="after")
    def _each_is_one(self) -> Personas:
        if len(set(self.roles)) < len(self.roles):
            raise ValueError(f"roles: {', '.join(self.roles)} names one twice")
        accounts = [arn for arn in self.trusted if arn.endswith(":root")]
        if accounts and len(accounts) < len(self.trusted):
            raise ValueError(
                f"trusted: {accounts[0]} is a whole account, which includes its roles and users; name one or the other"
            )
        return self

    @model_validator(mode="after")
    def _trust_fits(self) -> Personas:
        if (size := self.trust_policy_size) > _MAX_TRUST:
            raise Misfit(
                (
                    ("trusted",),
                    f"the trust policy of a role would have {size} characters, and IAM takes {_MAX_TRUST}; name fewer, like one"
                    " role that all of these may become",
                )
            )
        return self

    @property
    def trust_policy_size(self) -> int:
        """How many characters the trust policy of each persona has, at most; white space does not count."""
        providers = any(":saml-provider/" in arn for arn in self.trusted)
        others = any(":saml-provider/" not in arn for arn in self.trusted)
        statements = 230 * providers + 180 * others + 2 * len(self.user_tag)
        return 40 + statements + sum(len(arn) + 3 for arn in self.trusted)
