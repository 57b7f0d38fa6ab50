"""Who works here: data scientists, ML engineers, reviewers, operators, and from where they sign in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit

PersonaName = Literal["data-scientist", "ml-engineer", "reviewer", "operator"]
_MAX_TRUST = 2048
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html (role trust policy length; for more, ask AWS)"""
PERSONAS: tuple[PersonaName, ...] = ("data-scientist", "ml-engineer", "reviewer", "operator")
MAKERS: tuple[PersonaName, ...] = ("data-scientist", "ml-engineer")
"""Who makes model versions: a data scientist from a notebook that may start the pipeline."""
_NEVER_PUBLIC = [
    ipaddress.ip_network(each)
    for each in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
] + [ipaddress.ip_network(each) for each in ("::1/128", "fc00::/7", "fe80::/10")]


def _block(cidr: str) -> str:
    try:
        block = ipaddress.ip_network(cidr)
    except ValueError as error:
        raise ValueError(f"{cidr!r} is no block of addresses: {error}") from error
    if block.prefixlen == 0:
        raise ValueError(f"{cidr!r} is everywhere; leave source_ips out to let people come from anywhere")
    if any(block.version == each.version and block.subnet_of(each) for each in _NEVER_PUBLIC):  # type: ignore[arg-type]
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-sourceip
        raise ValueError(
            f"{cidr!r} is a private block, from which AWS never sees a request come: it sees the public address that a network"
            " goes out by; through an interface endpoint it sees none, so name that network in source_vpcs"
        )
    return cidr


def _free(key: str) -> str:
    if key.lower().startswith("aws:"):
        raise ValueError(f"{key!r} is no key of a session tag: those that begin with aws: are AWS's own")
    if key.lower().startswith("sagestack:"):
        # What the stack puts on everything is on roles, too: each of them would be a session that says who it is.
        raise ValueError(f"{key!r} is a key that the project tags its own resources with; choose another, like user")
    return key


Principals = Annotated[
    list[Annotated[str, Field(pattern=r"^arn:[^:]+:iam::[0-9]{12}:(root|(role|user|saml-provider)/.+)$")]],
    Field(min_length=1, max_length=20),
    Allowed("ARNs of roles, users, accounts (root) or SAML providers, at least one"),
]


class Personas(Settings):
    """The roles of people, who may become them, and from where they may open a notebook."""

    trusted: Annotated[
        Principals | None, Allowed("ARNs of roles, users, accounts (root) or SAML providers, at least one")
    ] = None
    """Whose sessions may become a persona, any of them. Each brings a session tag that says who it is."""
    trusted_as: Annotated[
        dict[PersonaName, Principals], Allowed("data-scientist, ml-engineer, reviewer or operator, each with ARNs")
    ] = {}
    """Whose sessions may become one persona, instead of `trusted`: so that who makes a version does not approve it."""
    roles: Annotated[
        list[PersonaName], Field(min_length=1), Allowed("data-scientist, ml-engineer, reviewer, operator")
    ] = list(PERSONAS)
    user_tag: Annotated[
        str,
        # https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html
        Field(pattern=r"^[\w.:/=+@-]{1,64}$"),
        AfterValidator(_free),
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

    def may_become(self, persona: PersonaName) -> list[str]:
        """The ARNs of whose sessions may become a persona."""
        return self.trusted_as.get(persona, self.trusted or [])

    @property
    def approve_their_own(self) -> list[str]:
        """Whose sessions may become both a maker of versions and a reviewer, because nobody said who is which.

        A SAML provider is not among them: it says itself which roles a person may take. Of a whole account and one in it, it is
        the latter.
        """
        if "reviewer" not in self.roles or "reviewer" in self.trusted_as:
            return []
        makers = [arn for each in MAKERS if each in self.roles for arn in self.may_become(each)]
        reviewers = self.may_become("reviewer")
        both = [arn for arn in reviewers if any(_is_of(arn, maker) for maker in makers)]
        both += [arn for arn in makers if any(_is_of(arn, reviewer) for reviewer in reviewers)]
        return list(dict.fromkeys(arn for arn in both if not is_saml_provider(arn)))

    @model_validator(mode="after")
    def _each_is_one(self) -> Personas:
        if len(set(self.roles)) < len(self.roles):
            raise ValueError(f"roles: {', '.join(self.roles)} names one twice")
        problems = [
            ((*path,), f"{whole[0]} is a whole account, which includes its roles and users; name one or the other")
            for path, arns in self._trusts()
            if (whole := [arn for arn in arns if arn.endswith(":root")]) and len(whole) < len(arns)
        ]
        problems += [
            (("trusted_as", persona), f"there is no {persona} here (roles: {', '.join(self.roles)})")
            for persona in self.trusted_as
            if persona not in self.roles
        ]
        nobody = [persona for persona in self.roles if not self.may_become(persona)]
        if nobody:
            problems.append(
                (
                    ("trusted",),
                    f"nobody may become {', '.join(nobody)}; say trusted, for all personas, or trusted_as, for single ones",
                )
            )
        if problems:
            raise Misfit(*problems)
        return self

    @model_validator(mode="after")
    def _trust_fits(self) -> Personas:
        problems = [
            (
                path,
                f"the trust policy of a role would have {size} characters, and IAM takes {_MAX_TRUST}; name fewer, like one"
                " role that all of these may become",
            )
            for path, arns in self._trusts()
            if (size := self.trust_policy_size(arns)) > _MAX_TRUST
        ]
        if problems:
            raise Misfit(*problems)
        return self

    def _trusts(self) -> Iterable[tuple[tuple[str, ...], Sequence[str]]]:
        """Each list of who is trusted, and where it is said."""
        if self.trusted is not None:
            yield ("trusted",), self.trusted
        for persona, arns in self.trusted_as.items():
            yield ("trusted_as", persona), arns

    def trust_policy_size(self, trusted: Sequence[str]) -> int:
        """How many characters the trust policy of a persona has, at most, that these may become; white space does not count."""
        providers = any(is_saml_provider(arn) for arn in trusted)
        others = any(not is_saml_provider(arn) for arn in trusted)
        statements = 230 * providers + 180 * others + 2 * len(self.user_tag)
        return 40 + statements + sum(len(arn) + 3 for arn in trusted)


def _is_of(arn: str, other: str) -> bool:
    """Whether it is the other, or one in the account that the other is."""
    return arn == other or (other.endswith(":root") and arn.startswith(other.removesuffix("root")))


def is_saml_provider(arn: str) -> bool:
    """Whether what signs in is an identity provider, which says who somebody is and what they may become."""
    return ":saml-provider/" in arn
