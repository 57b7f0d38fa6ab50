"""What a workflow of GitHub Actions is made of, as types: only what ours use, so that a mistake is mypy's to find.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sagestack.delivery.actions import Action

Access = Literal["read", "write"]
Scope = Literal["actions", "contents", "deployments", "id-token", "pull-requests", "security-events"]


@dataclass(frozen=True)
class Step:
    """One command line, or one action of somebody else.

    No expression (`${{ }}`) may stand in `run`: GitHub would paste its value into the script, and a branch's name may be a
    command. Values go through `env`.
    https://docs.github.com/en/actions/concepts/security/script-injections
    """

    name: str
    run: str | None = None
    uses: Action | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    condition: str | None = None
    continue_on_error: bool = False

    def __post_init__(self) -> None:
        if (self.run is None) == (self.uses is None):
            raise ValueError(f"step {self.name!r} must either run something or use an action")
        if self.run is not None and "${{" in self.run:
            raise ValueError(f"step {self.name!r} has an expression in its script; hand the value over in env")


@dataclass(frozen=True)
class Job:
    """Steps on one machine, with no more permissions than they name."""

    id: str
    name: str
    steps: Sequence[Step]
    timeout_minutes: int
    permissions: Mapping[Scope, Access]
    needs: Sequence[str] = ()
    condition: str | None = None
    environment: str | None = None
    """GitHub's environment: its reviewers are asked before the first step, and the OIDC token names it."""
    one_at_a_time: str | None = None
    """The group of which never two jobs run; the one that runs is never cancelled."""
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Workflow:
    """A file of `.github/workflows/`."""

    file: str
    name: str
    why: str
    """The comment at the top."""
    on: Mapping[str, Any]
    jobs: Sequence[Job]
    cancel_older: str | None = None
    """The group of runs in which a newer one ends an older one."""
