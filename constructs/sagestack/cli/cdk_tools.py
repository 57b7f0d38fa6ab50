"""Finds what deploys: the project's own Node and CDK CLI, in versions that work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sagestack.cli.errors import CliError

NODE_MAJORS = (22, 24)
"""The versions of Node that jsii supports; older ones print a banner per process, or fail."""
CLI_SERIES = "2.1148."
"""The CDK CLI that reads what our aws-cdk-lib synthesizes. npm's `latest` does not."""


@dataclass(frozen=True)
class Tools:
    """The programs that deploy."""

    node: str
    cdk: str


def check_tools(root: Path) -> Tools:
    """Finds Node and the CDK CLI, and refuses versions that would fail later and in other words.

    Raises:
        CliError: one is missing or not of a supported version; says what was found and what is needed.
    """
    path = search_path(root)
    node = shutil.which("node", path=path)
    needed = f"Needed: Node {' or '.join(map(str, NODE_MAJORS))}. `make setup` installs it into .venv."
    if node is None:
        raise CliError("There is no Node.", hint=needed, code="set-up")
    asked = subprocess.run([node, "--version"], capture_output=True, text=True, errors="replace", check=False)
    found = asked.stdout.strip()
    major = re.match(r"v(\d+)\.", found)
    if not major:
        said = (asked.stderr or asked.stdout).strip() or "nothing"
        hint = f"{needed} NODE_OPTIONS is {os.environ['NODE_OPTIONS']!r}." if "NODE_OPTIONS" in os.environ else needed
        raise CliError(
            f"`{node} --version` ended with exit code {asked.returncode} and said: {said}", hint=hint, code="set-up"
        )
    if int(major[1]) not in NODE_MAJORS:
        raise CliError(f"{node} is Node {found.lstrip('v')}.", hint=needed, code="set-up")
    cdk = root / "node_modules" / ".bin" / "cdk"
    needed = f"Needed: aws-cdk {CLI_SERIES}x, as package.json pins it. `make setup` installs it."
    try:
        package = json.loads((root / "node_modules" / "aws-cdk" / "package.json").read_text(encoding="utf-8"))
        version = str(package["version"])
    except (OSError, ValueError, KeyError):
        version = ""
    if not version or not cdk.exists():
        raise CliError(f"The CDK CLI is not installed in {root / 'node_modules'}.", hint=needed, code="set-up")
    if not version.startswith(CLI_SERIES):
        raise CliError(f"The CDK CLI in {root / 'node_modules'} is {version}.", hint=needed, code="set-up")
    return Tools(node, str(cdk))


def search_path(root: Path) -> str:
    """The `PATH` on which the project's own programs come first."""
    own = [str(root / ".venv" / "bin"), str(root / "node_modules" / ".bin")]
    return os.pathsep.join([*own, os.environ.get("PATH", os.defpath)])
