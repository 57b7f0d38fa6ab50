"""`dev` with all that a workbench can have, synthesized once for all workers of a test run: it takes seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from cdk_nag import NIST80053R5Checks
from sagestack.guardrails import Finding, findings
from sagestack.settings import load_environment

from tests.once_per_run import once_per_run
from tests.synthesis import Templates, build, copy_project, synthesize

STACK = "sagestack-dev-workbench"

WORKBENCH = """\
workbench:
  network: {cidr: 10.42.0.0/22, availability_zones: 2, nat: true}
  lifecycle_configs:
    standard:
      auto_stop: {idle_minutes: 60}
      environment_variables: {PROJECT: churn}
      package_index:
        url: https://packages.example.org/simple
        secret_arn: arn:aws:secretsmanager:us-east-1:111111111111:secret:index-AbCdEf
      git:
        user_name: Ada
        user_email: ada@example.org
        secret_arn: arn:aws:secretsmanager:us-east-1:111111111111:secret:git-AbCdEf
        hosts: [github.com]
      mounts:
        - kind: efs
          file_system_id: fs-0123456789abcdef0
          path: /home/ec2-user/SageMaker/shared
          security_group_id: sg-0123456789abcdef0
          iam: true
        - kind: fsx-lustre
          file_system_id: fs-0123456789abcdef1
          path: /home/ec2-user/SageMaker/fast
          security_group_id: sg-0123456789abcdef1
      metrics: {interval_in_seconds: 60}
      backup: {schedule_hours: 24}
      examples: true
    steady:
      auto_stop: {idle_minutes: 120}
  notebooks:
    explore:
      instance_type: ml.t3.medium
      lifecycle_config: standard
      owner: ada
      repositories:
        - url: https://github.com/example/analysis.git
          secret_arn: arn:aws:secretsmanager:us-east-1:111111111111:secret:git-AbCdEf
          secret_key_arn: arn:aws:kms:us-east-1:111111111111:key/00000000-0000-0000-0000-000000000000
        - url: https://github.com/example/helpers.git
      grants: {models: [housing], jobs: true, read_buckets: [example-public], write_buckets: [example-results]}
      hours: {start: cron(0 8 ? * MON-FRI *), stop: cron(0 19 ? * * *), time_zone: Europe/Berlin}
    review:
      instance_type: ml.m5.xlarge
      lifecycle_config: steady
  maintenance: {days: [SUN], at: "03:00"}
  studio:
    notebook_output_sharing: true
    instance_types: [ml.t3.medium, ml.m5.large]
    user_profiles: {ada: {grants: {models: [housing], jobs: true}}, grace: {}}
    spaces: {ada-lab: {owner: ada, lifecycle_config: greeting}, team: {owner: grace, sharing: shared}}
    lifecycle_configs:
      greeting: {default: true, environment_variables: {PROJECT: churn}}
    custom_images:
      research: {image_uri: "111111111111.dkr.ecr.us-east-1.amazonaws.com/research:1.0"}
  personas:
    trusted: [arn:aws:iam::111111111111:role/people]
    source_ips: [203.0.113.0/24]
  idle_report: {emails: [ada@example.org]}
  budget: {monthly_usd: 200, emails: [ada@example.org]}
"""


@dataclass(frozen=True)
class WholeWorkbench:
    """The templates of `dev` with it, and what cdk-nag finds there, by AwsSolutions and by NIST's rules."""

    templates: Templates
    found: list[Finding]
    found_by_nist: list[Finding]

    @classmethod
    def of(cls, tmp_path_factory: pytest.TempPathFactory) -> WholeWorkbench:
        """That of this test run."""
        made = once_per_run(tmp_path_factory, "whole-workbench", lambda: _made(tmp_path_factory.mktemp("workbench")))
        found, found_by_nist = ([Finding(**each) for each in made[key]] for key in ("found", "found_by_nist"))
        return cls(Templates(made["templates"]), found, found_by_nist)


def with_workbench(root: Path, workbench: str = WORKBENCH) -> Path:
    """Gives `dev` of a project a workbench."""
    file = root / "environments/dev.yaml"
    file.write_text(file.read_text() + workbench)
    return root


def _made(target: Path) -> dict[str, Any]:
    project = with_workbench(copy_project(target / "project"))
    app = build(project, load_environment("dev", project), target / "cdk.out")
    # Before the findings: that is when references have got their final form.
    templates = synthesize(app)
    return {
        "templates": dict(templates.by_stack),
        "found": [asdict(finding) for finding in findings(app)],
        "found_by_nist": [asdict(finding) for finding in findings(app, NIST80053R5Checks)],
    }
