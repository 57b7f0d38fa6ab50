"""What runs our workflows in tests: expressions as GitHub has them, permissions that count, nothing that it does not know."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sagestack.delivery.actions import CHECKOUT

from local_cloud.git_host.server import GitHost
from tests.git_repositories import NAME, TOKEN, bare, git, hosted
from tests.waiting import wait_for
from tests.workflow_actions import ActionFailed, Machine, run_action
from tests.workflow_events import Event, push, schedule
from tests.workflow_expressions import Payload, UnknownExpression, condition, evaluate, filled_in
from tests.workflow_runner import Run, Runner
from tests.workflow_tokens import TokenGate, needed, opened

CONTEXTS: dict[str, Any] = {
    "github": {"ref": "refs/heads/main", "event": Payload({"pull_request": {"number": 3}})},
    "needs": {"dev": {"result": "success"}},
    "secrets": Payload(),
}
FUNCTIONS = {"success": lambda: False, "failure": lambda: False, "cancelled": lambda: False}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("github.ref == 'refs/heads/main'", True),
        ("github.ref == 'REFS/heads/MAIN'", True),
        ("github.ref != 'refs/heads/main'", False),
        ("!cancelled() && !failure() && needs.dev.result == 'success'", True),
        ("false || true && false", False),
        ("(false || true) && 'last'", "last"),
        ("secrets.TOKEN || github.ref", "refs/heads/main"),
        ("github.event.pull_request['number']", 3),
        ("github.event.nothing.at.all == null", True),
        ("null == 0", True),
        ("'it''s'", "it's"),
        ("2 < 10 && '2' < 10", True),
    ],
)
def test_expressions_are_evaluated_as_github_does(expression: str, value: Any) -> None:
    assert evaluate(expression, CONTEXTS, FUNCTIONS) == value


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("matrix.os", "the context 'matrix'"),
        ("needs.staging.result", "needs.staging"),
        ("github.actor_id", "github.actor_id"),
        ("hashFiles('**')", "hashFiles()"),
        ("github.*", "'*"),
        ("true &&", "where a value should be"),
        ("true true", "left over"),
        ("(true", "')' is missing"),
    ],
)
def test_what_is_not_known_fails_by_name(expression: str, named: str) -> None:
    with pytest.raises(UnknownExpression, match=r"\$\{\{.*\}\}") as failed:
        evaluate(expression, CONTEXTS, FUNCTIONS)
    assert named in str(failed.value)


def test_a_condition_that_asks_no_status_means_success_first() -> None:
    assert not condition("github.ref == 'refs/heads/main'", CONTEXTS, FUNCTIONS)
    assert condition("${{ !cancelled() }}", CONTEXTS, FUNCTIONS)
    assert not condition(None, CONTEXTS, FUNCTIONS)


def test_values_are_filled_in_and_keep_their_type_where_they_stand_alone() -> None:
    assert filled_in("refs/pull/${{ github.event.pull_request.number }}/merge", CONTEXTS, {}) == "refs/pull/3/merge"
    assert filled_in("${{ github.event.pull_request.number }}", CONTEXTS, {}) == 3
    assert filled_in("${{ github.ref }}-${{ github.ref }}", CONTEXTS, {}) == "refs/heads/main-refs/heads/main"
    assert filled_in("[${{ secrets.TOKEN }}]", CONTEXTS, {}) == "[]"


# --- Runs --------------------------------------------------------------------------------------------------------

HEAD = """\
name: Try
on: {push: {branches: [main]}}
permissions: {}
defaults: {run: {shell: bash}}
jobs:
"""


def job(name: str, *steps: str, minutes: float = 1, **keys: str) -> str:
    """A job; its steps are what stands in braces after their names."""
    lines = [f"  {name}:", f"    name: {name}", "    runs-on: ubuntu-24.04", f"    timeout-minutes: {minutes}"]
    lines += [f"    {key.rstrip('_')}: {value}" for key, value in keys.items()]
    return (
        "\n".join([*lines, "    steps:", *(f"      - {{name: s{n}, {step}}}" for n, step in enumerate(steps))]) + "\n"
    )


class Ground:
    """A repository on its host, and a runner for it."""

    def __init__(self, folder: Path, host: GitHost, gate: TokenGate) -> None:
        self.host, self.gate, self.said = host, gate, {"prod": True}
        self.runner = Runner(
            folder / "actions", NAME, gate, cloud={}, secrets={}, reviewers={"prod": lambda: self.said["prod"]}
        )
        self.event = push(host.repository.path, "0" * 40)

    def run(self, *jobs: str) -> Run:
        return self.runner.run(HEAD + "".join(jobs), self.event)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("ground")
    with hosted(bare(folder, {"a": "1\n"})) as host, opened(host.url, TOKEN) as gate:
        yield Ground(folder, host, gate)


def test_a_failure_skips_what_needs_it_unless_that_says_otherwise(ground: Ground) -> None:
    run = ground.run(
        job("bad", "run: exit 7", "run: echo never"),
        job("after", "run: 'true'", needs="bad"),
        job("anyway", "run: 'true'", needs="[bad]", if_="${{ !cancelled() }}"),
        job("later", "run: 'true'", needs="[after]", if_="${{ !failure() }}"),
        job("skipped", "run: 'true'", if_="github.ref == 'refs/heads/other'"),
        job("behind", "run: 'true'", needs="[skipped]"),
        job("past", "run: 'true'", needs="[skipped]", if_="${{ !cancelled() && !failure() }}"),
    )
    assert run.results == {
        "bad": "failure", "after": "skipped", "anyway": "success", "later": "skipped", "skipped": "skipped",
        "behind": "skipped", "past": "success",
    }  # fmt: skip
    assert [step.outcome for step in run.jobs["bad"].steps] == ["failure", "skipped"]
    assert "exit code 7" in run.jobs["bad"].log


def test_steps_hand_values_on_by_files_and_jobs_by_outputs(ground: Ground) -> None:
    run = ground.run(
        job(
            "first",
            'id: one, run: \'echo "x=4" >> "$GITHUB_OUTPUT"; echo "Y=5" >> "$GITHUB_ENV"\'',
            "env: {X: '${{ steps.one.outputs.x }}'}, run: 'test \"$X$Y\" = 45'",
            "run: 'false | true', continue-on-error: true",
            'run: \'echo "# All" >> "$GITHUB_STEP_SUMMARY"\'',
            outputs="{x: '${{ steps.one.outputs.x }}'}",
        ),
        job("second", "env: {X: '${{ needs.first.outputs.x }}'}, run: 'test \"$X$Y\" = 4'", needs="[first]"),
    )
    assert run.results == {"first": "success", "second": "success"}, run.jobs["first"].log
    # As `set -eo pipefail` makes it.
    assert (run.jobs["first"].steps[2].outcome, run.jobs["first"].steps[2].conclusion) == ("failure", "success")
    assert run.jobs["first"].summary == "# All\n"


def test_a_job_that_takes_too_long_is_ended_with_all_that_it_started(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        """The job's minutes are over once its step has begun, however long a shell takes to start."""

        asked = 0

        def monotonic(self) -> float:
            self.asked += 1
            if self.asked == 1:
                return 0.0
            wait_for((tmp_path / "begun").exists)
            return 60.0

    monkeypatch.setattr("tests.workflow_job.time", Clock())
    # Longer than a test may take: one of these that was not ended would hold the log open.
    run = ground.run(job("slow", f"run: 'echo begun; touch {tmp_path}/begun; sleep 600 | cat'"))
    assert run.results == {"slow": "failure"}
    assert "begun" in run.jobs["slow"].log
    assert "exceeded the maximum execution time of 1 minutes" in run.jobs["slow"].log


def test_a_machine_knows_nothing_of_whoever_runs_this(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    run = ground.run(job("look", 'run: \'test -z "$AWS_ACCESS_KEY_ID" && test "$GITHUB_REPOSITORY" = team/platform\''))
    assert run.results == {"look": "success"}


def test_a_reviewer_is_asked_once_and_a_no_is_a_failure(ground: Ground) -> None:
    jobs = job("prod", "run: 'true'", environment="prod"), job("dev", "run: 'true'", environment="dev")
    assert (ground.run(*jobs).results, ground.run(*jobs).asked) == ({"prod": "success", "dev": "success"}, ["prod"])
    ground.said["prod"] = False
    run = ground.run(*jobs)
    ground.said["prod"] = True
    assert run.results == {"prod": "failure", "dev": "success"}
    assert run.jobs["prod"].steps == []


@pytest.mark.parametrize(
    ("workflow", "named"),
    [
        (job("a", "run: 'true'", strategy="{}"), r"job a: \['strategy'\]"),
        (job("a", "run: 'true', shell: sh"), r"\['shell'\]"),
        (job("a", "uses: actions/cache@0"), "uses: actions/cache@0"),
        (job("a", f"uses: {CHECKOUT.name}@{'0' * 40}"), "actions/checkout@000"),
        (job("a", f"uses: {CHECKOUT.pinned}, with: {{lfs: true}}"), r"\['lfs'\]"),
        (job("a", "run: 'true'", if_="matrix.x"), "the context 'matrix'"),
    ],
    ids=["job", "step", "action", "commit", "input", "expression"],
)
def test_what_the_runner_does_not_know_is_no_green_run(ground: Ground, workflow: str, named: str) -> None:
    with pytest.raises(AssertionError, match=named):
        ground.run(workflow)


def test_a_workflow_runs_on_what_it_names_only(ground: Ground) -> None:
    with pytest.raises(AssertionError, match="Try does not run on schedule"):
        ground.runner.run(HEAD + job("a", "run: 'true'"), schedule(ground.host.repository.path, "0 0 * * *"))


# --- Permissions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ref", "environment", "subject"),
    [
        ("push", "refs/heads/main", "prod", "repo:team/platform:environment:prod"),
        ("push", "refs/heads/main", None, "repo:team/platform:ref:refs/heads/main"),
        ("schedule", "refs/heads/main", None, "repo:team/platform:ref:refs/heads/main"),
        ("pull_request", "refs/pull/3/merge", None, "repo:team/platform:pull_request"),
    ],
)
def test_the_subject_of_a_token_is_as_github_documents_it(
    tmp_path: Path, name: str, ref: str, environment: str | None, subject: str
) -> None:
    machine = Machine(tmp_path, NAME, Event(name, ref, "", {}), {}, environment, "", "", {}, tmp_path)
    assert machine.subject == subject
    with pytest.raises(ActionFailed, match="id-token"):
        machine.identity_token()


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("GET", "/team/platform.git/info/refs?service=git-upload-pack", ("contents", "read")),
        ("GET", "/team/platform.git/info/refs?service=git-receive-pack", ("contents", "write")),
        ("POST", "/team/platform.git/git-receive-pack", ("contents", "write")),
        ("PUT", "/repos/team/platform/contents/environments/dev.yaml", ("contents", "write")),
        ("POST", "/repos/team/platform/git/refs", ("contents", "write")),
        ("GET", "/repos/team/platform/pulls?state=open", ("pull-requests", "read")),
        ("POST", "/repos/team/platform/issues/3/comments", ("pull-requests", "write")),
        ("PUT", "/repos/team/platform/pulls/3/merge", ("contents", "write")),
        ("GET", "/repos/team/platform/deployments?environment=prod", ("deployments", "read")),
        ("GET", "/repos/team/platform/deployments/1/statuses", ("deployments", "read")),
        ("GET", "/user", None),
    ],
)
def test_each_request_needs_a_permission(method: str, path: str, permission: tuple[str, str] | None) -> None:
    assert needed(method, path) == permission


def test_a_token_that_reads_cannot_write_and_ends_with_its_job(ground: Ground, tmp_path: Path) -> None:
    token = ground.gate.issue({"contents": "read"})
    address = f"http://x:{token}@127.0.0.1:{ground.gate.server_address[1]}/{NAME}.git"
    git(tmp_path, "clone", "--quiet", address, "clone")
    git(tmp_path / "clone", "commit", "--quiet", "--allow-empty", "--message", "More")
    with pytest.raises(AssertionError, match="403"):
        git(tmp_path / "clone", "push", "--quiet", "origin", "HEAD:main")
    assert ground.gate.refused.pop() == f"GET /{NAME}.git/info/refs: contents write"

    def status() -> int:
        request = urllib.request.Request(
            f"{ground.gate.url}/repos/{NAME}", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    ground.gate.revoke(token)
    assert status() == 401


def test_a_checkout_is_the_commit_of_the_event_and_keeps_no_token(ground: Ground, tmp_path: Path) -> None:
    token = ground.gate.issue({"contents": "read"})
    machine = Machine(
        tmp_path / "work", NAME, ground.event, {}, None, token, ground.gate.url, {}, tmp_path / "kept"
    )  # fmt: skip
    run_action(CHECKOUT.pinned, {"persist-credentials": False}, machine)
    assert git(machine.workspace, "rev-parse", "HEAD") == ground.event.sha
    assert git(machine.workspace, "rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert token not in (machine.workspace / ".git/config").read_text()
