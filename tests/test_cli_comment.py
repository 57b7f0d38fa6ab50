"""A pull request carries one review of ours, replaced by the next; nobody else's comment is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sagestack.cli import hosted_repository
from sagestack.cli.commands.comment import put
from sagestack.cli.main import app
from sagestack.review.render.markdown import MARKER, MARKER_WITHOUT_HTML
from typer.testing import CliRunner

from functions.version_pin.git_hosts import HOSTS, HostError
from tests import cli_fakes
from tests.git_host_fakes import Repository, served
from tests.test_promotion_by_pull_request import CI

runner = CliRunner()


@pytest.fixture(autouse=True)
def nobodys_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*CI, "SAGESTACK_GIT_API_URL", "SAGESTACK_GIT_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(hosted_repository, "FIRST_WAIT_S", 0.0)


@pytest.fixture(params=sorted(HOSTS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def repository(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A host with two pull requests, and a project that names it."""
    root = cli_fakes.make_project(tmp_path / "p")
    monkeypatch.chdir(root)
    repository = Repository({"main": {}})
    for branch in ("first", "second"):
        repository.review(branch, "main", branch)
    with served(kind, repository) as address:
        (root / "delivery.yaml").write_text(
            f"repository: {{host: {kind}, name: team/ml, api_url: '{address}'}}\nstages: [{{environment: dev}}]\n"
        )
        monkeypatch.setenv(f"{kind.upper()}_TOKEN", "secret")
        (root / "review.md").write_text("# Nothing needs a human\n")
        yield repository


def comment(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = runner.invoke(app, ["comment", "review.md", *arguments, "--json"])
    assert result.exit_code == code, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def texts(repository: Repository, number: int) -> list[str]:
    return [each["text"] for each in repository.reviews[number - 1].get("comments", [])]


def test_it_is_made_once_and_then_replaced(kind: str, repository: Repository) -> None:
    assert comment("--pull-request", "2")["outcome"] == "created"
    marker = f"{MARKER_WITHOUT_HTML}\n" if kind == "bitbucket" else MARKER
    assert texts(repository, 2) == [f"{marker}\n# Nothing needs a human\n"]
    assert comment("--pull-request", "2")["outcome"] == "unchanged"
    Path("review.md").write_text(f"{marker}\n# Something does\n")
    assert comment("--pull-request", "2")["outcome"] == "replaced"
    assert texts(repository, 2) == [f"{marker}\n# Something does\n"]
    assert texts(repository, 1) == []


def test_a_comment_of_somebody_else_stays_even_with_the_marker(repository: Repository) -> None:
    repository.comment("2", f"{MARKER}\nquoted")["author"] = "you"
    repository.comment("2", f"> {MARKER}\nwhat is that?")
    assert comment("--pull-request", "2")["outcome"] == "created"
    assert len(texts(repository, 2)) == 3
    assert texts(repository, 2)[0] == f"{MARKER}\nquoted"


def test_the_pull_request_is_the_one_that_ci_runs_for(
    kind: str, repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert comment(code=1)["error"]["hint"] == "Add --pull-request N."
    if kind == "github":
        event = tmp_path / "event.json"
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
        monkeypatch.setenv("GITHUB_REF", "refs/pull/1/merge")
        for content, number in (
            ({"pull_request": {"number": 2}}, 2),
            ({"issue": {"number": 2, "pull_request": {}}}, 2),
            ({"issue": {"number": 2}}, 1),
            ([], 1),
        ):
            event.write_text(json.dumps(content))
            assert comment()["pull_request"] == number
        event.write_text("{")
        assert comment()["pull_request"] == 1
        monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
        assert comment(code=1)["error"]["code"] == "usage"
    else:
        monkeypatch.setenv({"gitlab": "CI_MERGE_REQUEST_IID", "bitbucket": "BITBUCKET_PR_ID"}[kind], "2")
        assert comment()["pull_request"] == 2


@pytest.mark.parametrize("kind", ["github"], indirect=True)
@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (b" \n", "usage", "review.md is empty"),
        (b"x" * 65_536, "refused", "review.md has 65,562 characters; a comment may have 65,536."),
        (b"\xff\xfe", "usage", "review.md is not text in UTF-8"),
        (None, "not-found", "review.md cannot be read: No such file or directory"),
    ],
    ids=["empty", "too-long", "binary", "absent"],
)
def test_what_cannot_be_said_is_refused_before_anybody_is_asked(
    repository: Repository, content: bytes | None, code: str, says: str
) -> None:
    Path("review.md").unlink()
    if content is not None:
        Path("review.md").write_bytes(content)
    error = comment("--pull-request", "2", code=1)["error"]
    assert (error["code"], error["message"][: len(says)]) == (code, says)
    assert repository.requests == []


@pytest.mark.parametrize("kind", ["github"], indirect=True)
def test_the_longest_that_may_be_is_said_and_stdin_is_read(repository: Repository) -> None:
    text = f"{MARKER}\n".ljust(65_536, "ü")
    result = runner.invoke(app, ["comment", "-", "--pull-request", "1"], input=text)
    assert (result.exit_code, texts(repository, 1)) == (0, [text])


class Busy:
    """A host that refuses so often, and then does as it is told."""

    def __init__(self, *refusals: HostError, author: str | None = "me", comments: list[Any] | None = None) -> None:
        self._refusals = list(refusals)
        self._author, self._comments = author, comments or []
        self.said: list[str] = []

    def author(self) -> str | None:
        if self._refusals:
            raise self._refusals.pop(0)
        return self._author

    def comments(self, number: int) -> list[Any]:
        return self._comments

    def add_comment(self, number: int, text: str) -> Any:
        self.said.append(text)
        return None

    def replace_comment(self, number: int, comment: Any, text: str) -> Any:
        self.said.append(f"{comment.id}: {text}")
        return None


def test_a_busy_host_is_asked_again_and_a_refusal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    # Tenacity's own, not the process's: another thread's sleep is no wait of this one.
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=waits.append))
    from sagestack.cli.errors import CliError

    def ask(*errors: HostError) -> list[str]:
        host: Any = Busy(*errors)
        asked = hosted_repository.HostedRepository(host, "github", "team/ml", "main", "", "", "Contents: read")
        asked.ask(lambda: put(host, 1, "text"))
        return list(host.said)

    assert ask(HostError("a", 502), HostError("b", 429), HostError("c", 0), HostError("d", 503)) == ["text"]
    # GitHub's "too many requests" may be a 403 that says when to come again.
    assert ask(HostError("a", 403, retry_after_s=7), HostError("b", 429, retry_after_s=900)) == ["text"]
    assert waits[-2:] == [7, 60]
    for error, hint in (
        (HostError("no", 403), "needs Contents: read"),
        (HostError("no", 401), "is not valid, or not any more"),
        (HostError("no", 501), ""),
    ):
        with pytest.raises(CliError, match="refused: no") as caught:
            ask(error)
        assert hint in (caught.value.hint or "")
    with pytest.raises(CliError, match="did not answer"):
        ask(*(HostError("down", 0) for _ in range(5)))


def test_an_apps_token_cannot_say_who_it_is_so_programs_comments_are_its_own() -> None:
    from functions.version_pin.git_hosts import Comment

    person, program = (Comment(number, f"{MARKER}\nold", "x", "", is_by_app=number == 2) for number in (1, 2))
    host: Any = Busy(author=None, comments=[program, person])
    assert put(host, 1, "new")[0] == "replaced"
    assert host.said == ["2: new"]
