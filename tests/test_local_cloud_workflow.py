"""The generated workflows, run against the local cloud: from a pull request to prod, and back by a revert."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.delivered_project import STAGES, WORKFLOWS, DeliveredProject, delivered
from tests.git_repositories import TOKEN, git
from tests.housing_runs import ROW_CSV
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for
from tests.workflow_events import Event, push, schedule

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1200)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeliveredProject]:
    # Nothing here is about how long the cloud takes.
    monkeypatch.setenv("SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR", "240")
    cloud = LocalCloud(tmp_path / "local-cloud")
    cloud.start()
    try:
        with delivered(tmp_path, cloud) as project:
            yield project
    finally:
        cloud.stop()


def test_from_a_pull_request_to_prod_and_back_by_a_revert(project: DeliveredProject, tmp_path: Path) -> None:
    nobody_becomes_what_is_not_theirs(project)
    a_small_change_needs_no_human_and_goes_as_far_as_it_may(project)
    a_version_goes_to_prod_by_pull_requests(project, tmp_path)
    a_second_one_goes_and_a_revert_takes_prod_back(project, tmp_path)
    what_comes_after_a_newer_one_is_refused(project)
    what_is_changed_by_hand_is_found(project)
    assert project.runner.not_run == {"make test", "make lint"}
    # Who it is, the comment's job asks; a token of a job is not told, and so it looks for the bot's comment.
    assert set(project.runner.gate.refused) == {"GET /user: no job may"}


def nobody_becomes_what_is_not_theirs(project: DeliveredProject) -> None:
    """By the trust policies that the bootstrap made: a job gets its own environment's role, on the deployed branch, or none."""
    repository = project.host.repository.path
    main = push(repository, git(repository, "rev-parse", "main"))
    asking = Event("pull_request", "refs/pull/1/merge", main.sha, {}, "main", "topic")
    deploy = YAML(typ="safe").load((project.work / WORKFLOWS / "sagestack-deploy.yml").read_text())
    [step] = [each for each in deploy["jobs"]["dev"]["steps"] if each["name"] == "Get credentials"]

    def becomes(role: str, event: Event, environment: str | None = "dev", id_token: str = "write") -> tuple[str, str]:
        """The result of a job, and its words, that only gets credentials, as the workflow does, for another role."""
        own, theirs = step["with"]["role-to-assume"], f"role/sagestack/{role}"
        inputs = {**step["with"], "role-to-assume": own.replace("role/sagestack/sagestack-dev-github", theirs)}
        job = {
            **{key: deploy["jobs"]["dev"][key] for key in ("name", "runs-on", "timeout-minutes")},
            **({"environment": environment} if environment else {}),
            "permissions": {"id-token": id_token},
            "steps": [{**step, "with": inputs}],
        }
        on = {"push": {"branches": ["main"]}, "pull_request": {"branches": ["main"]}}
        # JSON is YAML.
        run = project.runner.run(json.dumps({**deploy, "on": on, "jobs": {"get": job}}), event)
        return run.jobs["get"].result, run.jobs["get"].log

    assert becomes("sagestack-dev-github", main)[0] == "success"
    assert becomes("sagestack-dev-github-drift", main, environment=None)[0] == "success"
    for role, event, environment in (
        ("sagestack-prod-github", main, "dev"),
        ("sagestack-prod-github", main, None),
        ("sagestack-prod-github", asking, None),
        ("sagestack-prod-github-drift", asking, None),
        ("sagestack-dev-github-drift", main, "dev"),
    ):
        result, said = becomes(role, event, environment)
        assert result == "failure", (role, event.name, environment)
        assert "Not authorized to perform sts:AssumeRoleWithWebIdentity" in said
    assert "Did you mean to set id-token" in becomes("sagestack-dev-github", main, id_token="none")[1]
    assert "not allowed to deploy to prod" in becomes("sagestack-prod-github", asking, "prod")[1]


def a_small_change_needs_no_human_and_goes_as_far_as_it_may(project: DeliveredProject) -> None:
    project.commit("Keep less of dev's logs", {"environments/dev.yaml": ("access_log_days: 30", "access_log_days: 14")})
    number = project.propose("less-logs", "Keep less of dev's logs")

    run = project.reviewed(number)
    assert set(run.results.values()) == {"success"}, logs(run)
    [comment] = project.comments(number)
    assert comment.startswith("<!-- sagestack-review -->")
    assert "## " in comment
    assert {path.name for path in (run.kept / "artifacts/review").iterdir()} == {
        "review.html", "review.md", "review.sarif",
    }  # fmt: skip
    assert (
        json.loads((run.kept / "findings/sagestack-review/of.json").read_text())["ref"] == f"refs/pull/{number}/merge"
    )
    assert comment.strip() in run.jobs["review"].summary

    project.answers["prod"] = False
    run = project.merged(number)
    assert run.asked == ["staging", "prod"]
    assert run.results == {
        "what-would-change": "success",
        "dev": "success",
        "promote-dev": "success",
        "staging": "success",
        "promote-staging": "success",
        "prod": "failure",
    }, logs(run)
    assert run.jobs["prod"].why == "The deployment to prod was rejected"
    assert run.jobs["prod"].steps == []
    assert run.jobs["dev"].subject == "repo:team/platform:environment:dev"
    assert run.jobs["promote-dev"].subject is None
    stacks = project.stacks()
    assert {f"sagestack-{name}-housing-training" for name in ("dev", "staging")} <= stacks
    assert not any(name.startswith("sagestack-prod-") for name in stacks - {"sagestack-prod-bootstrap"})


def a_version_goes_to_prod_by_pull_requests(project: DeliveredProject, tmp_path: Path) -> None:
    project.sagestack("run", "--env", "dev")
    project.sagestack("approve", "1", "--env", "dev")
    pulls = wait_for(project.pulls, 60)
    assert list(pulls) == ["sagestack/dev-housing-1"]

    run = project.reviewed(number := pulls["sagestack/dev-housing-1"])
    # A new endpoint costs: a person should look.
    assert run.results == {"test": "success", "review": "success", "comment": "success", "verdict": "failure"}, logs(
        run
    )
    assert "A human is needed" in run.jobs["verdict"].log
    assert len(project.comments(number)) == 1

    for environment, (branch, following) in {
        "dev": ("sagestack/dev-housing-1", "sagestack/staging-housing-1"),
        "staging": ("sagestack/staging-housing-1", "sagestack/prod-housing-1"),
    }.items():
        run = project.merged(project.pulls()[branch])
        assert run.results["dev"] == run.results["staging"] == "success", logs(run)
        assert run.results["prod"] == "failure"
        assert project.served(environment) == 1
        assert list(project.pulls()) == [following]
    # From here on a machine's account opens them: those of a job's own token start no checks.
    project.runner.secrets["SAGESTACK_GIT_TOKEN"] = TOKEN
    assert project.served("prod") is None
    project.answers["prod"] = True
    run = project.merged(project.pulls()["sagestack/prod-housing-1"])
    assert set(run.results.values()) == {"success"}, logs(run)
    assert project.served("prod") == 1
    assert project.pulls() == {}
    assert len({project.answer(name, ROW_CSV) for name in STAGES}) == 1


def a_second_one_goes_and_a_revert_takes_prod_back(project: DeliveredProject, tmp_path: Path) -> None:
    before = project.answer("prod", ROW_CSV)
    header, *rows = (project.work / "model_code/housing/data/housing.csv").read_text().splitlines()
    dearer = [",".join([*row.split(",")[:-1], f"{1.1 * float(row.split(',')[-1]):.2f}"]) for row in rows]
    (tmp_path / "dearer.csv").write_text("\n".join([header, *dearer]) + "\n")
    project.sagestack("run", "--env", "dev", "--data", str(tmp_path / "dearer.csv"))
    project.sagestack("approve", "2", "--env", "dev")
    [branch] = wait_for(project.pulls, 60)
    assert branch == "sagestack/dev-housing-2"

    # Somebody is in a hurry, and takes it on to the other two in the same pull request.
    git(project.work, "fetch", "--quiet")
    git(project.work, "checkout", "--quiet", "--detach", f"origin/{branch}")
    for name in ("staging", "prod"):
        change = ("served_version: 1", "served_version: 2")
        project.commit(f"Serve version 2 of housing in {name}", {f"environments/{name}.yaml": change})
    git(project.work, "push", "--quiet", "origin", f"HEAD:{branch}")
    of_prod = git(project.work, "rev-parse", "HEAD")
    run = project.merged(project.pulls()[branch])
    assert set(run.results.values()) == {"success"}, logs(run)
    assert [project.served(name) for name in STAGES] == [2, 2, 2]
    assert project.pulls() == {}
    assert project.answer("prod", ROW_CSV) != pytest.approx(before, rel=0.01)

    git(project.work, "revert", "--no-edit", of_prod)
    run = project.merged(project.propose("back", "Revert: serve version 2 of housing in prod"))
    assert set(run.results.values()) == {"success"}, logs(run)
    assert [project.served(name) for name in STAGES] == [2, 2, 1]
    assert project.answer("prod", ROW_CSV) == before
    # Staging still serves the newer one, so it is proposed again; somebody closes it, or goes back there, too.
    assert list(project.pulls()) == ["sagestack/prod-housing-2"]


def what_comes_after_a_newer_one_is_refused(project: DeliveredProject) -> None:
    """Somebody runs yesterday's run again."""
    repository = project.host.repository.path
    older = git(repository, "rev-parse", "main~1")
    run = project.run("deploy", replace(push(repository, older), sha=older))
    assert run.results["what-would-change"] == "success", logs(run)
    assert run.results["dev"] == "failure"
    assert {run.results[name] for name in ("staging", "prod", "promote-dev", "promote-staging")} == {"skipped"}
    assert "to deploy it would go back" in run.jobs["dev"].log
    assert "Get credentials: skipped" in run.jobs["dev"].log
    assert [project.served(name) for name in STAGES] == [2, 2, 1]


def what_is_changed_by_hand_is_found(project: DeliveredProject) -> None:
    event = schedule(project.host.repository.path, "17 5 * * 1-5")
    run = project.run("drift", event)
    assert set(run.results.values()) == {"success"}, logs(run)
    assert run.asked == []
    assert run.jobs["prod"].subject == "repo:team/platform:ref:refs/heads/main"

    iam = project.cloud.client("iam")
    roles = [role["RoleName"] for page in iam.get_paginator("list_roles").paginate() for role in page["Roles"]]
    [role] = [name for name in roles if name.startswith("sagestack-staging-housing-training-PipelineJobRole")]
    [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    document["Statement"].append({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
    run = project.run("drift", event)
    assert run.results == {"dev": "success", "staging": "failure", "prod": "success"}, logs(run)
    assert "exit code 3" in run.jobs["staging"].log
    assert "AWS::IAM::Policy" in run.jobs["staging"].summary
    assert "by hand" in run.jobs["staging"].summary


def logs(run: Any) -> str:
    """What the jobs that did not succeed said."""
    return "\n\n".join(
        f"=== {id_}: {job.result}\n{job.log[-6000:]}" for id_, job in run.jobs.items() if job.result != "success"
    )
