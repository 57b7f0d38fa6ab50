"""`sagestack review` as a program: what it writes and where, its exit codes, and what it refuses before it spends minutes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sagestack.cli.main import app
from sagestack.review import run
from sagestack.review.results import Action, ResourceChange, Severity
from typer.testing import CliRunner, Result

from tests import review_projects
from tests.review_projects import GitProject

runner = CliRunner()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitProject:
    """A project whose bucket every review says to be lost."""
    project = review_projects.make(tmp_path / "project")
    project.write("delivery.yaml", DELIVERY.format(fail_on="[data-loss]"))
    project.commit()
    monkeypatch.chdir(project.root)
    review_projects.synthesize_in_this_process(monkeypatch)

    def changes(before: Any, after: Any) -> tuple[ResourceChange, ...]:
        bucket = (after or before).resources[0]
        return (ResourceChange(bucket, None, Action.DELETED, Severity.DANGER, data="lost"),)

    monkeypatch.setattr(run, "_real_analyses", lambda _root, _findings: review_projects.analyses(changes=changes))
    return project


DELIVERY = """\
repository: {{host: github, name: team/platform, branch: trunk}}
stages:
  - environment: dev
review:
  fail_on: {fail_on}
"""


def review(*arguments: str, base: Sequence[str] = ("--base", "main")) -> Result:
    return runner.invoke(app, ["review", *base, *arguments])


def test_what_needs_a_human_ends_with_3_after_everything_is_written(project: GitProject) -> None:
    result = review()
    assert result.exit_code == 3, result.output
    assert (project.root / "cdk.out/review/review.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert "cdk.out/review/review.html" in result.stdout
    assert "Synthesized 1, reused 0" in result.stdout


@pytest.mark.parametrize("conditions", ["never", "public-access", "cost>10%"])
def test_what_nobody_asked_about_ends_with_0(project: GitProject, conditions: str) -> None:
    assert review("--fail-on", conditions).exit_code == 0


def test_delivery_yaml_says_what_is_asked_where_the_command_does_not(project: GitProject) -> None:
    assert review().exit_code == 3
    project.write("delivery.yaml", DELIVERY.format(fail_on="[never]"))
    project.commit()
    assert review(base=("--base", "HEAD")).exit_code == 0
    (project.root / "delivery.yaml").unlink()
    project.commit()
    # By default lost data count where something is replaced; this is a deletion.
    assert review(base=("--base", "HEAD")).exit_code == 0
    assert review("--fail-on", "data-loss", base=("--base", "HEAD")).exit_code == 3


@pytest.mark.parametrize(
    ("left", "later"), [("[never]", "nothing"), ("[deletion, cost>5%]", "`deletion`, `cost>5%`"), (None, "`")]
)
def test_a_change_that_asks_about_less_is_itself_asked_about_all_of_it(
    project: GitProject, left: str | None, later: str
) -> None:
    if left is None:
        (project.root / "delivery.yaml").unlink()
    else:
        project.write("delivery.yaml", DELIVERY.format(fail_on=left))
    result = review("--json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert "data-loss" in {met["condition"] for met in found["verdict"]["met"]}
    assert "takes `data-loss` out of `review.fail_on` in delivery.yaml. This review still asks" in found["notes"][0]
    assert f"later ones will ask about {later}" in found["notes"][0]
    # Who says it on the command line means it, and is told nothing of the file.
    result = review("--json", "--fail-on", "public-access")
    assert (result.exit_code, json.loads(result.stdout)["notes"]) == (0, [])


def test_a_change_that_asks_about_more_is_asked_about_it_at_once(project: GitProject) -> None:
    project.write("delivery.yaml", DELIVERY.format(fail_on="[data-loss, deletion]"))
    found = json.loads(review("--json").stdout)
    assert (found["verdict"]["asked"], found["notes"]) == (["data-loss", "deletion"], [])


def test_a_base_whose_conditions_nobody_understands_is_said(project: GitProject) -> None:
    project.write("delivery.yaml", DELIVERY.format(fail_on="[of-another-time]"))
    project.commit()
    project.write("delivery.yaml", DELIVERY.format(fail_on="[data-loss]"))
    result = review("--json", base=("--base", "HEAD"))
    assert result.exit_code == 3
    assert "cannot be read, so only the change's counts" in json.loads(result.stdout)["notes"][0]


@pytest.mark.parametrize(
    ("host", "first"), [("github", "<!-- sagestack-review -->"), ("bitbucket", "[//]: # (sagestack-review)")]
)
def test_the_comment_is_written_for_the_host_that_it_will_be_on(project: GitProject, host: str, first: str) -> None:
    project.write("delivery.yaml", DELIVERY.format(fail_on="[never]").replace("github", host))
    comment = review("--format", "markdown", "--output", "-", "--fail-on", "never").stdout
    assert comment.splitlines()[0] == first
    assert ("<details>" in comment) == (host == "github")


def test_the_default_base_is_the_branch_that_is_deployed(project: GitProject) -> None:
    result = review(base=())
    assert result.exit_code == 1
    assert "Git knows no commit 'origin/trunk'" in result.stderr
    (project.root / "delivery.yaml").unlink()
    assert "Git knows no commit 'origin/main'" in review(base=()).stderr


def test_each_format_is_a_file_of_its_own(project: GitProject, tmp_path: Path) -> None:
    formats = [part for name in ("html", "markdown", "json", "sarif") for part in ("--format", name)]
    folder = tmp_path / "a" / "b"
    assert review(*formats, "--output", str(folder)).exit_code == 3
    assert sorted(path.name for path in folder.iterdir()) == ["review.html", "review.json", "review.md", "review.sarif"]
    assert json.loads((folder / "review.sarif").read_text())["version"] == "2.1.0"


def test_one_format_may_go_to_stdout_with_nothing_beside_it(
    project: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many set it where a log is to have colours: this is still no terminal.
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = review("--format", "json", "--output", "-")
    assert result.exit_code == 3
    assert json.loads(result.stdout)
    assert not (project.root / "cdk.out/review").exists()


def test_json_is_the_review_and_nothing_else(project: GitProject) -> None:
    result = review("--json", "--format", "json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == json.loads((project.root / "cdk.out/review/review.json").read_text())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--output", "-", "--format", "html", "--format", "json"),
        ("--output", "-", "--json"),
        ("--format", "pdf"),
        ("--fail-on", "dataloss"),
        ("--fail-on", ""),
    ],
    ids=" ".join,
)
def test_a_command_line_that_cannot_be_meant_ends_with_2(project: GitProject, arguments: tuple[str, ...]) -> None:
    assert review(*arguments).exit_code == 2
    assert not (project.root / "cdk.out").exists()


def test_an_unknown_condition_is_told_with_what_comes_near(project: GitProject) -> None:
    result = review("--fail-on", "dataloss", "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert "did you mean 'data-loss'?" in error["message"]
    assert error["code"] == "usage"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("pdf", "'pdf' is not a format (allowed: html, markdown, json, sarif)."),
        ("htm", "'htm' is not a format; did you mean 'html'? (allowed: html, markdown, json, sarif)."),
    ],
)
def test_an_unknown_format_is_told_with_those_that_there_are(project: GitProject, wanted: str, says: str) -> None:
    error = json.loads(review("--format", wanted, "--json").stdout)["error"]
    assert (error["code"], error["message"]) == ("usage", f"Invalid value for '--format' / '-f': {says}")


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_synthesized(
    project: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("file", "")
    result = review("--output", "file/below")
    assert (result.exit_code, "is not a folder" in result.stderr) == (1, True)
    # As root may write everywhere, this is asked of the system in its place.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    result = review("--output", "elsewhere")
    assert (result.exit_code, "cannot be written to" in result.stderr) == (1, True)
    assert not (project.root / "cdk.out").exists()


def test_a_side_that_does_not_synthesize_ends_with_1_and_writes_nothing(project: GitProject) -> None:
    project.write("environments/dev.yaml", "broken: just now")
    result = review("--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "synth-failed"
    assert error["failed"] == [
        {"side": "head", "environment": "dev", "said": ["environments/dev.yaml: broken: just now"]}
    ]
    assert not (project.root / "cdk.out/review").exists()


def test_an_older_report_stays_whole_where_a_new_one_cannot_be_made(
    project: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagestack.review.render import html, markdown

    review()
    old = (project.root / "cdk.out/review/review.html").read_text()

    def broken(_review: Any) -> str:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(html, "to_html", lambda _review: "new")
    monkeypatch.setattr(markdown, "to_markdown", broken)
    assert review("--format", "html", "--format", "markdown").exit_code == 1
    folder = project.root / "cdk.out/review"
    assert [path.name for path in folder.iterdir()] == ["review.html"]
    assert (folder / "review.html").read_text() == old


def test_environments_may_be_chosen(project: GitProject) -> None:
    project.environment("prod")
    project.commit()
    found = json.loads(review("--json", "--env", "prod").stdout)
    assert [each["environment"] for each in found["environments"]] == ["prod"]
    result = review("--env", "prodd")
    assert result.exit_code == 1
    assert "did you mean 'prod'?" in result.stderr
