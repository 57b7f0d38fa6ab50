"""The roles of all personas that an environment has, and where people find them."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_ssm as ssm

from constructs import Construct
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import Personas
from sagestack.workbench.notebook import Notebook
from sagestack.workbench.notebook_budget import deny_starts
from sagestack.workbench.personas.persona_role import PersonaRole


class PersonaRoles(Construct):
    """A role for each persona, its ARN in a parameter.

    Whoever they are, they start nothing that a spent budget has stopped.

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
        models: Sequence[str],
        notebooks: Sequence[Notebook],
    ) -> None:
        """Makes the roles.

        Args:
            names: of the environment.
            personas: who may become them, and from where.
            models: of the environment, by name.
            notebooks: of the environment.
        """
        super().__init__(scope, id)
        self.roles = {
            persona: PersonaRole(
                self,
                "".join(word.capitalize() for word in persona.split("-")),
                persona=persona,
                personas=personas,
                names=names,
                models=models,
            )
            for persona in personas.roles
        }
        for persona, role in self.roles.items():
            if notebooks:
                role.add_to_policy(deny_starts([notebook.notebook_instance_arn for notebook in notebooks]))
            ssm.StringParameter(
                self,
                f"{role.node.id}Parameter",
                parameter_name=names.persona_role_parameter(persona),
                string_value=role.role_arn,
            )
