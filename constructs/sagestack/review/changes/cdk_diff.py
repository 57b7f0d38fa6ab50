"""A second opinion on what is replaced: the diff that `cdk diff` prints, asked once for all stacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagestack.layout import PROJECT_ROOT
from sagestack.review.assembly import StackTemplate

_SCRIPT = Path(__file__).with_suffix(".mjs")
_SECONDS = 300
"""For a start of some two; a machine that others keep busy takes many times as long."""
_ALONE = "is said by the resource schemas alone: CDK's own diff was not heard"


@dataclass(frozen=True)
class Impact:
    """What CDK's diff says of one resource: `WILL_REPLACE`, `MAY_REPLACE`, `WILL_UPDATE`, `NO_CHANGE`, ...

    Attributes:
        properties: the same of each top-level property that differs.
    """

    impact: str
    properties: Mapping[str, str] = field(default_factory=dict)

    def properties_that(self, impact: str) -> list[str]:
        """The properties with an impact, sorted."""
        return sorted(name for name, each in self.properties.items() if each == impact)


@dataclass(frozen=True)
class SecondOpinion:
    """What CDK's diff says, by stack and logical id."""

    impacts: Mapping[str, Mapping[str, Impact]] = field(default_factory=dict)

    def of(self, stack: str, logical_id: str) -> Impact | None:
        """None where it sees no difference, or was not asked."""
        return self.impacts.get(stack, {}).get(logical_id)


_problems: list[str] = []


def problems() -> tuple[str, ...]:
    """Why CDK's diff was not heard in this process, as notes for a review; empty where it always was."""
    return tuple(_problems)


def second_opinion(pairs: Sequence[tuple[StackTemplate, StackTemplate]], root: Path = PROJECT_ROOT) -> SecondOpinion:
    """Asks `@aws-cdk/cloudformation-diff` about pairs of templates, in one process of about a second.

    Without Node or the package a review goes on with the resource schemas alone, since those know almost all of it;
    `problems` then says why.

    Args:
        pairs: the same stack before and after. With none, nothing is started.
        root: where `node_modules` is.
    """
    different = [(before, after) for before, after in pairs if before.template != after.template]
    if not different:
        return SecondOpinion()
    # The project's own Node comes first, as for the CDK CLI.
    path = os.pathsep.join([str(root / ".venv" / "bin"), os.environ.get("PATH", os.defpath)])
    node = shutil.which("node", path=path)
    if node is None:
        return _none("there is no Node")
    if not (root / "node_modules" / "@aws-cdk" / "cloudformation-diff").exists():
        return _none(f"@aws-cdk/cloudformation-diff is not installed in {root / 'node_modules'}")
    try:
        ran = subprocess.run(
            [node, str(_SCRIPT), str(root)],
            input=json.dumps([[_compared(before), _compared(after)] for before, after in different]),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        answers: list[dict[str, Any]] = json.loads(ran.stdout)
    except subprocess.TimeoutExpired:
        return _none(f"it took longer than {_SECONDS} seconds")
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        said = next((line for line in lines if "Error" in line), lines[-1] if lines else "nothing")
        return _none(f"it ended with exit code {error.returncode} and said: {said.strip()}")
    except (OSError, ValueError) as error:
        return _none(f"it could not be asked: {error}")
    impacts = {}
    for (_, after), answer in zip(different, answers, strict=True):
        if "error" in answer:
            _note(f"In stack {after.name} what is replaced {_ALONE}, since it ended with {answer['error']}.")
        else:
            impacts[after.name] = {name: Impact(**impact) for name, impact in answer["impacts"].items()}
    return SecondOpinion(impacts)


def _compared(stack: StackTemplate) -> dict[str, Any]:
    return {"Resources": stack.template.get("Resources", {})}


def _none(why: str) -> SecondOpinion:
    _note(f"What is replaced {_ALONE}, since {why}. `make setup` installs what it needs.")
    return SecondOpinion()


def _note(problem: str) -> None:
    if problem not in _problems:
        _problems.append(problem)
