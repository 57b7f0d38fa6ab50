"""`sagestack git-host` makes a bare repository of the project, never over something that is there, and serves it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sagestack.cli import local_git
from sagestack.cli.main import app
from typer.testing import CliRunner

from tests import cli_fakes
from tests.git_repositories import git

runner = CliRunner()
DELIVERY = "repository: {host: github, name: team/platform}\nstages: [{environment: dev}]\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = cli_fakes.make_project(tmp_path / "p")
    (root / "delivery.yaml").write_text(DELIVERY)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(local_git, "serve", lambda *arguments: calls.append(arguments))
    return calls


def committed(root: Path, branch: str = "main") -> None:
    git(root, "init", "--quiet", f"--initial-branch={branch}")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "The project")


def test_the_repository_is_made_of_what_is_committed_and_kept(root: Path, started: list[tuple[Any, ...]]) -> None:
    committed(root, "work")
    (root / "new.md").write_text("not committed\n")
    result = runner.invoke(app, ["git-host", "--port", "0"])
    assert result.exit_code == 0, result.output
    path = root / ".git-host/platform.git"
    assert started == [(path, "team/platform", "main", 0)]
    assert git(path, "rev-parse", "main") == git(root, "rev-parse", "HEAD")
    assert git(path, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(path, "remote") == ""
    assert "What is not committed in the project is not in there." in result.stderr
    assert [each.name for each in path.parent.iterdir()] == ["platform.git"]

    git(root, "commit", "--quiet", "--allow-empty", "--message", "Later")
    assert runner.invoke(app, ["git-host", "--port", "0"]).exit_code == 0
    assert git(path, "rev-parse", "main") == git(root, "rev-parse", "HEAD~1")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda root: None, "is in no git repository with a commit"),
        (lambda root: (root / ".git-host/platform.git").mkdir(parents=True), "is there and is no bare git repository"),
        (
            lambda root: git(root, "init", "--quiet", "--bare", ".git-host/platform.git"),
            "has no branch 'main', which delivery.yaml deploys",
        ),
        (
            lambda root: (root / "delivery.yaml").write_text(DELIVERY.replace("github", "gitlab")),
            "the local git host speaks GitHub's API alone",
        ),
        (lambda root: (root / "delivery.yaml").unlink(), "there is no delivery.yaml"),
    ],
    ids=["no-git", "a-folder", "no-branch", "gitlab", "no-delivery"],
)
def test_what_cannot_be_served_is_refused(root: Path, started: list[tuple[Any, ...]], prepare: Any, says: str) -> None:
    prepare(root)
    result = runner.invoke(app, ["git-host", "--port", "0"])
    assert (result.exit_code, started) == (1, [])
    assert says in result.stderr.replace("\n", " ")


def test_an_old_git_is_refused(monkeypatch: pytest.MonkeyPatch, root: Path, started: list[tuple[Any, ...]]) -> None:
    old = subprocess.CompletedProcess([], 0, stdout="git version 2.37.1\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: old)
    result = runner.invoke(app, ["git-host", "--port", "0"])
    assert (result.exit_code, started) == (1, [])
    assert "git is too old: git version 2.37.1" in result.stderr


@pytest.mark.long
def test_the_program_serves_until_it_is_told_to_stop_and_keeps_its_token(root: Path) -> None:
    committed(root)
    environment = {name: value for name, value in os.environ.items() if name != "SAGESTACK_GIT_TOKEN"}
    tokens = set()
    for number in (signal.SIGINT, signal.SIGTERM):
        command = [str(Path(sys.executable).parent / "sagestack"), "git-host", "--port", "0"]
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        try:
            said = ""
            while "git remote add" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            address = re.search(r"git remote add local (\S+)", said)
            assert address is not None
            assert git(root, "ls-remote", address[1], "refs/heads/main").split()[0] == git(root, "rev-parse", "HEAD")
            tokens.add(address[1].split("@")[0])
        finally:
            process.send_signal(number)
            assert process.wait(60) == 0
            process.stdout.close()
    assert len(tokens) == 1
