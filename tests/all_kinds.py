"""Every kind of endpoint, synthesized once for all workers of a test run: twelve models in 24 stacks take seconds."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from sagestack.guardrails import Finding, findings
from sagestack.settings import load_environment

from tests.endpoint_kinds import project_of_all_kinds
from tests.synthesis import Templates, build, synthesize


@dataclass(frozen=True)
class AllKinds:
    """`dev` with a model for each kind: its templates, and what cdk-nag finds."""

    templates: Templates
    found: list[Finding]

    @classmethod
    def of(cls, tmp_path_factory: pytest.TempPathFactory) -> "AllKinds":
        """Made by whoever asks first; the others read it, and wait for it."""
        run, own = os.environ.get("PYTEST_XDIST_TESTRUNUID"), tmp_path_factory.getbasetemp()
        with (own.parent / f"all-kinds-{run}.json" if run else own / "all-kinds.json").open("a+") as shared:
            fcntl.flock(shared, fcntl.LOCK_EX)
            shared.seek(0)
            if not (content := shared.read()):
                content = json.dumps(_made(tmp_path_factory.mktemp("kinds")))
                shared.write(content)
        made = json.loads(content)
        return cls(Templates(made["templates"]), [Finding(**each) for each in made["found"]])


def _made(target: Path) -> dict[str, Any]:
    project = project_of_all_kinds(target / "project")
    app = build(project, load_environment("dev", project), target / "cdk.out")
    # Before the findings: that is when references have got their final form.
    templates = synthesize(app)
    return {"templates": dict(templates.by_stack), "found": [asdict(finding) for finding in findings(app)]}
