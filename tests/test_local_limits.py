"""What this machine's local cloud cannot run is refused before a deployment, not half a minute into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sagestack.cli.errors import CliError
from sagestack.cli.local_limits import refuse_scripts_without_engine

from tests import cli_fakes

WORKBENCH = """
workbench:
  network: {cidr: 10.42.0.0/22}
  lifecycle_configs: {standard: {auto_stop: {idle_minutes: 60}}}
  notebooks:
    plain: {instance_type: ml.t3.medium}
    scripted: {instance_type: ml.t3.medium, lifecycle_config: standard}
"""
ASKED = {"NotebookInstanceName": "sagestack-local-scripted"}


def _session(tmp_path: Path, runner: str, workbench: str = WORKBENCH) -> cli_fakes.FakeSession:
    root = cli_fakes.make_project(tmp_path / "p")
    file = root / "environments/local.yaml"
    file.write_text(file.read_text() + workbench)
    session = cli_fakes.FakeSession(root)
    session.cloud = cli_fakes.local_cloud(runner=runner)
    return session


def test_a_new_notebook_with_scripts_is_refused_where_no_engine_answers(tmp_path: Path) -> None:
    session = _session(tmp_path, "process")
    session.refuse("sagemaker", "describe_notebook_instance", "ValidationException", "RecordNotFound")
    with pytest.raises(CliError, match=r"environments/local\.yaml: scripted\)") as refused:
        refuse_scripts_without_engine(session)
    assert "Start Docker" in (refused.value.hint or "")


def test_one_that_is_deployed_holds_nothing_up(tmp_path: Path) -> None:
    session = _session(tmp_path, "process")
    stopped = {"NotebookInstanceStatus": "Stopped", "InstanceType": "ml.t3.medium"}
    session.answer("sagemaker", "describe_notebook_instance", stopped, ASKED)
    refuse_scripts_without_engine(session)


@pytest.mark.parametrize(
    ("runner", "workbench"),
    [("docker", WORKBENCH), ("process", ""), ("process", WORKBENCH.replace(", lifecycle_config: standard", ""))],
    ids=["an engine answers", "no workbench", "no scripts"],
)
def test_nobody_is_asked_where_nothing_can_be_wrong(tmp_path: Path, runner: str, workbench: str) -> None:
    refuse_scripts_without_engine(_session(tmp_path, runner, workbench))
