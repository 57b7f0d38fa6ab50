"""Runs the bash of lifecycle steps on a machine that has what a notebook instance has, as far as tests say."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from sagestack.settings.names import EnvironmentNames
from sagestack.settings.workbench.lifecycle import LifecycleOptions
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.options import steps_of
from sagestack.workbench.lifecycle.steps import Step

CONTEXT = LifecycleContext(names=EnvironmentNames("dev"), region="eu-central-1", artifact_bucket="artifacts")
SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:team/git-AbCdEf"


def steps(**options: object) -> dict[str, Step]:
    """The steps of a lifecycle config, by name."""
    return {step.name: step for step in steps_of(LifecycleOptions.model_validate(options), CONTEXT)}


@dataclass
class Instance:
    """A folder that is a notebook instance to a step.

    `command` puts a program where it is found before the machine's own; each call of it is in `calls`.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in ("bin", "home", "volume/.sagestack", "programs", "run", "conda/envs"):
            (self.root / folder).mkdir(parents=True)
        for name in ("conda/bin/conda", "conda/envs/python3/bin/python", "conda/envs/JupyterSystemEnv/bin/python"):
            self.command(name, "")
        self.command("conda/envs/JupyterSystemEnv/bin/jupyter", "")

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def store(self) -> Path:
        """`.sagestack` on the volume."""
        return self.root / "volume" / ".sagestack"

    def command(self, name: str, text: str) -> None:
        """A program that records its words, and then does what the text says; one with a slash in its name is there alone."""
        path = self.root / (name if "/" in name else f"bin/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "{path.name} $*" >>{self.root}/calls\n{text}\n')
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def forget(self) -> None:
        (self.root / "calls").unlink(missing_ok=True)

    def run(self, step: Step, **environment: str) -> tuple[int, str]:
        """Exit code and output of a step, as the runner starts it."""
        for name, text in step.files.items():
            # Whole: a step that another thread runs may be reading the file.
            new = self.root / "programs" / f"{name}.{threading.get_ident()}"
            new.write_text(text)
            new.replace(self.root / "programs" / name)
        given = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "HOME": str(self.home),
            "SAGESTACK_VOLUME": str(self.root / "volume"),
            "SAGESTACK_HOME": str(self.store),
            "SAGESTACK_PROGRAMS": str(self.root / "programs"),
            "SAGESTACK_RUN": str(self.root / "run"),
            "SAGESTACK_CONDA": str(self.root / "conda"),
            "SAGESTACK_USER": "nobody-of-this-name",
            "SAGESTACK_USER_HOME": str(self.home),
            "SAGESTACK_PYTHON": sys.executable,
            **step.variables,
            **self.environment,
            **environment,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail"],
            input=step.script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=given,
            timeout=120,
        )
        return done.returncode, done.stdout
