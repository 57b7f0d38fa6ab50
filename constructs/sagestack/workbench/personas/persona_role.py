"""The role that a person becomes to do one kind of work."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.personas import PersonaName, Personas
from sagestack.workbench.personas.permissions import PersonaPermissions


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
        models: Sequence[str],
    ) -> None:
        """Makes the role.

        Args:
            persona: which of the four.
            personas: who may become it, and from where.
            names: of the environment.
            models: of the environment, by name.
        """
        super().__init__(
            scope,
            id,
            description=f"What the {persona.replace('-', ' ')} of {names.environment} may do",
            assumed_by=_trusted(personas),
            max_session_duration=cdk.Duration.hours(personas.session_hours),
        )
        for statement in PersonaPermissions(cdk.Stack.of(self), names, personas, models).of(persona):
            self.add_to_policy(statement)


def _trusted(personas: Personas) -> iam.IPrincipal:
    providers = [arn for arn in personas.trusted if ":saml-provider/" in arn]
    others = [arn for arn in personas.trusted if arn not in providers]
    tag = f"aws:RequestTag/{personas.user_tag}"
    principals: list[iam.PrincipalBase] = [
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
        principals.append(
            iam.SessionTagsPrincipal(
                iam.CompositePrincipal(*(iam.ArnPrincipal(arn) for arn in others)).with_conditions(
                    # Who is nobody by a tag of their own could call themselves anybody.
                    {"StringEquals": {tag: f"${{aws:PrincipalTag/{personas.user_tag}}}"}}
                )
            )
        )
    return principals[0] if len(principals) == 1 else iam.CompositePrincipal(*principals)
