"""Every kind of endpoint, synthesized once for all workers of a test run: twelve models in 24 stacks take seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from cdk_nag import NIST80053R5Checks
from sagestack.guardrails import Finding, findings
from sagestack.settings import load_environment

from tests.endpoint_kinds import project_of_all_kinds
from tests.once_per_run import once_per_run
from tests.synthesis import Templates, build, synthesize


@dataclass(frozen=True)
class AllKinds:
    """`dev` with a model for each kind: its templates, and what cdk-nag finds, by AwsSolutions and by NIST's rules."""

    templates: Templates
    found: list[Finding]
    found_by_nist: list[Finding]

    @classmethod
    def of(cls, tmp_path_factory: pytest.TempPathFactory) -> AllKinds:
        """Those of this test run."""
        made = once_per_run(tmp_path_factory, "all-kinds", lambda: _made(tmp_path_factory.mktemp("kinds")))
        found, found_by_nist = ([Finding(**each) for each in made[key]] for key in ("found", "found_by_nist"))
        return cls(Templates(made["templates"]), found, found_by_nist)


def _made(target: Path) -> dict[str, Any]:
    project = project_of_all_kinds(target / "project")
    app = build(project, load_environment("dev", project), target / "cdk.out")
    # Before the findings: that is when references have got their final form.
    templates = synthesize(app)
    return {
        "templates": dict(templates.by_stack),
        "found": [asdict(finding) for finding in findings(app)],
        "found_by_nist": [asdict(finding) for finding in findings(app, NIST80053R5Checks)],
    }
