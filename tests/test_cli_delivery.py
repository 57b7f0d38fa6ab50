"""`sagestack delivery`, in a project of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sagestack.cli.main import app
from typer.testing import CliRunner

from tests.cli_fakes import make_project
from tests.test_delivery_settings import GOOD

runner = CliRunner()
FOLDER = Path(".github/workflows")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = make_project(tmp_path / "p")
    (root / "delivery.yaml").write_text(GOOD.partition("  - environment: prod")[0])
    monkeypatch.chdir(root)
    return root


def test_what_is_missing_is_told_and_then_written(root: Path) -> None:
    checked = runner.invoke(app, ["delivery", "check", "--json"])
    assert checked.exit_code == 3
    files = json.loads(checked.stdout)["files"]
    assert files == [
        {"path": ".github/workflows/sagestack-deploy.yml", "change": "new"},
        {"path": ".github/workflows/sagestack-review.yml", "change": "new"},
    ]
    assert not (root / FOLDER).exists()
    written = runner.invoke(app, ["delivery", "write"])
    assert written.exit_code == 0
    assert "Commit them" in written.stdout
    again = runner.invoke(app, ["delivery", "check"])
    assert (again.exit_code, again.stdout) == (0, "The workflows are as generated.\n")
    assert json.loads(runner.invoke(app, ["delivery", "write", "--json"]).stdout) == {"files": []}


def test_a_change_by_hand_is_shown(root: Path) -> None:
    runner.invoke(app, ["delivery", "write"])
    file = root / FOLDER / "sagestack-deploy.yml"
    file.write_text(file.read_text().replace("timeout-minutes: 60", "timeout-minutes: 600"))
    checked = runner.invoke(app, ["delivery", "check"])
    assert checked.exit_code == 3
    assert "changed  .github/workflows/sagestack-deploy.yml" in checked.stdout
    assert "-    timeout-minutes: 600" in checked.stdout
    assert "sagestack delivery write" in checked.stdout


def test_what_is_no_longer_generated_goes_and_others_files_stay(root: Path) -> None:
    runner.invoke(app, ["delivery", "write"])
    (root / FOLDER / "sagestack-drift.yml").write_text("name: old\n")
    (root / FOLDER / "ours.yml").write_text("name: ours\n")
    assert "removed  .github/workflows/sagestack-drift.yml" in runner.invoke(app, ["delivery", "write"]).stdout
    assert sorted(path.name for path in (root / FOLDER).iterdir()) == [
        "ours.yml",
        "sagestack-deploy.yml",
        "sagestack-review.yml",
    ]


@pytest.mark.parametrize("command", ["write", "check"])
def test_another_host_is_an_error_and_nothing_is_written(root: Path, command: str) -> None:
    (root / "delivery.yaml").write_text(GOOD.partition("  - environment: prod")[0].replace("github", "gitlab"))
    result = runner.invoke(app, ["delivery", command, "--json"])
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "settings"
    assert "gitlab" in error["message"]
    assert not (root / FOLDER).exists()
