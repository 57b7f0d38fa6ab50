"""The local git host answers as GitHub does, on top of a real bare repository that git itself clones and pushes to."""

from __future__ import annotations

import base64
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.git_host.pulls import InUse, Store, Unreadable
from local_cloud.git_host.server import GitHost
from tests.git_repositories import NAME, TOKEN, ask, bare, git, hosted
from tests.test_layout import ROOT, imports

FILES = {"environments/dev.yaml": "served_version: 3\n", "README.md": "Hello\n", "docs/a.md": "a\nb\nc\nd\ne\nf\n"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare(tmp_path_factory.mktemp("template"), FILES)


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    path = tmp_path / "platform.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(template), str(path))
    return path


@pytest.fixture
def host(repository: Path) -> Iterator[GitHost]:
    with hosted(repository) as host:
        yield host


@pytest.fixture(scope="module")
def unchanged(template: Path) -> Iterator[GitHost]:
    """One host for all that only asks, or is refused."""
    with hosted(template) as host:
        yield host


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def read(host: GitHost, path: str, ref: str = "main") -> tuple[str, str]:
    status, found = ask(host, "GET", f"contents/{path}?ref={ref}")
    assert status == 200, found
    return base64.b64decode(found["content"]).decode(), found["sha"]


def write(host: GitHost, path: str, text: str, branch: str = "main", sha: str | None = None) -> tuple[int, Any]:
    body = {"message": f"Change {path}", "content": encoded(text), "branch": branch, "sha": sha}
    return ask(host, "PUT", f"contents/{path}", {name: value for name, value in body.items() if value is not None})


def branch(host: GitHost, name: str, source: str = "main") -> str:
    _, found = ask(host, "GET", f"git/ref/heads/{source}")
    sha = str(found["object"]["sha"])
    assert ask(host, "POST", "git/refs", {"ref": f"refs/heads/{name}", "sha": sha})[0] == 201
    return sha


def proposed(host: GitHost, name: str = "topic", text: str = "served_version: 4\n") -> int:
    branch(host, name)
    assert write(host, "environments/dev.yaml", text, name, read(host, "environments/dev.yaml")[1])[0] == 200
    status, made = ask(host, "POST", "pulls", {"title": "Serve 4", "head": name, "base": "main", "body": "why"})
    assert status == 201, made
    return int(made["number"])


def test_a_file_is_read_with_its_hash_and_a_folder_with_what_is_in_it(host: GitHost, repository: Path) -> None:
    assert read(host, "environments/dev.yaml") == (
        "served_version: 3\n",
        git(repository, "rev-parse", "main:environments/dev.yaml"),
    )
    _, root = ask(host, "GET", "contents")
    assert [(each["name"], each["type"]) for each in root] == [
        ("README.md", "file"),
        ("docs", "dir"),
        ("environments", "dir"),
    ]
    _, docs = ask(host, "GET", "contents/docs")
    assert [each["path"] for each in docs] == ["docs/a.md"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("contents/absent.md?ref=main", 404, "Not Found"),
        ("contents/README.md?ref=absent", 404, "No commit found for the ref absent"),
        ("contents/README.md?ref=main~1", 404, "No commit found for the ref main~1"),
        ("contents/README.md?ref=--help", 404, "No commit found for the ref --help"),
        ("contents/../config", 422, "path contains a malformed path component"),
        ("contents/.git/config", 422, "path contains a malformed path component"),
        ("git/ref/heads/absent", 404, "Not Found"),
        ("branches/absent", 404, "Branch not found"),
        ("commits/absent", 422, "No commit found for SHA: absent"),
        ("pulls/7", 404, "Not Found"),
        ("pulls?state=lost", 422, "Validation Failed"),
        ("issues/comments/7", 404, "Not Found"),
        ("/repos/team/other/pulls", 404, "Not Found"),
        ("/nothing", 404, "Not Found"),
        ("nothing", 404, "Not Found"),
        ("pulls?sort=popularity", 501, "Sorting pull requests by 'popularity' is not built in the local git host"),
        ("actions/runs", 501, "GET /repos/team/platform/actions/runs is not built in the local git host"),
        (
            "compare/main...topic",
            501,
            "GET /repos/team/platform/compare/main...topic is not built in the local git host",
        ),
        ("/graphql", 501, "GET /graphql is not built in the local git host"),
    ],
)
def test_what_cannot_be_read_is_refused_in_githubs_form(
    unchanged: GitHost, path: str, status: int, message: str
) -> None:
    answered, said = ask(unchanged, "GET", path)
    assert (answered, said["message"], said["status"]) == (status, message, str(status))
    assert said["documentation_url"].startswith("https://docs.github.com/rest")


def test_only_the_token_opens_and_it_is_asked_for_before_anything_else(unchanged: GitHost) -> None:
    for path in ("contents/README.md", "/nothing", "actions"):
        assert ask(unchanged, "GET", path, token=None) == (401, _refusal("Requires authentication"))
        assert ask(unchanged, "GET", path, token="wrong") == (401, _refusal("Bad credentials"))
    assert ask(unchanged, "GET", "/user")[1]["login"] == "sagestack"


def _refusal(message: str) -> dict[str, str]:
    return {"message": message, "documentation_url": "https://docs.github.com/rest", "status": "401"}


def test_a_write_is_a_commit_on_the_branch_and_keeps_all_other_files(host: GitHost, repository: Path) -> None:
    _, sha = read(host, "environments/dev.yaml")
    status, made = write(host, "environments/dev.yaml", "served_version: 4\n", sha=sha)
    assert status == 200
    assert made["commit"]["sha"] == git(repository, "rev-parse", "main")
    assert git(repository, "log", "-1", "--format=%s", "main") == "Change environments/dev.yaml"
    assert git(repository, "diff", "--name-only", "main~1", "main") == "environments/dev.yaml"
    assert write(host, "new/file.txt", "new\n")[0] == 201
    assert git(repository, "show", "main:new/file.txt") == "new"
    assert git(repository, "fsck", "--strict") == ""


def test_a_write_keeps_a_programs_right_to_run(host: GitHost, repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(repository), "work")
    (tmp_path / "work/run.sh").write_text("one\n")
    (tmp_path / "work/run.sh").chmod(0o755)
    git(tmp_path / "work", "add", "run.sh")
    git(tmp_path / "work", "commit", "--quiet", "--message", "A program")
    git(tmp_path / "work", "push", "--quiet", "origin", "main")
    assert write(host, "run.sh", "two\n", sha=read(host, "run.sh")[1])[0] == 200
    assert git(repository, "ls-tree", "main", "run.sh").startswith("100755 blob")


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("README.md", {"sha": "0" * 40}, 409, f"README.md does not match {'0' * 40}"),
        ("new.md", {"sha": "0" * 40}, 409, f"new.md does not match {'0' * 40}"),
        ("README.md", {}, 422, 'Invalid request.\n\n"sha" wasn\'t supplied.'),
        ("README.md", {"branch": "absent"}, 404, "Branch absent not found"),
        ("new.md", {"message": None}, 422, "Validation Failed"),
        ("new.md", {"content": 7}, 422, "Validation Failed"),
        ("new.md", {"content": "a"}, 422, "content is not valid Base64"),
        ("docs", {"sha": "0" * 40}, 501, "Writing a tree (docs) is not built in the local git host"),
    ],
)
def test_a_write_that_would_lose_something_is_refused(
    unchanged: GitHost, path: str, body: dict[str, Any], status: int, message: str
) -> None:
    before = unchanged.repository.tip("main")
    whole = {"message": "m", "content": encoded("x"), "branch": "main", **body}
    answered, said = ask(unchanged, "PUT", f"contents/{path}", {k: v for k, v in whole.items() if v is not None})
    assert (answered, said["message"]) == (status, message)
    assert unchanged.repository.tip("main") == before


@pytest.mark.long
def test_of_many_writers_at_once_each_wins_once_and_no_commit_is_lost(host: GitHost, repository: Path) -> None:
    def writer(number: int) -> None:
        for _ in range(60):
            text, sha = read(host, "README.md")
            if write(host, "README.md", f"{text}{number}\n", sha=sha)[0] == 200:
                return
        raise AssertionError(f"{number} never won")

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read(host, "README.md")[0].split()) == ["0", "1", "2", "3", "4", "Hello"]
    assert git(repository, "rev-list", "--count", "main") == "6"


def test_a_branch_is_made_once_moved_forward_or_by_force_and_deleted(host: GitHost) -> None:
    first = branch(host, "a/topic")
    reference = {"ref": "refs/heads/a/topic", "sha": first}
    assert ask(host, "POST", "git/refs", reference)[1]["message"] == "Reference already exists"
    assert (
        ask(host, "POST", "git/refs", {"ref": "refs/heads/b", "sha": "1" * 40})[1]["message"] == "Object does not exist"
    )
    assert ask(host, "POST", "git/refs", {"ref": "refs/heads/b..c", "sha": first})[0] == 422
    assert ask(host, "POST", "git/refs", {"ref": "main", "sha": first})[0] == 422
    assert ask(host, "POST", "git/refs", {"ref": "refs/tags/b", "sha": first})[0] == 501
    second = write(host, "new.md", "new\n", "a/topic")[1]["commit"]["sha"]
    place = "git/refs/heads/a/topic"
    assert ask(host, "PATCH", place, {"sha": first})[1]["message"] == "Update is not a fast forward"
    assert ask(host, "PATCH", place, {"sha": first, "force": True})[1]["object"]["sha"] == first
    assert ask(host, "PATCH", place, {"sha": second})[0] == 200
    _, found = ask(host, "GET", "commits/a%2Ftopic")
    assert (found["sha"], [each["sha"] for each in found["parents"]]) == (second, [first])
    assert [each["name"] for each in ask(host, "GET", "branches")[1]] == ["a/topic", "main"]
    assert ask(host, "DELETE", place)[0] == 204
    assert ask(host, "DELETE", place)[1]["message"] == "Reference does not exist"
    assert ask(host, "DELETE", "git/refs/heads/main")[1]["message"] == "Cannot delete the default branch"


def test_a_pull_request_is_opened_found_described_and_merged(host: GitHost, repository: Path) -> None:
    number = proposed(host)
    assert [each["number"] for each in ask(host, "GET", "pulls?head=team:topic&base=main")[1]] == [number]
    assert ask(host, "GET", "pulls?head=team:other")[1] == []
    assert ask(host, "GET", f"pulls/{number}/merge")[0] == 404
    [file] = ask(host, "GET", f"pulls/{number}/files")[1]
    assert (file["filename"], file["status"], file["additions"], file["deletions"]) == (
        "environments/dev.yaml", "modified", 1, 1,
    )  # fmt: skip
    assert file["patch"] == "@@ -1 +1 @@\n-served_version: 3\n+served_version: 4"
    found = ask(host, "GET", f"pulls/{number}")[1]
    assert (found["mergeable"], found["merged"], found["body"]) == (True, False, "why")

    status, merged = ask(host, "PUT", f"pulls/{number}/merge", {"sha": found["head"]["sha"]})
    assert (status, merged["merged"], merged["message"]) == (200, True, "Pull Request successfully merged")
    assert git(repository, "show", "main:environments/dev.yaml") == "served_version: 4"
    assert git(repository, "log", "-1", "--format=%P", "main").split()[1] == found["head"]["sha"]
    assert git(repository, "log", "-1", "--format=%B", "main") == "Merge pull request #1 from team/topic\n\nServe 4"
    now = ask(host, "GET", f"pulls/{number}")[1]
    assert (now["state"], now["merged"], now["merge_commit_sha"]) == ("closed", True, merged["sha"])
    assert ask(host, "GET", f"pulls/{number}/merge")[0] == 204
    assert [each["filename"] for each in ask(host, "GET", f"pulls/{number}/files")[1]] == ["environments/dev.yaml"]
    assert ask(host, "PUT", f"pulls/{number}/merge", {})[0] == 405
    assert ask(host, "PATCH", f"pulls/{number}", {"state": "open"})[0] == 422


def test_a_squash_is_one_commit(host: GitHost, repository: Path) -> None:
    number = proposed(host)
    assert ask(host, "PUT", f"pulls/{number}/merge", {"merge_method": "squash"})[0] == 200
    assert git(repository, "log", "--format=%s", "main").splitlines() == [f"Serve 4 (#{number})", "The project"]
    refused = ask(host, "PUT", f"pulls/{number}/merge", {"merge_method": "rebase"})
    assert (refused[0], refused[1]["message"]) == (501, "merge_method 'rebase' is not built in the local git host")


def test_a_merge_keeps_what_somebody_else_committed_and_refuses_a_conflict(host: GitHost, repository: Path) -> None:
    number, other = proposed(host), proposed(host, "other", "served_version: 5\n")
    assert write(host, "README.md", "Changed\n", sha=read(host, "README.md")[1])[0] == 200
    assert ask(host, "PUT", f"pulls/{number}/merge", {"sha": "0" * 40})[1]["message"] == (
        "Head branch was modified. Review and try the merge again."
    )
    assert ask(host, "PUT", f"pulls/{number}/merge", {})[0] == 200
    assert read(host, "README.md")[0] == "Changed\n"

    assert ask(host, "GET", f"pulls/{other}")[1]["mergeable"] is False
    before = git(repository, "rev-parse", "main")
    status, said = ask(host, "PUT", f"pulls/{other}/merge", {})
    assert (status, said["message"]) == (405, "Pull Request is not mergeable")
    assert git(repository, "rev-parse", "main") == before


def test_a_pull_request_that_cannot_be_is_refused(host: GitHost) -> None:
    proposed(host)
    branch(host, "empty")
    for body, error in (
        ({"head": "absent"}, {"resource": "PullRequest", "code": "invalid", "field": "head"}),
        ({"base": "absent"}, {"resource": "PullRequest", "code": "invalid", "field": "base"}),
        ({"title": " "}, {"resource": "PullRequest", "code": "missing_field", "field": "title"}),
        ({"head": None}, {"resource": "PullRequest", "code": "missing_field", "field": "head"}),
        (
            {"head": "empty"},
            {"resource": "PullRequest", "code": "custom", "message": "No commits between main and empty"},
        ),
        (
            {"head": "team:topic"},
            {"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for team:topic."},
        ),
    ):
        whole = {"title": "t", "head": "topic", "base": "main", **body}
        status, said = ask(host, "POST", "pulls", {name: value for name, value in whole.items() if value is not None})
        assert (status, said["message"], said["errors"]) == (422, "Validation Failed", [error])


@pytest.mark.parametrize("body", [{"draft": True}, {"head": "fork:topic"}, {"issue": 3}])
def test_what_githubs_pull_requests_have_beyond_is_refused_by_name(unchanged: GitHost, body: dict[str, Any]) -> None:
    status, said = ask(unchanged, "POST", "pulls", {"title": "t", "head": "topic", "base": "main", **body})
    assert (status, said["message"].endswith("is not built in the local git host")) == (501, True)


def test_a_pull_request_is_closed_and_reopened_and_its_text_changed(host: GitHost) -> None:
    number = proposed(host)
    closed = ask(host, "PATCH", f"pulls/{number}", {"state": "closed", "title": "Other"})[1]
    assert (closed["state"], closed["merged"], closed["title"], closed["body"]) == ("closed", False, "Other", "why")
    assert ask(host, "GET", "pulls")[1] == []
    assert [each["number"] for each in ask(host, "GET", "pulls?state=closed")[1]] == [number]
    assert ask(host, "PUT", f"pulls/{number}/merge", {})[0] == 405
    assert ask(host, "PATCH", f"pulls/{number}", {"state": "open"})[1]["state"] == "open"
    assert ask(host, "PATCH", f"pulls/{number}", {"state": "ajar"})[0] == 422
    ask(host, "PATCH", f"pulls/{number}", {"state": "closed"})
    ask(host, "DELETE", "git/refs/heads/topic")
    assert ask(host, "PATCH", f"pulls/{number}", {"state": "open"})[0] == 422


def test_what_git_alone_does_is_seen(host: GitHost, repository: Path, tmp_path: Path) -> None:
    number, gone = proposed(host), proposed(host, "gone", "served_version: 9\n")
    work = tmp_path / "work"
    git(tmp_path, "clone", "--quiet", str(repository), "work")
    git(work, "merge", "--quiet", "--no-ff", "-m", "By hand", "origin/topic")
    git(work, "push", "--quiet", "origin", "main", ":gone")
    merged, closed = (ask(host, "GET", f"pulls/{each}")[1] for each in (number, gone))
    assert (merged["state"], merged["merged"]) == ("closed", True)
    assert (closed["state"], closed["merged"]) == ("closed", False)


def test_lists_come_in_pages(host: GitHost) -> None:
    number = proposed(host)
    for place in range(5):
        assert ask(host, "POST", f"issues/{number}/comments", {"body": str(place)})[0] == 201
    pages = [ask(host, "GET", f"issues/{number}/comments?per_page=2&page={page}")[1] for page in (1, 2, 3, 4)]
    assert [[each["body"] for each in page] for page in pages] == [["0", "1"], ["2", "3"], ["4"], []]


def test_a_comment_is_made_changed_and_deleted(host: GitHost) -> None:
    number = proposed(host)
    made = ask(host, "POST", f"issues/{number}/comments", {"body": "one"})[1]
    assert made["user"] == {"login": "sagestack", "id": 1, "type": "User", "site_admin": False}
    place = f"issues/comments/{made['id']}"
    assert ask(host, "PATCH", place, {"body": "two"})[1]["body"] == "two"
    assert ask(host, "GET", place)[1]["body"] == "two"
    assert ask(host, "DELETE", place)[0] == 204
    assert ask(host, "GET", place)[0] == 404
    assert ask(host, "POST", f"issues/{number}/comments", {"body": "next"})[1]["id"] != made["id"]
    assert ask(host, "POST", "issues/99/comments", {"body": "one"})[0] == 404
    for body in ({}, {"body": " "}, {"body": "x" * 65_537}, {"body": 7}):
        assert ask(host, "POST", f"issues/{number}/comments", body)[0] == 422
    assert ask(host, "POST", f"issues/{number}/comments", {"body": "ü" * 65_536})[0] == 201


def test_a_request_that_is_no_json_is_refused(host: GitHost) -> None:
    assert ask(host, "POST", "pulls", b"{")[1]["message"] == "Problems parsing JSON"
    assert ask(host, "POST", "pulls", [])[1]["message"] == "Body should be a JSON object"
    assert ask(host, "GET", "pulls", accept="application/vnd.github.diff")[0] == 501


def test_git_clones_and_pushes_over_http_with_the_token(host: GitHost, repository: Path, tmp_path: Path) -> None:
    address = host.url.replace("//", f"//any:{TOKEN}@") + f"/{NAME}.git"
    git(tmp_path, "clone", "--quiet", address, "work")
    work = tmp_path / "work"
    # More than git sends in one piece.
    (work / "large.bin").write_bytes(bytes(range(256)) * 8 * 1024)
    drawn = random.Random(1)
    (work / "random.txt").write_text("\n".join(str(drawn.getrandbits(62)) for _ in range(120_000)))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "Large")
    git(work, "push", "--quiet", "origin", "main")
    assert git(repository, "rev-parse", "main") == git(work, "rev-parse", "HEAD")
    with pytest.raises(AssertionError, match=r"Authentication failed|could not read"):
        git(tmp_path, "-c", "core.askPass=true", "clone", "--quiet", address.replace(TOKEN, "wrong"), "other")


def test_a_browser_sees_a_pull_request_as_text(host: GitHost) -> None:
    number = proposed(host)
    ask(host, "POST", f"issues/{number}/comments", {"body": "looks good"})
    status, text = ask(host, "GET", f"/{NAME}/pull/{number}")
    assert status == 200
    for part in ("#1 Serve 4 (open)", "topic -> main", "+served_version: 4", "looks good", f"pulls/{number}/merge"):
        assert part in text


def test_pull_requests_are_there_after_a_restart_and_belong_to_one_process(repository: Path) -> None:
    with hosted(repository) as first:
        number = proposed(first)
        ask(first, "POST", f"issues/{number}/comments", {"body": "kept"})
        with pytest.raises(InUse):
            GitHost(repository, repository.with_name("platform.git.host"), name=NAME, branch="main")
    with hosted(repository) as second:
        assert ask(second, "GET", f"pulls/{number}")[1]["title"] == "Serve 4"
        assert [each["body"] for each in ask(second, "GET", f"issues/{number}/comments")[1]] == ["kept"]


def test_a_change_that_fails_leaves_what_was(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail() -> None:
        with store.changing() as state:
            state.last_comment = 7
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.reading() as state:
        assert state.last_comment == 0
    assert store.token() == store.token()
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    store.close()
    (tmp_path / "pulls.json").write_text("{")
    with pytest.raises(Unreadable):
        Store(tmp_path)


def test_it_needs_nothing_but_the_standard_library() -> None:
    """So it runs in either environment of the project."""
    files = list((ROOT / "local_cloud/git_host").glob("*.py"))
    assert files
    modules = {name for file in files for name in imports(file) if not name.startswith("local_cloud.git_host")}
    assert {name.split(".")[0] for name in modules} <= set(sys.stdlib_module_names)
