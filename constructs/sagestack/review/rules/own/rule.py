"""What a rule of our own is: a name, a reason, and a question to one resource."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sagestack.review.assembly import Assembly, Resource, StackTemplate
from sagestack.review.results import Severity


@dataclass(frozen=True)
class Around:
    """What stands around a resource: some rules need the stack, some the whole environment."""

    stack: StackTemplate
    assembly: Assembly

    def of_type(self, *types: str) -> list[Resource]:
        """The stack's resources of these types."""
        return [resource for resource in self.stack.resources.values() if resource.type in types]

    @property
    def retains(self) -> bool:
        """Whether it is an environment that is there to stay: its stacks cannot be deleted by accident."""
        return any(stack.has_termination_protection for stack in self.assembly.stacks.values())


@dataclass(frozen=True)
class Rule:
    """One thing that we ask of a resource.

    Attributes:
        name: `SAGESTACK-EndpointVolumeKey`; stands in reviews, in acceptances, and in docs/reference/rules.md.
        promise: what holds where it is kept, in a sentence.
        severity: `danger` fails the synth, too.
        link: to the AWS document that says why.
        types: the resource types that it looks at.
        broken: yields a sentence for each way in which a resource breaks it. What cannot be decided from the template (a
            parameter, another account's export) yields nothing.
    """

    name: str
    promise: str
    severity: Severity
    link: str
    types: frozenset[str]
    broken: Callable[[Resource, Around], Iterator[str]]
