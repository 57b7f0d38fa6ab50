"""Conda environments on the volume: made once, kernels at each start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sagestack.settings.workbench.lifecycle import CondaEnvironment
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, script


@dataclass(frozen=True)
class Definition:
    """What one environment is made from.

    Attributes:
        name: of the environment and of its kernel.
        language: of the kernel, as Jupyter calls it.
        packages: what conda installs, the language itself and its kernel included.
        pips: what pip installs after that.
        channels: where conda looks, in this order; none: where the instance is set to look.
    """

    name: str
    language: Literal["python", "R"]
    packages: Sequence[str]
    pips: Sequence[str] = ()
    channels: Sequence[str] = ()

    @property
    def line(self) -> str:
        """As the script reads it. The digest is of all that changes what is in the environment, and of nothing else."""
        parts = (" ".join(self.channels), " ".join(self.packages), " ".join(self.pips))
        digest = hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]
        return "|".join((self.name, self.language, digest, *parts))


def steps(option: Mapping[str, CondaEnvironment], context: LifecycleContext) -> tuple[Step, ...]:
    """Makes what is new or was changed, in the background; a kernel that was there stays until its successor is whole."""
    definitions = [
        Definition(
            name, "python", (f"python={each.python}", "pip", "ipykernel", *each.packages), each.pip, each.channels
        )
        for name, each in option.items()
    ]
    return (step("conda-environments", "conda", definitions),)


def step(name: str, folder: str, definitions: Sequence[Definition]) -> Step:
    """The step that keeps the environments of one folder.

    Args:
        name: of the step.
        folder: below `.sagestack` on the volume. What is in it and is not defined is removed, so no two steps share one.
        definitions: all environments of the folder.
    """
    return Step(
        name,
        'exec bash -euo pipefail "$SAGESTACK_PROGRAMS/conda_environments.sh"\n',
        background=True,
        user="ec2-user",
        files={"conda_environments.sh": script("conda_environments.sh")},
        variables={"STORE": folder, "ENVIRONMENTS": "\n".join(each.line for each in definitions)},
    )
