"""Which commit an environment has, by GitHub's own record of it, and that no run takes it back to an older one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sagestack.cli import hosted_repository
from sagestack.cli.errors import CliError
from sagestack.cli.github_deployments import deployed_commit
from sagestack.cli.main import app
from typer.testing import CliRunner

from tests.cli_fakes import make_project
from tests.git_repositories import NAME, git
from tests.test_delivery_settings import GOOD
from tests.test_promotion_by_pull_request import CI
from tests.workflow_tokens import TokenGate, opened

runner = CliRunner()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three commits; the second is checked out."""
    root = make_project(tmp_path_factory.mktemp("deployed") / "p")
    (root / "delivery.yaml").write_text(GOOD.partition("  - environment: prod")[0].replace("my-team/my-platform", NAME))
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    for message in ("first", "second", "third"):
        git(root, "commit", "--quiet", "--allow-empty", "--message", message)
        git(root, "tag", message)
    git(root, "checkout", "--quiet", "--detach", "second")
    return root


@pytest.fixture
def root(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def gate(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenGate]:
    """GitHub, with a job's token that reads deployments."""
    for variable in (*CI, "SAGESTACK_GIT_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(hosted_repository, "FIRST_WAIT_S", 0.0)
    with opened("http://127.0.0.1:9", "host") as gate:
        monkeypatch.setenv("SAGESTACK_GIT_API_URL", gate.url)
        monkeypatch.setenv("GITHUB_TOKEN", gate.issue({"deployments": "read"}))
        yield gate


def _deployed(gate: TokenGate, root: Path, of: str, *states: str, environment: str = "dev") -> None:
    commit = git(root, "rev-parse", of) if not of.startswith("0") else of
    gate.deploy(environment, commit)["statuses"] += [{"state": state} for state in states]


def _said(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = runner.invoke(app, ["delivery", "deployed", "--env", "dev", *arguments, "--json"])
    assert result.exit_code == code, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_it_is_the_newest_that_succeeded(root: Path, gate: TokenGate) -> None:
    assert _said() == {"environment": "dev", "commit": None}
    _deployed(gate, root, "first", "success", "inactive")
    _deployed(gate, root, "third", "success", environment="prod")
    _deployed(gate, root, "second", "in_progress", "failure")
    assert _said()["commit"] == git(root, "rev-parse", "first")
    plain = runner.invoke(app, ["delivery", "deployed", "--env", "dev"])
    assert plain.stdout == f"{git(root, 'rev-parse', 'first')}\n"


@pytest.mark.long
def test_it_is_found_behind_many_that_failed(root: Path, gate: TokenGate) -> None:
    _deployed(gate, root, "first", "success")
    for _ in range(101):
        _deployed(gate, root, "0" * 40, "failure")
    assert _said()["commit"] == git(root, "rev-parse", "first")


@pytest.mark.parametrize(
    ("deployed", "code"), [("first", 0), ("second", 0), ("third", 1)], ids=["older", "the-same", "newer"]
)
def test_what_is_older_than_the_environment_is_refused(root: Path, gate: TokenGate, deployed: str, code: int) -> None:
    _deployed(gate, root, deployed, "success")
    told = _said("--refuse-older", code=code)
    if code:
        assert git(root, "rev-parse", "third") in told["error"]["message"]
        assert "`git revert`" in told["error"]["hint"]


def test_a_commit_that_was_forced_away_keeps_nobody_from_deploying(root: Path, gate: TokenGate) -> None:
    _deployed(gate, root, "0" * 40, "success")
    result = runner.invoke(app, ["delivery", "deployed", "--env", "dev", "--refuse-older"])
    assert result.exit_code == 0
    assert "forced away" in result.stderr


def test_a_shallow_clone_cannot_say_which_is_older(
    root: Path, gate: TokenGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _deployed(gate, root, "third", "success")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{root}", "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    error = _said("--refuse-older", code=1)["error"]
    assert "shallow clone" in error["message"]
    assert "fetch-depth: 0" in error["hint"]


def test_what_cannot_be_asked_is_told(root: Path, gate: TokenGate, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = runner.invoke(app, ["delivery", "deployed", "--env", "prod"])
    assert (unknown.exit_code, "no stage of delivery.yaml (stages: dev)" in unknown.stderr) == (1, True)
    monkeypatch.setenv("GITHUB_TOKEN", gate.issue({"contents": "write"}))
    assert "needs Deployments: read" in _said(code=1)["error"]["hint"]
    hosted = hosted_repository.open_repository(root)
    with pytest.raises(CliError) as elsewhere:
        deployed_commit(replace(hosted, kind="gitlab"), "dev")
    assert "/sagestack/delivery/dev/deployed-commit" in (elsewhere.value.hint or "")


@pytest.mark.parametrize("host", ["gitlab", "bitbucket"])
def test_a_host_without_deployments_is_told_before_a_token_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    root = make_project(tmp_path / "p")
    settings = GOOD.partition("  - environment: prod")[0].replace("host: github", f"host: {host}")
    (root / "delivery.yaml").write_text(settings)
    for variable in ("SAGESTACK_GIT_TOKEN", "GITLAB_TOKEN", "BITBUCKET_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(root)
    error = _said(code=1)["error"]
    assert error["message"] == f"my-team/my-platform is on {host}, which keeps no deployments of environments."
    assert "/sagestack/delivery/dev/deployed-commit" in error["hint"]
