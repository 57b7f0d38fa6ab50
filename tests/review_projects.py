"""Git repositories with a project whose app.py writes an assembly without the CDK, so that reviews of them take moments."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sagestack.review.assembly import Assembly
from sagestack.review.results import CostEstimate
from sagestack.review.run import Analyses
from sagestack.review.sides.synth import SynthError, Synthesizer


def write_assembly(folder: Path, context: Mapping[str, str], output: Path, variables: Sequence[str]) -> None:
    """What the project's app.py does, as a function, since starting Python takes longer.

    The settings of an environment are its resources.
    """
    name, part = context.get("env", "all"), context.get("part", "foundation")
    text = (folder / (f"environments/{name}.yaml" if part == "foundation" else f"stacks/{part}.py")).read_text()
    if text.startswith("broken"):
        print("a line before it", file=sys.stderr)
        sys.exit(f"environments/{name}.yaml: {text.strip()}")
    stack = f"sagestack-{name}-{part}"
    pins = folder / "environments/local.pins.yaml"
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    template = {
        "Resources": {} if "models" in json.loads(text) else json.loads(text),
        "Metadata": {
            "variables": sorted(variables),
            "files": sorted(file for file in files if "__pycache__" not in file),
            "pins": pins.read_text() if pins.exists() else None,
        },
    }
    (output / "asset.1").mkdir(parents=True)
    (output / "asset.1/code.py").write_text("heavy")
    (output / f"{stack}.template.json").write_text(json.dumps(template))
    artifact = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://111111111111/us-east-1",
        "properties": {"templateFile": f"{stack}.template.json"},
    }
    (output / "manifest.json").write_text(json.dumps({"artifacts": {stack: artifact}}))
    if (folder / "breaks-rules").exists():
        (output / "validation-report.json").write_text("{}")
        sys.exit("Validation failed")


APP = f"""\
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

{inspect.getsource(write_assembly)}

# As `cdk.App` reads it.
file = os.environ.get("CONTEXT_OVERFLOW_LOCATION_ENV")
context = json.loads(Path(file).read_text() if file else os.environ["CDK_CONTEXT_JSON"])
write_assembly(Path.cwd(), context, Path(os.environ["CDK_OUTDIR"]), list(os.environ))
"""


def synthesize_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are not about the program that runs app.py."""
    monkeypatch.setattr(Synthesizer, "synthesize", _synthesize_here)
    monkeypatch.setattr(Synthesizer, "synthesize_together", lambda _self, _folder, _requests: None)


def _synthesize_here(_self: Synthesizer, folder: Path, context: Mapping[str, str], output: Path) -> None:
    try:
        write_assembly(folder, context, output, ())
    except SystemExit as error:
        raise SynthError([str(error.code)]) from None


BUCKET = {"Data": {"Type": "AWS::S3::Bucket"}}


class GitProject:
    """A repository with a Sagestack project in it, or in a folder of it."""

    def __init__(self, top: Path, below: str = ".") -> None:
        self.top = top
        self.root = top / below
        self.root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.write(".gitignore", "cdk.out/\n__pycache__/\nenvironments/local.pins.yaml\n")

    def git(self, *command: str) -> str:
        # Nobody's own settings, and no repository that a hook, which runs the tests, has named.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            [
                "git",
                "-c",
                "user.name=test",
                "-c",
                "user.email=test@localhost",
                "-c",
                "protocol.file.allow=always",
                *command,
            ],
            cwd=self.top,
            env={**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, name: str, content: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def environment(self, name: str, resources: Mapping[str, Any] = BUCKET) -> Path:
        """JSON, which is YAML."""
        return self.write(f"environments/{name}.yaml", json.dumps(resources))

    def commit(self, message: str = "a change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


def make(top: Path, *environments: str, below: str = ".") -> GitProject:
    """A project with one commit."""
    project = GitProject(top, below)
    project.write("app.py", APP)
    project.write("cdk.json", json.dumps({"app": "python app.py", "context": {"flag": True}}))
    project.write("constructs/sagestack/__init__.py", "")
    # Found before the real one, which takes longer to import than all the rest.
    project.write("constructs/jsii.py", "create = None\n")
    for name in environments or ("dev",):
        project.environment(name)
    project.commit("the project")
    return project


def analyses(findings: Path | None = None, **others: Any) -> Analyses:
    """Finds nothing, but for what a test gives."""
    nothing: dict[str, Any] = {
        "changes": lambda before, after: (),
        "permissions": lambda before, after: (),
        "cost": lambda assembly: CostEstimate(),
        "price_date": "2026-11-01",
        "price_source": "a test",
        "notes": lambda before, after: (),
        "check": list,
        "compare": lambda before, after: (),
        "unneeded": lambda before, after: (),
        "pictures": lambda before, after, changes: (),
    }
    return Analyses(**{**nothing, **others})


class Seen:
    """Keeps the assemblies that a review compares, by environment."""

    def __init__(self) -> None:
        self.pairs: dict[str, tuple[Assembly | None, Assembly | None]] = {}

    def analyses(self, findings: Path) -> Analyses:
        return analyses(findings, permissions=self._look)

    def _look(self, before: Assembly | None, after: Assembly | None) -> tuple[()]:
        assembly = after or before
        assert assembly is not None
        self.pairs[assembly.environment] = (before, after)
        return ()

    def templates(self, environment: str = "dev") -> list[dict[str, Any] | None]:
        """Of the base and of the head; None where there is none."""
        return [
            None if side is None else dict(side.stacks[f"sagestack-{environment}-foundation"].template)
            for side in self.pairs[environment]
        ]
