"""What a look for drift found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Difference:
    """One property that is not as it was deployed; None where it is not there."""

    property: str
    deployed: Any
    found: Any


@dataclass(frozen=True)
class Drifted:
    """One resource that somebody changed or deleted outside of CloudFormation.

    Attributes:
        path: of its construct, where the project still has it; the logical id otherwise.
        physical_id: its name or ARN in the account.
        seen_by: who noticed: CloudFormation's drift detection, or this command asking the service itself.
        detail: who and when, where the service says so.
    """

    stack: str
    logical_id: str
    path: str
    type: str
    physical_id: str
    kind: Literal["changed", "deleted"]
    seen_by: Literal["CloudFormation", "sagestack"]
    differences: tuple[Difference, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class Undeployed:
    """One resource whose deployed template is not what git says: not deployed yet, or deployed from elsewhere."""

    stack: str
    path: str
    type: str
    action: str


@dataclass(frozen=True)
class StackReport:
    """One stack.

    Attributes:
        status: as CloudFormation gives it; None for a stack that git has and the account has not.
        unchecked: types and how many resources of each nobody can check.
        problem: why the stack could not be looked at; None where it was.
    """

    stack: str
    status: str | None
    drifted: tuple[Drifted, ...] = ()
    undeployed: tuple[Undeployed, ...] = ()
    unchecked: dict[str, int] = dataclasses.field(default_factory=dict)
    checked: int = 0
    problem: str | None = None
    is_unknown_to_git: bool = False

    @property
    def differs(self) -> bool:
        return bool(self.drifted or self.undeployed or self.is_unknown_to_git or self.status is None)

    @property
    def is_as_in_git(self) -> bool:
        """Nothing differs, and that is known."""
        return not (self.differs or self.problem)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
