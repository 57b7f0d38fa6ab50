"""Assembles parameters and steps into the JSON that SageMaker runs."""

import copy
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sagestack.pipeline.checks import find_mistakes
from sagestack.pipeline.errors import PipelineError
from sagestack.pipeline.parameters import Parameter
from sagestack.pipeline.plain import to_plain
from sagestack.pipeline.steps import Step
from sagestack.pipeline.tokens import has_tokens

if TYPE_CHECKING:
    import aws_cdk as cdk

SCHEMA_VERSION = "2020-12-01"


class PipelineDefinition:
    """A checked pipeline definition (schema version 2020-12-01).

    Everything that can be known offline is checked here, and every mistake is in the one PipelineError that is
    raised: references, argument shapes, order, parameters. Steps inside the branches of a condition step are not
    listed again. The same program gives the same bytes.
    """

    def __init__(self, *, parameters: Sequence[Parameter] = (), steps: Sequence[Step]) -> None:
        mistakes: list[str] = []
        definition: dict[str, object] = {
            "Version": SCHEMA_VERSION,
            "Metadata": {},
            "Parameters": [
                _members(parameter.declaration(), f'Parameter "{parameter.name}"', mistakes) for parameter in parameters
            ],
            "Steps": [_members(step.to_request(), f'Step "{step.name}"', mistakes) for step in steps],
        }
        if not mistakes:  # the checks read JSON, so there must be some
            mistakes = find_mistakes(definition)
        if mistakes:
            raise PipelineError(mistakes)
        self._definition = definition

    def to_dict(self) -> dict[str, object]:
        """The definition as plain dicts and lists. CDK tokens are still in it."""
        return copy.deepcopy(self._definition)

    def to_json(self, stack: "cdk.Stack | None" = None) -> str:
        """The definition as JSON text, for `PipelineDefinitionBody`.

        With a stack, CDK tokens become what CloudFormation fills in (`Fn::Join`, `Ref`). Without one, raises
        PipelineError if there are any.
        """
        if stack is not None:
            return stack.to_json_string(self._definition)
        if has_tokens(self._definition):
            raise PipelineError(["The definition holds CDK tokens, which only a stack can resolve: to_json(stack)"])
        return json.dumps(self._definition)


def _members(request: dict[str, object], where: str, mistakes: list[str]) -> dict[str, object]:
    return {member: to_plain(value, f"{where}: {member}", mistakes) for member, value in request.items()}
