"""Options of lifecycle configs for tests: one sample of each, and what runs their scripts on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sagestack.settings.names import EnvironmentNames
from sagestack.settings.workbench.lifecycle import LifecycleOptions
from sagestack.workbench.lifecycle.composer import Script, compose
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.options import environment_of, steps_of
from sagestack.workbench.lifecycle.steps import Hook, Step

from tests.waiting import wait_for

_SECRET = "arn:aws:secretsmanager:us-east-1:111111111111:secret:index-AbCdEf"

SAMPLES: dict[str, Any] = {
    "fips": True,
    "environment_variables": {"PROJECT": "churn"},
    "proxy": {"http": "http://proxy.example.org:3128", "no_proxy": [".example.org"]},
    "auto_stop": {"idle_minutes": 60},
    "package_index": {"url": "https://packages.example.org/simple", "secret_arn": _SECRET},
    "git": {"user_name": "Ada", "user_email": "ada@example.org"},
    "mounts": [{"kind": "efs", "file_system_id": "fs-0123456789abcdef0", "path": "/home/ec2-user/SageMaker/shared"}],
    "backup": {"schedule_hours": 24},
    "examples": True,
    "conda_environments": {"research": {"python": "3.12", "packages": ["pandas"]}},
    "packages": [{"manager": "pip", "kernel": "python3", "packages": ["xgboost-cpu==3.2.0"]}],
    "r_kernel": True,
    "extensions": {"pip": ["jupyterlab-git==0.51.2"]},
    "metrics": {"interval_in_seconds": 60},
    "scripts": [],
    "run_notebook": {"path": "examples/explore-the-data.ipynb"},
}

CONTEXT = LifecycleContext(
    names=EnvironmentNames("dev"),
    region="us-east-1",
    artifact_bucket="artifacts-bucket",
    examples_url="s3://assets-bucket/examples.zip",
)


def options(*names: str, **values: Any) -> LifecycleOptions:
    """Options with the samples of these names, and with these values."""
    return LifecycleOptions.model_validate({**{name: SAMPLES[name] for name in names}, **values})


def composed(chosen: LifecycleOptions, hook: Hook, published: list[str] | None = None) -> Script:
    """The script of a hook; what does not fit is put into `published`."""
    return compose(
        "standard",
        hook,
        steps_of(chosen, CONTEXT),
        exported=CONTEXT.exported,
        environment=environment_of(chosen, CONTEXT),
        publish=_into(published if published is not None else []),
    )


def _into(published: list[str]) -> Callable[[str], str]:
    def publish(text: str) -> str:
        published.append(text)
        return "s3://assets-bucket/steps.sh"

    return publish


class Machine:
    """A folder that stands for an instance, on which scripts really run."""

    def __init__(self, folder: Path, user: str) -> None:
        self.folder, self.user = folder, user
        self.volume, self.home, self.run_folder = folder / "volume", folder / "volume/.sagestack", folder / "run"
        self.bin, self.programs = folder / "bin", folder / "programs"
        self.volume.mkdir()
        self.bin.mkdir()
        self.settings = {
            "SAGESTACK_VOLUME": str(self.volume),
            "SAGESTACK_PROGRAMS": str(self.programs),
            "SAGESTACK_RUN": str(self.run_folder),
            "SAGESTACK_PROFILE": str(folder / "profile.d"),
            "SAGESTACK_METADATA": str(folder / "metadata.json"),
            "SAGESTACK_CONDA": str(folder / "no-conda"),
            "SAGESTACK_SYSTEMD": str(folder / "no-systemd"),
            "SAGESTACK_CRON": str(folder / "no-cron"),
            "SAGESTACK_USER": user,
            "SAGESTACK_BIN": str(self.bin),
            "SAGESTACK_PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "SAGESTACK_PUBLISH_EVERY": "0.1",
            "SAGESTACK_FETCH_EVERY": "0.2",
            # As SageMaker sets it.
            "PATH": "/sbin:bin:/usr/sbin:/usr/bin:/bin",
        }
        arn = "arn:aws:sagemaker:us-east-1:111111111111:notebook-instance/sagestack-dev-explore"
        (folder / "metadata.json").write_text(json.dumps({"ResourceArn": arn, "ResourceName": "sagestack-dev-explore"}))

    def command(self, name: str, script: str) -> None:
        """Puts a program of this name before those of the machine."""
        (self.bin / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.bin / name).chmod(0o755)

    def run(self, script: Script, timeout_s: float = 200) -> subprocess.CompletedProcess[str]:
        """Runs a script as SageMaker would."""
        file = self.folder / "hook.sh"
        file.write_text(script.text)
        return subprocess.run(
            ["/bin/bash", str(file)],
            env=self.settings,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def run_steps(
        self, steps: Iterable[Step], hook: Hook = "start", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        exported = {"SAGESTACK_INSTANCE_PREFIX": "sagestack-dev-", "AWS_REGION": "us-east-1"}
        return self.run(compose("standard", hook, list(steps), exported=exported, environment=environment or {}))

    def status(self, folder: Path | None = None) -> dict[str, Any]:
        steps: dict[str, Any] = json.loads(((folder or self.home) / "status.json").read_text())["steps"]
        return steps

    def states(self, folder: Path | None = None) -> dict[str, str]:
        try:
            return {name: step["state"] for name, step in self.status(folder).items()}
        except FileNotFoundError:
            return {}

    def wait_for(self, *names: str) -> dict[str, str]:
        """Waits until these steps have ended; gives the states of all."""
        wait_for(
            lambda: all(self.states().get(name) in ("succeeded", "failed") for name in names), what=f"{names} go on"
        )
        return self.states()

    def log(self, name: str) -> str:
        """What is in the log on the volume; nothing where there is none yet."""
        file = self.home / "log" / f"{name}.log"
        return file.read_text() if file.exists() else ""
