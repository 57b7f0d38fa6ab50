"""The role that a person becomes to do one kind of work."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.personas import PersonaName, Personas, is_saml_provider
from sagestack.workbench.personas.permissions import PersonaPermissions, WorkedWith


class PersonaRole(iam.Role):
    """One of data scientist, ML engineer, reviewer and operator.

    A session of it carries a tag with the person's user name, which nobody but the identity provider, or an own tag of the same
    value, can set: so `owner` of a notebook is a matter of who somebody is, and not of what they say.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/tutorial_attribute-based-access-control.html
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        persona: PersonaName,
        personas: Personas,
        names: EnvironmentNames,
        worked_with: WorkedWith,
    ) -> None:
        """Makes the role.

        Args:
            persona: which of the four.
            personas: who may become it, and from where.
            names: of the environment.
            worked_with: what there is in the environment.
        """
        super().__init__(
            scope,
            id,
            description=f"What the {persona.replace('-', ' ')} of {names.environment} may do",
            assumed_by=_trusted(personas.may_become(persona), personas.user_tag),
            max_session_duration=cdk.Duration.hours(personas.session_hours),
        )
        for statement in PersonaPermissions(cdk.Stack.of(self), names, personas, worked_with).of(persona):
            self.add_to_policy(statement)


def _trusted(principals: Sequence[str], user_tag: str) -> iam.IPrincipal:
    providers = [arn for arn in principals if is_saml_provider(arn)]
    others = [arn for arn in principals if arn not in providers]
    tag = f"aws:RequestTag/{user_tag}"
    trusted: list[iam.PrincipalBase] = [
        iam.SessionTagsPrincipal(
            iam.FederatedPrincipal(
                arn,
                # The provider says who somebody is; without that the session begins as nobody.
                {"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}, "Null": {tag: "false"}},
                "sts:AssumeRoleWithSAML",
            )
        )
        for arn in providers
    ]
    if others:
        trusted.append(
            iam.SessionTagsPrincipal(
                iam.CompositePrincipal(*(iam.ArnPrincipal(arn) for arn in others)).with_conditions(
                    # Who is nobody by a tag of their own could call themselves anybody.
                    {"StringEquals": {tag: f"${{aws:PrincipalTag/{user_tag}}}"}}
                )
            )
        )
    return trusted[0] if len(trusted) == 1 else iam.CompositePrincipal(*trusted)
