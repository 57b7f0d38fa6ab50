"""What one environment serves is proposed for the next by a pull request, once, and `git revert` goes back by one line."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sagestack.cli import hosted_repository, promotion
from sagestack.cli.errors import CliError
from sagestack.cli.main import app
from sagestack.cli.next_stage import Step, plan
from sagestack.settings import PROJECT_ROOT, load_environment, load_sources
from typer.testing import CliRunner

from functions.version_pin.git_hosts import HOSTS, Change, HostError
from functions.version_pin.handler import pin_version
from functions.version_pin.pin import pinned, with_pin
from functions.version_pin.proposal import Pin, Proposal, propose
from local_cloud.git_host.server import GitHost
from tests import cli_fakes
from tests.git_host_fakes import Repository, served
from tests.git_repositories import NAME, TOKEN, ask, bare, git, hosted
from tests.synthesis import copy_project

# Real git on a real host, some twenty seconds in all.
pytestmark = pytest.mark.long

runner = CliRunner()
DELIVERY = f"""\
repository: {{host: github, name: {NAME}, branch: main}}
stages:
  - environment: dev
  - environment: staging
  - environment: prod
    approval: true
"""
CI = (
    "GITHUB_TOKEN", "GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_RUN_ID", "GITHUB_API_URL", "GITHUB_EVENT_PATH", "GITHUB_REF",
    "GITLAB_TOKEN", "CI_PROJECT_PATH", "CI_MERGE_REQUEST_PROJECT_PATH", "CI_API_V4_URL", "CI_COMMIT_SHA", "CI_JOB_URL",
    "CI_MERGE_REQUEST_IID", "BITBUCKET_TOKEN", "BITBUCKET_COMMIT", "BITBUCKET_REPO_FULL_NAME", "BITBUCKET_PR_ID",
    "BITBUCKET_BUILD_NUMBER", "CODEBUILD_RESOLVED_SOURCE_VERSION", "CODEBUILD_BUILD_URL",
)  # fmt: skip


def environment(account: str, version: int | None, versions_from: str | None = None) -> str:
    text = cli_fakes.ENVIRONMENT.format(account=account, image="ecr")
    text = text.replace("served_version: null", f"served_version: {version or 'null'}")
    return (
        text.replace("    endpoint:", f"    versions_from: {versions_from}\n    endpoint:") if versions_from else text
    )


FILES = {
    "cdk.json": "{}",
    "delivery.yaml": DELIVERY,
    "environments/local.yaml": cli_fakes.ENVIRONMENT.format(account="0" * 12, image="build-context"),
    "environments/dev.yaml": environment("1" * 12, 4),
    "environments/staging.yaml": environment("2" * 12, 3, "dev"),
    "environments/prod.yaml": environment("3" * 12, None, "dev"),
    "model_code/housing/model.yaml": cli_fakes.MODEL,
    "model_code/housing/data/housing.csv": "CRIM,MEDV\n1,2\n",
}


@pytest.fixture(autouse=True)
def nobodys_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in CI:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(hosted_repository, "FIRST_WAIT_S", 0.0)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare(tmp_path_factory.mktemp("template"), FILES)


@pytest.fixture
def host(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHost]:
    git(tmp_path, "clone", "--quiet", "--bare", str(template), "platform.git")
    with hosted(tmp_path / "platform.git") as host:
        monkeypatch.setenv("SAGESTACK_GIT_API_URL", host.url)
        monkeypatch.setenv("SAGESTACK_GIT_TOKEN", TOKEN)
        yield host


@pytest.fixture
def work(host: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's clone, and where the commands run."""
    git(tmp_path, "clone", "--quiet", str(host.repository.path), "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def promote(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = runner.invoke(app, ["promote", *arguments, "--json"])
    assert result.exit_code == code, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def merge(host: GitHost, number: int) -> None:
    status, said = ask(host, "PUT", f"pulls/{number}/merge", {})
    assert status == 200, said


def pulls(host: GitHost, state: str = "open") -> list[tuple[int, str]]:
    found = ask(host, "GET", f"pulls?state={state}&sort=created&direction=asc")[1]
    return [(each["number"], each["head"]["ref"]) for each in found]


def commit(work: Path, file: str, old: str, new: str) -> None:
    """Somebody else's commit on main."""
    git(work, "pull", "--quiet")
    text = (work / file).read_text()
    assert old in text
    (work / file).write_text(text.replace(old, new, 1))
    git(work, "commit", "--quiet", "--all", "--message", f"{file}: {new}")
    git(work, "push", "--quiet", "origin", "HEAD:main")


def test_from_an_approval_to_prod_and_back_by_a_revert(host: GitHost, work: Path) -> None:
    approved = pin_version(
        host=HOSTS["github"](host.url, NAME, TOKEN), environment="dev", model="housing", version=5, arn="arn:aws:5",
        base="main", is_reviewed=True,
    )  # fmt: skip
    assert approved["address"] == f"{host.url}/{NAME}/pull/1"
    assert "sagestack promote --after dev" in ask(host, "GET", "pulls/1")[1]["body"]
    merge(host, 1)

    for place, (after, stage, before) in enumerate((("dev", "staging", 3), ("staging", "prod", None)), start=2):
        git(work, "pull", "--quiet")
        [proposal] = promote("--after", after)["proposals"]
        assert proposal == {
            "model": "housing",
            "version": 5,
            "previous_version": before,
            "environment": stage,
            "branch": f"sagestack/{stage}-housing-5",
            "outcome": "opened",
            "address": f"{host.url}/{NAME}/pull/{place}",
            "closed": [],
        }
        pull = ask(host, "GET", f"pulls/{place}")[1]
        assert pull["title"] == f"Serve version 5 of housing in {stage}"
        for part in (git(work, "rev-parse", "HEAD"), "git revert", f"promote --after {stage}"):
            assert part in pull["body"]
        assert ("asks for a person's approval" in pull["body"]) == (stage == "prod")
        [file] = ask(host, "GET", f"pulls/{place}/files")[1]
        assert (file["filename"], file["additions"], file["deletions"]) == (f"environments/{stage}.yaml", 1, 1)
        merge(host, place)

    git(work, "pull", "--quiet")
    assert promote("--after", "prod") == {
        "after": "prod", "stage": None, "dry_run": False, "proposals": [], "skipped": [],
    }  # fmt: skip
    assert "served_version: 5" in (work / "environments/prod.yaml").read_text()
    git(work, "revert", "--no-edit", "--mainline", "1", "HEAD")
    assert (
        git(work, "diff", "--stat", "HEAD~1").splitlines()[-1].strip()
        == "1 file changed, 1 insertion(+), 1 deletion(-)"
    )
    assert (work / "environments/prod.yaml").read_text() == FILES["environments/prod.yaml"]


def test_twice_in_a_row_opens_one_and_says_so(host: GitHost, work: Path) -> None:
    first, second = promote("--after", "dev")["proposals"][0], promote("--after", "dev")["proposals"][0]
    assert (first["outcome"], second["outcome"]) == ("opened", "open")
    assert first["address"] == second["address"]
    assert pulls(host, "all") == [(1, "sagestack/staging-housing-4")]
    assert git(host.repository.path, "rev-list", "--count", "main..sagestack/staging-housing-4") == "1"
    merge(host, 1)
    git(work, "pull", "--quiet")
    assert promote("--after", "dev")["proposals"][0]["outcome"] == "unchanged"
    assert len(pulls(host, "all")) == 1


def test_two_at_once_open_one(host: GitHost, work: Path) -> None:
    done: list[Proposal] = []
    barrier = threading.Barrier(2)

    def run() -> None:
        barrier.wait()
        api = HOSTS["github"](host.url, NAME, TOKEN)
        done.append(propose(api, Pin("staging", "housing", 4), base="main", is_reviewed=True, reason="because"))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.outcome for each in done] == ["review", "review"]
    assert [name for _, name in pulls(host)] == ["sagestack/staging-housing-4"]
    text = git(host.repository.path, "show", "sagestack/staging-housing-4:environments/staging.yaml")
    assert pinned(text, "housing") == 4
    assert git(host.repository.path, "rev-list", "--count", "main..sagestack/staging-housing-4") == "1"


def test_an_older_proposal_is_closed_in_favour_of_what_is_served_now(host: GitHost, work: Path) -> None:
    promote("--after", "dev")
    commit(work, "environments/dev.yaml", "served_version: 4", "served_version: 5")
    [proposal] = promote("--after", "dev")["proposals"]
    assert proposal["closed"] == [f"{host.url}/{NAME}/pull/1"]
    assert pulls(host) == [(2, "sagestack/staging-housing-5")]
    [said] = ask(host, "GET", "issues/1/comments")[1]
    assert said["body"].startswith(f"staging is to serve version 5 of housing instead (see {host.url}/{NAME}/pull/2).")

    # dev goes back: then the newer proposal is out of date, and the branch of the older one is made anew.
    commit(work, "environments/dev.yaml", "served_version: 5", "served_version: 4")
    [proposal] = promote("--after", "dev")["proposals"]
    assert proposal["closed"] == [f"{host.url}/{NAME}/pull/2"]
    assert pulls(host) == [(3, "sagestack/staging-housing-4")]


def test_an_attempt_that_ended_before_its_pull_request_is_gone_on_from(host: GitHost, work: Path) -> None:
    api = HOSTS["github"](host.url, NAME, TOKEN)
    text, revision = api.read("environments/staging.yaml", "main")
    change = Change(
        "environments/staging.yaml", with_pin(text, "housing", 4), "m", "main", "sagestack/staging-housing-4", revision
    )
    assert api.commit(change).startswith(f"{host.url}/{NAME}/commit/")
    tip = host.repository.tip(change.branch)
    assert api.commit(change) == ""
    assert promote("--after", "dev")["proposals"][0]["outcome"] == "opened"
    assert host.repository.tip(change.branch) == tip


def test_a_version_that_was_served_before_can_come_again(host: GitHost, work: Path) -> None:
    """Its branch may still be there, merged and long behind."""
    promote("--after", "dev")
    merge(host, 1)
    commit(work, "environments/staging.yaml", "served_version: 4", "served_version: 2")
    assert promote("--after", "dev")["proposals"][0]["outcome"] == "opened"
    assert ask(host, "GET", "pulls/2")[1]["mergeable"] is True
    merge(host, 2)


def test_a_proposal_that_cannot_be_merged_any_more_is_made_anew(host: GitHost, work: Path) -> None:
    promote("--after", "dev")
    commit(work, "environments/staging.yaml", "served_version: 3", "served_version: 2")
    assert ask(host, "GET", "pulls/1")[1]["mergeable"] is False
    assert promote("--after", "dev")["proposals"][0]["outcome"] == "open"
    assert ask(host, "GET", "pulls/1")[1]["mergeable"] is True


def test_what_a_reviewer_did_to_an_open_proposal_stays(host: GitHost, work: Path) -> None:
    promote("--after", "dev")
    git(work, "fetch", "--quiet")
    git(work, "checkout", "--quiet", "sagestack/staging-housing-4")
    (work / "note.md").write_text("mine\n")
    git(work, "add", "note.md")
    git(work, "commit", "--quiet", "--message", "A note")
    git(work, "push", "--quiet", "origin", "HEAD")
    git(work, "checkout", "--quiet", "main")
    commit(work, "cdk.json", "{}", '{"a": 1}')
    assert promote("--after", "dev")["proposals"][0]["outcome"] == "open"
    assert git(host.repository.path, "show", "sagestack/staging-housing-4:note.md") == "mine"


def test_an_old_checkout_proposes_nothing(host: GitHost, work: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(host.repository.path), "other")
    commit(tmp_path / "other", "environments/dev.yaml", "served_version: 4", "served_version: 5")
    told = promote("--after", "dev")
    assert told["proposals"] == []
    assert told["skipped"][0]["reason"].startswith("dev pins version 5 on main by now, and version 4 in this checkout")
    assert pulls(host, "all") == []


def test_a_dry_run_needs_no_token_and_shows_the_line(
    host: GitHost, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGESTACK_GIT_TOKEN")
    told = promote("--after", "dev", "--dry-run")
    assert (told["dry_run"], told["proposals"][0]["outcome"]) == (True, "planned")
    result = runner.invoke(app, ["promote", "--after", "dev", "--dry-run"])
    assert "+    served_version: 4" in result.stdout
    assert pulls(host, "all") == []
    error = promote("--after", "dev", code=1)["error"]
    assert (error["code"], error["message"]) == ("set-up", f"There is no token for {NAME} on github.")


def test_numbers_of_another_registry_are_left_alone_and_refused_by_name(host: GitHost, work: Path) -> None:
    commit(work, "environments/staging.yaml", "    versions_from: dev\n", "")
    [left] = promote("--after", "dev")["skipped"]
    wanted = "write models.housing.versions_from: dev into environments/staging.yaml and account 222222222222 into"
    assert wanted in left["reason"]
    error = promote("--after", "dev", "--model", "housing", code=1)["error"]
    assert "Version 4 of housing cannot go from dev to staging" in error["message"]
    # prod serves dev's versions, and staging its own: their numbers differ, too.
    assert "versions_from: staging" in promote("--after", "staging")["skipped"][0]["reason"]


@pytest.mark.parametrize(
    ("variables", "commit_id", "page"),
    [
        (
            {
                "GITHUB_SHA": "a1",
                "GITHUB_REPOSITORY": NAME,
                "GITHUB_RUN_ID": "7",
                "GITHUB_SERVER_URL": "https://gh.example",
            },
            "a1",
            f"https://gh.example/{NAME}/actions/runs/7",
        ),
        ({"CI_COMMIT_SHA": "b2", "CI_JOB_URL": "https://gl.example/jobs/7"}, "b2", "https://gl.example/jobs/7"),
        (
            {
                "BITBUCKET_COMMIT": "c3",
                "BITBUCKET_BUILD_NUMBER": "7",
                "BITBUCKET_GIT_HTTP_ORIGIN": "https://bb.example/r",
            },
            "c3",
            "https://bb.example/r/pipelines/results/7",
        ),
        (
            {"CODEBUILD_RESOLVED_SOURCE_VERSION": "d4", "CODEBUILD_BUILD_URL": "https://cb.example/7"},
            "d4",
            "https://cb.example/7",
        ),
    ],
    ids=["github", "gitlab", "bitbucket", "codebuild"],
)
def test_the_text_names_the_commit_and_the_run(
    host: GitHost, work: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], commit_id: str, page: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    promote("--after", "dev")
    assert f"as of commit {commit_id} ([its run]({page}))" in ask(host, "GET", "pulls/1")[1]["body"]


def test_what_dev_does_not_serve_does_not_go_on(host: GitHost, work: Path) -> None:
    commit(work, "environments/dev.yaml", "served_version: 4", "served_version: null")
    assert promote("--after", "dev")["skipped"] == [{"model": "housing", "reason": "dev serves no version"}]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--after", "local"], "'local' is no stage of delivery.yaml (stages: dev, staging, prod)"),
        (["--after", "dev", "--model", "other"], "There is no model 'other'"),
        (["3", "--after", "dev"], "leave out VERSION and --env"),
        (["--after", "dev", "--env", "local"], "leave out VERSION and --env"),
        (["--dry-run"], "--dry-run belongs to --after"),
    ],
)
def test_what_makes_no_sense_is_refused(host: GitHost, work: Path, arguments: list[str], says: str) -> None:
    assert says in promote(*arguments, code=1)["error"]["message"]


def test_a_host_that_is_down_is_asked_again_and_then_named(
    host: GitHost, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGESTACK_GIT_API_URL", "http://127.0.0.1:9")
    error = promote("--after", "dev", code=1)["error"]
    assert (error["code"], error["status"]) == ("git-host", None)
    assert "did not answer: GET http://127.0.0.1:9/repos/team/platform" in error["message"]
    assert "Is it up" in error["hint"]


@pytest.mark.parametrize(("token", "status"), [("wrong", 401)])
def test_a_wrong_token_is_told_from_a_wrong_repository(
    host: GitHost, work: Path, monkeypatch: pytest.MonkeyPatch, token: str, status: int
) -> None:
    monkeypatch.setenv("SAGESTACK_GIT_TOKEN", token)
    error = promote("--after", "dev", code=1)["error"]
    assert (error["code"], error["status"]) == ("git-host", status)
    assert "is not valid, or not any more" in error["hint"]
    monkeypatch.setenv("SAGESTACK_GIT_TOKEN", TOKEN)
    (work / "delivery.yaml").write_text(DELIVERY.replace(NAME, "team/other"))
    error = promote("--after", "dev", code=1)["error"]
    assert error["status"] == 404
    assert "repository.name in delivery.yaml" in error["hint"]


def test_a_token_goes_to_no_host_unencrypted_and_to_no_other_repository(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGESTACK_GIT_API_URL", "http://git.example/api/v3")
    assert "would send the token unencrypted" in promote("--after", "dev", code=1)["error"]["message"]
    monkeypatch.delenv("SAGESTACK_GIT_API_URL")
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/fork")
    error = promote("--after", "dev", code=1)["error"]
    assert (
        error["message"]
        == f"delivery.yaml names the repository {NAME}, and this runs in somebody/fork (GITHUB_REPOSITORY)."
    )


@pytest.fixture(params=sorted(HOSTS))
def api(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Repository]]:
    """Each host's own API, as its documents say it; for GitHub the other tests have more."""
    repository = Repository({"main": {"environments/staging.yaml": FILES["environments/staging.yaml"]}})
    with served(request.param, repository) as address:
        yield HOSTS[request.param](address, "team/ml", "secret"), repository


def proposed(api: Any, version: int, *, is_last_word: bool = True) -> Proposal:
    pin = Pin("staging", "housing", version)
    return propose(api, pin, base="main", is_reviewed=True, reason="because", is_last_word=is_last_word)


def test_on_every_host_one_proposal_takes_the_place_of_another(api: tuple[Any, Repository]) -> None:
    host, repository = api
    proposed(host, 5)
    # Not ours: another model, another environment, a fork's branch of the very name.
    for branch in ("sagestack/staging-housing-b-6", "sagestack/prod-housing-6", "sagestack/staging-housing-6-1"):
        repository.review(branch, "main", "other")
    repository.review("sagestack/staging-housing-6", "main", "a fork's")
    repository.reviews[-1]["repository"] = "fork/ml"

    done = proposed(host, 4, is_last_word=False)
    assert (done.is_new, done.closed) == (True, ())
    done = proposed(host, 4)
    assert (done.is_new, [each.number for each in done.closed]) == (False, [1])
    assert [each["number"] for each in repository.open_reviews()] == [2, 3, 4, 5, 6]
    assert "staging is to serve version 4 of housing instead" in repository.reviews[0]["comments"][0]["text"]


def test_on_every_host_a_branch_that_was_left_behind_is_made_anew(api: tuple[Any, Repository]) -> None:
    host, repository = api
    old = {"environments/staging.yaml": "old\n", "old.md": "old\n"}
    repository.branches["sagestack/staging-housing-4"] = old
    proposed(host, 4)
    assert set(repository.branches["sagestack/staging-housing-4"]) == {"environments/staging.yaml"}


def test_where_the_host_tells_of_a_conflict_the_proposal_is_made_anew(api: tuple[Any, Repository]) -> None:
    host, repository = api
    proposed(host, 4)
    repository.reviews[0]["conflict"] = True
    proposed(host, 4)
    # Bitbucket does not tell.
    assert len(repository.messages) == (1 if type(host).__name__ == "Bitbucket" else 2)
    assert len(repository.reviews) == 1


def test_a_pin_in_another_form_is_named(work: Path) -> None:
    file = work / "environments/staging.yaml"
    file.write_text(file.read_text().replace("    served_version: 3", "    'served_version': 3"))
    error = promote("--after", "dev", "--dry-run", code=1)["error"]
    assert error["message"].startswith("environments/staging.yaml cannot be changed by a pull request: ")


def test_promote_asks_the_registry_that_the_versions_come_from(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same = environment("1" * 12, 3, "dev")
    (work / "environments/staging.yaml").write_text(same)
    session = cli_fakes.FakeSession(work, "staging")
    session.answer("ssm", "get_parameter", {"Parameter": {"Value": "group"}},
                   {"Name": "/sagestack/dev/housing/model-package-group-name"})  # fmt: skip
    row = cli_fakes.version(3, "Approved")
    session.answer("sagemaker", "list_model_packages", cli_fakes.versions(row), {"ModelPackageGroupName": "group"})
    assert promotion.missing_pins(session) == {}
    session.check()

    (work / "environments/staging.yaml").write_text(FILES["environments/staging.yaml"])
    elsewhere = cli_fakes.FakeSession(work, "staging")
    assert promotion.missing_pins(elsewhere) == {}
    with pytest.raises(CliError, match="in another account or region"):
        promotion.promote(elsewhere, "housing", 4)


def test_a_conflict_that_stays_is_told(api: tuple[Any, Repository], monkeypatch: pytest.MonkeyPatch) -> None:
    host, repository = api
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(repository, "sha", lambda *_: "1" * 40)
    monkeypatch.setattr(type(host), "commit", lambda *_: (_ for _ in ()).throw(HostError("moved on", 409)))
    with pytest.raises(HostError, match="moved on"):
        proposed(host, 4)


def test_the_files_as_they_come_share_no_versions_until_the_guide_is_followed(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "p")
    shutil.copy(PROJECT_ROOT / "delivery.yaml", root)
    serve = {"models": {"housing": {"served_version": 4}}}
    _write_into(root / "environments/dev.yaml", serve)
    (reason,) = (each.reason for each in plan(root, "dev", None).skipped)
    assert "write models.housing.versions_from: dev into environments/staging.yaml and account 222222222222" in reason

    guide = (PROJECT_ROOT / "docs/how-to/promote-by-pull-request.md").read_text()
    staging, dev = (YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.+?)```", guide, re.DOTALL)[:2])
    _write_into(root / "environments/dev.yaml", dev, serve)
    for name, before in (("staging", "dev"), ("prod", "staging")):
        _write_into(root / f"environments/{name}.yaml", staging)
        assert list(load_sources(load_environment(name, root), root)) == ["dev"]
        assert plan(root, before, None).steps == (Step("housing", 4, None),)
        _write_into(root / f"environments/{name}.yaml", serve)


def _write_into(file: Path, *changes: dict[str, Any]) -> None:
    yaml = YAML(typ="safe")
    content = yaml.load(file.read_text())
    for change in changes:
        content["models"]["housing"] |= change["models"]["housing"]
    yaml.dump(content, file)
