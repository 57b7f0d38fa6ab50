"""What a deployment came to, and the words for it, good or bad."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sagestack.cli.cdk_output import StackResult
from sagestack.cli.errors import CliError


@dataclass
class Deployment:
    """What one `cdk deploy` came to."""

    exit_code: int
    log: Path
    stacks: dict[str, StackResult] = field(default_factory=dict)
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    """Why resources failed, each in a line: what, and CloudFormation's words."""
    went_back: bool = False
    """Whether the stack that failed is as it was before."""

    @property
    def changed(self) -> bool:
        return any(result != "no changes" for result in self.stacks.values())


def summary(stacks: Mapping[str, StackResult]) -> str:
    """One line for all stacks."""
    changed = sum(result == "deployed" for result in stacks.values())
    if stacks and not changed:
        return "No changes: everything is as the repository says."
    # Where the CLI talked to the terminal itself, nobody counted.
    return f"Deployed {changed} of {len(stacks)} stacks" if stacks else "Deployed"


def failure(deployment: Deployment) -> CliError:
    """The error for a deployment that did not end well."""
    failed = [stack for stack, result in deployment.stacks.items() if result == "failed"]
    what = f"{', '.join(failed)} failed" if failed else "cdk deploy failed"
    if deployment.reasons:
        back = ", and is as it was before" if deployment.went_back and len(failed) == 1 else ""
        message = "\n".join([f"{what}{back}:", *(f"  {reason}" for reason in deployment.reasons)])
    else:
        refused = _refusal(deployment.log)
        message = refused or f"{what}; the end of {deployment.log}:\n{tail(deployment.log)}"
    return CliError(
        message,
        hint=f"Everything that the CDK CLI said is in {deployment.log}.",
        code="deploy-failed",
        details={
            "stacks": deployment.stacks,
            "log": str(deployment.log),
            "reasons": list(deployment.reasons),
        },
        exit_code=deployment.exit_code,
    )


def tail(path: Path, lines: int = 25) -> str:
    """The end of a log."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-lines:])


def _refusal(log: Path) -> str | None:
    """What a construct refused while the stacks were built: its own words, without the traceback that stands before them."""
    said = log.read_text(encoding="utf-8", errors="replace")
    # Of a chain of exceptions, the last one ended the program.
    _, *tracebacks = re.split(r"^Traceback \(most recent call last\):\n", said, flags=re.MULTILINE)
    if not tracebacks:
        return None
    # What called what is indented; the first line that is not has the exception.
    found = re.match(
        r"(?:[ \t][^\n]*\n)+ValueError: (.+?)(?=^\S*python\S* app\.py: |\Z)", tracebacks[-1], re.MULTILINE | re.DOTALL
    )
    return found[1].strip() if found else None
