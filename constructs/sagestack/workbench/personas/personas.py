"""The roles of all personas that an environment has, and where people find them."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import Personas
from sagestack.training_pipeline import TrainingPipeline
from sagestack.workbench.notebook_budget import deny_starts
from sagestack.workbench.personas.permissions import WorkedWith
from sagestack.workbench.personas.persona_role import PersonaRole


class PersonaRoles(Construct):
    """A role for each persona, its ARN in a parameter.

    Attributes:
        roles: by the name of the persona.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        names: EnvironmentNames,
        personas: Personas,
        worked_with: WorkedWith,
        heeds_the_mark: bool,
    ) -> None:
        """Makes the roles.

        Args:
            names: of the environment.
            personas: who may become them, and from where.
            worked_with: what there is in the environment.
            heeds_the_mark: whether nobody starts what a spent budget has stopped.
        """
        super().__init__(scope, id)
        self.roles = {
            persona: PersonaRole(
                self,
                "".join(word.capitalize() for word in persona.split("-")),
                persona=persona,
                personas=personas,
                names=names,
                worked_with=worked_with,
            )
            for persona in personas.roles
        }
        stack = cdk.Stack.of(self)
        instances = [
            stack.format_arn(
                service="sagemaker", resource="notebook-instance", resource_name=names.notebook_instance(name).lower()
            )
            for name in worked_with.owners
        ]
        for persona, role in self.roles.items():
            if instances and heeds_the_mark:
                role.add_to_policy(deny_starts(instances))
            ssm.StringParameter(
                self,
                f"{role.node.id}Parameter",
                parameter_name=names.persona_role_parameter(persona),
                string_value=role.role_arn,
            )
        if both := personas.approve_their_own:
            cdk.Annotations.of(self).add_warning_v2(
                "sagestack:approvesTheirOwn",
                f"{', '.join(both)} may become ml-engineer or data-scientist and reviewer, so whoever makes a model version may"
                " approve it. Say in workbench.personas.trusted_as who is a reviewer.",
            )

    def grant_read_scores(self, pipeline: TrainingPipeline) -> None:
        """Lets everybody see what the versions of a model scored, without which nobody can approve one.

        Args:
            pipeline: that made the versions.
        """
        for role in self.roles.values():
            pipeline.grant_read_scores(role)
