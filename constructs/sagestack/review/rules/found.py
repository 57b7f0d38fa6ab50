"""What a checker says about one template, before anybody compares two sides."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.results import Severity

NOT_CHECKED = "not-checked"
"""The rule's name where a tool could not read a template: said, instead of a silence that looks like approval."""


@dataclass(frozen=True)
class Found:
    """One rule, broken in one template.

    Attributes:
        tool: one of `rule_tools`.
        logical_id: None for what is about the template as a whole.
        link: where the rule is explained; None where there is no such page.
    """

    tool: str
    rule: str
    logical_id: str | None
    severity: Severity
    message: str
    link: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Found:
        return cls(**{**document, "severity": Severity(document["severity"])})


@dataclass(frozen=True)
class Checked:
    """An assembly, and what was found in it, by stack name."""

    assembly: Assembly
    found: dict[str, tuple[Found, ...]]

    def resource(self, stack: str, found: Found) -> Resource | None:
        """What a finding of a stack is about; None for the stack itself."""
        return self.assembly.stacks[stack].resources.get(found.logical_id or "")

    def path(self, stack: str, found: Found) -> str:
        """The construct's path, the stack included, as acceptances name it."""
        resource = self.resource(stack, found)
        return f"{stack}/{resource.path}" if resource else stack

    def acknowledged(self, stack: str, found: Found) -> str | None:
        """Why the code of its construct, or of one around it, accepts a finding; None where it does not."""
        parts = self.path(stack, found).split("/")[1:]
        places = ("/".join(parts[:end]) for end in range(len(parts), -1, -1))
        rules = self.assembly.stacks[stack].acknowledged
        return next((rules[place][found.rule] for place in places if found.rule in rules.get(place, {})), None)
