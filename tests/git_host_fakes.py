"""Git hosts on loopback, as far as the documents of their APIs say it: a repository is a dictionary of branches."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


@dataclass
class Repository:
    """Branches of files, and what was asked for."""

    branches: dict[str, dict[str, str]]
    messages: list[str] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    last_comment: int = 0
    before_commit: Callable[[], None] = lambda: None
    """Called once before the next commit: somebody else is quicker."""

    def sha(self, branch: str, path: str | None = None) -> str:
        """What stands for a file's revision, or a branch's."""
        content = self.branches[branch] if path is None else self.branches[branch][path]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]

    def interrupt(self) -> None:
        """Let somebody else commit, once."""
        work, self.before_commit = self.before_commit, lambda: None
        work()

    def commit(self, branch: str, path: str, content: str, message: str) -> None:
        self.branches[branch][path] = content
        self.messages.append(message)

    def review(self, head: str, base: str, title: str) -> str:
        address = f"https://git.example/reviews/{len(self.reviews) + 1}"
        number = len(self.reviews) + 1
        self.reviews.append({"head": head, "base": base, "title": title, "address": address, "number": number})
        return address

    def open_reviews(self, head: str | None = None) -> list[dict[str, Any]]:
        """Those of one branch, or all."""
        return [each for each in self.reviews if head in (None, each["head"]) and "closed" not in each]

    def close(self, number: str) -> None:
        """The comment that says why came before."""
        self.reviews[int(number) - 1]["closed"] = True

    def comment(self, number: str, text: str) -> dict[str, Any]:
        self.last_comment += 1
        made = {"id": self.last_comment, "text": text, "author": "me"}
        self.reviews[int(number) - 1].setdefault("comments", []).append(made)
        return made

    def replace_comment(self, id: str, text: str) -> dict[str, Any]:
        [found] = [each for review in self.reviews for each in review.get("comments", []) if each["id"] == int(id)]
        found["text"] = text
        return dict(found)

    def put_branch(self, branch: str, sha: str) -> None:
        source = next(name for name in self.branches if self.sha(name) == sha)
        self.branches[branch] = dict(self.branches[source])


def github(repository: Repository, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
    """https://docs.github.com/rest/repos/contents, /rest/git/refs, /rest/pulls"""
    resource = path.removeprefix("/repos/team/ml/")
    match method, resource.split("/", 1):
        case "GET", ["contents", file]:
            branch = query["ref"]
            if branch not in repository.branches or file not in repository.branches[branch]:
                return 404, {"message": "Not Found"}
            content = base64.encodebytes(repository.branches[branch][file].encode()).decode()
            return 200, {"content": content, "encoding": "base64", "sha": repository.sha(branch, file)}
        case "GET", ["git", reference]:
            return 200, {"object": {"sha": repository.sha(reference.removeprefix("ref/heads/"))}}
        case "POST", ["git", "refs"]:
            branch = body["ref"].removeprefix("refs/heads/")
            if branch in repository.branches:
                return 422, {"message": "Reference already exists"}
            repository.put_branch(branch, body["sha"])
            return 201, {}
        case "PATCH", ["git", reference]:
            assert body["force"] is True
            repository.put_branch(reference.removeprefix("refs/heads/"), body["sha"])
            return 200, {}
        case "GET", ["commits", _]:
            return 200, {"parents": [{"sha": "0" * 40}]}
        case "PUT", ["contents", file]:
            repository.interrupt()
            if body["sha"] != repository.sha(body["branch"], file):
                return 409, {"message": f"{file} does not match {body['sha']}"}
            repository.commit(body["branch"], file, base64.b64decode(body["content"]).decode(), body["message"])
            return 200, {"commit": {"html_url": "https://git.example/commit"}}
        case "GET", ["pulls"]:
            head = query["head"].removeprefix("team:") if "head" in query else None
            return 200, [_github_pull(review) for review in repository.open_reviews(head)]
        case "GET", ["pulls", number]:
            return 200, _github_pull(repository.reviews[int(number) - 1])
        case "POST", ["pulls"]:
            repository.review(body["head"], body["base"], body["title"])
            return 201, _github_pull(repository.reviews[-1])
        case "PATCH", ["pulls", number]:
            assert body == {"state": "closed"}
            repository.close(number)
            return 200, {}
        case "GET", ["issues", comments]:
            return 200, [_github_comment(each) for each in repository.reviews[_first(comments) - 1].get("comments", [])]
        case "POST", ["issues", comments]:
            return 201, _github_comment(repository.comment(str(_first(comments)), body["body"]))
        case "PATCH", ["issues", comment]:
            return 200, _github_comment(repository.replace_comment(comment.removeprefix("comments/"), body["body"]))
        case "GET", ["", "user"]:
            return 200, {"login": "me"}
    return 404, {"message": f"{method} {path}"}


def _first(path: str) -> int:
    return int(path.split("/")[0])


def _github_pull(review: dict[str, Any]) -> dict[str, Any]:
    head = {"ref": review["head"], "repo": {"full_name": review.get("repository", "Team/ML")}}
    mergeable = not review["conflict"] if "conflict" in review else None
    return {"number": review["number"], "html_url": review["address"], "head": head, "mergeable": mergeable}


def _github_comment(comment: dict[str, Any]) -> dict[str, Any]:
    user = {"login": comment["author"], "type": "User"}
    return {"id": comment["id"], "body": comment["text"], "user": user, "html_url": "https://git.example/comment"}


def gitlab(repository: Repository, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
    """https://docs.gitlab.com/api/repository_files, /api/commits, /api/merge_requests"""
    resource = path.removeprefix("/projects/team%2Fml/")
    if method == "GET" and resource.startswith("repository/files/"):
        file, branch = urllib.parse.unquote(resource.removeprefix("repository/files/")), query["ref"]
        if branch not in repository.branches:
            return 404, {"message": "404 Commit Not Found"}
        content = base64.b64encode(repository.branches[branch][file].encode()).decode()
        return 200, {"content": content, "last_commit_id": repository.sha(branch, file)}
    if method == "POST" and resource == "repository/commits":
        repository.interrupt()
        branch, action = body["branch"], body["actions"][0]
        if "start_branch" in body:
            if branch in repository.branches and not body.get("force"):
                return 400, {"message": f"A branch called '{branch}' already exists."}
            repository.branches[branch] = dict(repository.branches[body["start_branch"]])
        if action["last_commit_id"] != repository.sha(branch, action["file_path"]):
            return 400, {
                "message": "You are attempting to update a file that has changed since you started editing it."
            }
        repository.commit(branch, action["file_path"], action["content"], body["commit_message"])
        return 201, {"web_url": "https://git.example/commit"}
    if method == "GET" and resource == "merge_requests":
        return 200, [_gitlab_review(review) for review in repository.open_reviews(query.get("source_branch"))]
    if method == "POST" and resource == "merge_requests":
        repository.review(body["source_branch"], body["target_branch"], body["title"])
        return 201, _gitlab_review(repository.reviews[-1])
    if resource.startswith("merge_requests/"):
        number, *below = resource.removeprefix("merge_requests/").split("/")
        if method == "PUT" and not below:
            assert body == {"state_event": "close"}
            repository.close(number)
            return 200, {}
        if below == ["notes"] and method == "GET":
            return 200, [_gitlab_note(each) for each in repository.reviews[int(number) - 1].get("comments", [])]
        if below == ["notes"] and method == "POST":
            return 201, _gitlab_note(repository.comment(number, body["body"]))
        if below[0] == "notes" and method == "PUT":
            return 200, _gitlab_note(repository.replace_comment(below[1], body["body"]))
    if path == "/user":
        return 200, {"username": "me"}
    return 404, {"message": f"{method} {path}"}


def _gitlab_review(review: dict[str, Any]) -> dict[str, Any]:
    source = 7 if review.get("repository") else 1
    return {
        "iid": review["number"], "web_url": review["address"], "source_branch": review["head"],
        "source_project_id": source, "target_project_id": 1, "has_conflicts": review.get("conflict", False),
    }  # fmt: skip


def _gitlab_note(comment: dict[str, Any]) -> dict[str, Any]:
    return {"id": comment["id"], "body": comment["text"], "author": {"username": comment["author"]}}


def bitbucket(repository: Repository, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
    """https://developer.atlassian.com/cloud/bitbucket/rest/: refs, source, pullrequests"""
    resource = urllib.parse.unquote(path.removeprefix("/repositories/team/ml/"))
    if method == "GET" and resource.startswith("refs/branches/"):
        branch = resource.removeprefix("refs/branches/")
        if branch not in repository.branches:
            return 404, {"error": {"message": "No such branch"}}
        return 200, {"target": {"hash": repository.sha(branch)}}
    if method == "GET" and resource.startswith("commit/"):
        return 200, {"parents": [{"hash": "0" * 40}]}
    if method == "DELETE" and resource.startswith("refs/branches/"):
        del repository.branches[resource.removeprefix("refs/branches/")]
        return 204, ""
    if method == "GET" and resource.startswith("src/"):
        tip, file = resource.removeprefix("src/").split("/", 1)
        return 200, next(files[file] for name, files in repository.branches.items() if repository.sha(name) == tip)
    if method == "POST" and resource == "src":
        repository.interrupt()
        branch, parent = body.pop("branch"), body.pop("parents")
        if branch not in repository.branches:
            source = next((name for name in repository.branches if repository.sha(name) == parent), None)
            if source is None:
                return 400, {"error": {"message": "parents is not the tip of a branch"}}
            repository.branches[branch] = dict(repository.branches[source])
        elif repository.sha(branch) != parent:
            return 409, {"error": {"message": "the branch has moved on"}}
        message = body.pop("message")
        for file, content in body.items():
            repository.commit(branch, file, content, message)
        return 201, ""
    if method == "GET" and resource == "pullrequests":
        named = re.search('source.branch.name = "([^"]+)"', query["q"])
        found = repository.open_reviews(named[1] if named else None)
        return 200, {"values": [_bitbucket_review(review) for review in found]}
    if method == "POST" and resource == "pullrequests":
        head, base = body["source"]["branch"]["name"], body["destination"]["branch"]["name"]
        repository.review(head, base, body["title"])
        return 201, _bitbucket_review(repository.reviews[-1])
    if resource.startswith("pullrequests/"):
        number, action, *below = resource.removeprefix("pullrequests/").split("/")
        if method == "POST" and action == "decline":
            repository.close(number)
            return 200, {}
        if method == "GET" and action == "comments":
            found = repository.reviews[int(number) - 1].get("comments", [])
            return 200, {"values": [_bitbucket_comment(each) for each in found]}
        if method == "POST" and action == "comments":
            return 201, _bitbucket_comment(repository.comment(number, body["content"]["raw"]))
        if method == "PUT" and action == "comments":
            return 200, _bitbucket_comment(repository.replace_comment(below[0], body["content"]["raw"]))
    if path == "/user":
        return 200, {"uuid": "{me}"}
    return 404, {"error": {"message": f"{method} {path}"}}


def _bitbucket_review(review: dict[str, Any]) -> dict[str, Any]:
    repository = {"full_name": review.get("repository", "team/ml")}
    source = {"branch": {"name": review["head"]}, "repository": repository}
    return {"id": review["number"], "links": {"html": {"href": review["address"]}}, "source": source}


def _bitbucket_comment(comment: dict[str, Any]) -> dict[str, Any]:
    user = {"uuid": f"{{{comment['author']}}}", "type": "user"}
    return {"id": comment["id"], "content": {"raw": comment["text"]}, "user": user}


APIS = {"github": github, "gitlab": gitlab, "bitbucket": bitbucket}


@contextmanager
def served(host: str, repository: Repository) -> Iterator[str]:
    """The address of a host's API, while it runs."""

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            query = {name: values[0] for name, values in urllib.parse.parse_qs(parts.query).items()}
            content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            is_form = "urlencoded" in self.headers.get("Content-Type", "")
            body: Any = dict(urllib.parse.parse_qsl(content)) if is_form else json.loads(content or "null")
            repository.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            status, answer = APIS[host](repository, self.command, parts.path, query, body)
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - the names of http.server

        def log_message(self, *_: object) -> None:
            """Nothing: the test says what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
