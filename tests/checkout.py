"""A checkout of this project in a folder of its own, for tests that deploy: it has its own environments, pins and local cloud."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3
import botocore.config

from local_cloud.sagemaker import loopback_ports
from tests.git_repositories import git
from tests.local_cloud_fixtures import ROOT

INSTALLED = (".venv", ".venv-local-cloud", "node_modules")
"""What make installs; a checkout of a test borrows it, since installing it is what `make` is tested for elsewhere."""


class Checkout:
    """The working tree as git would give it, uncommitted changes included, in another folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        for name in INSTALLED:
            (folder / name).symlink_to(ROOT / name)
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "as it is"]):
            git(folder, *command)
        # Ours until this process ends, whether or not its local cloud runs.
        self.port = loopback_ports.take()

    def environment(self) -> dict[str, str]:
        """What a shell in the checkout has."""
        path = os.pathsep.join(
            [str(self.folder / ".venv/bin"), str(self.folder / "node_modules/.bin"), os.environ["PATH"]]
        )
        # The borrowed .venv knows the folder it was made for; this one's own package comes first.
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder / "constructs"), "CDK_VALIDATION": "true"}

    def run(self, *command: str, text: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout, whatever it answers."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment(), **environment},
            capture_output=True,
            text=True,
            input=text,
            timeout=220,
            check=False,
        )

    def sagestack(self, *arguments: str, exit_code: int = 0, text: str | None = None) -> Any:
        """What `sagestack ... --json` answers; it must end with that exit code."""
        result = self.run("sagestack", *arguments, "--json", text=text)
        assert result.returncode == exit_code, result.stdout + result.stderr
        return json.loads(result.stdout)

    def description(self) -> dict[str, Any]:
        """cloud.json."""
        return dict(json.loads((self.folder / ".local-cloud/cloud.json").read_text()))

    def client(self, service: str) -> Any:
        """A client of the checkout's local cloud, with the keys that `sagestack env` gives."""
        description = self.description()
        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name=description["region"],
            endpoint_url=description["endpoint_url"],
            verify=description["ca_bundle"],
            aws_access_key_id=description["access_key_id"],
            aws_secret_access_key=description["secret_access_key"],
            config=botocore.config.Config(retries={"mode": "standard", "max_attempts": 1}),
        )
