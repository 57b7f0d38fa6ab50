"""Git hosts on loopback, as far as the documents of their APIs say it: a repository is a dictionary of branches."""

from __future__ import annotations

import base64
import hashlib
import json
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
    reviews: list[dict[str, str]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
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
        self.reviews.append({"head": head, "base": base, "title": title, "address": address})
        return address

    def open_reviews(self, head: str) -> list[str]:
        return [review["address"] for review in self.reviews if review["head"] == head]


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
            source = next(name for name in repository.branches if repository.sha(name) == body["sha"])
            repository.branches[branch] = dict(repository.branches[source])
            return 201, {}
        case "PUT", ["contents", file]:
            repository.interrupt()
            if body["sha"] != repository.sha(body["branch"], file):
                return 409, {"message": f"{file} does not match {body['sha']}"}
            repository.commit(body["branch"], file, base64.b64decode(body["content"]).decode(), body["message"])
            return 200, {"commit": {"html_url": "https://git.example/commit"}}
        case "GET", ["pulls"]:
            return 200, [{"html_url": url} for url in repository.open_reviews(query["head"].removeprefix("team:"))]
        case "POST", ["pulls"]:
            return 201, {"html_url": repository.review(body["head"], body["base"], body["title"])}
    return 404, {"message": f"{method} {path}"}


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
            if branch in repository.branches:
                return 400, {"message": f"A branch called '{branch}' already exists."}
            repository.branches[branch] = dict(repository.branches[body["start_branch"]])
        if action["last_commit_id"] != repository.sha(branch, action["file_path"]):
            return 400, {
                "message": "You are attempting to update a file that has changed since you started editing it."
            }
        repository.commit(branch, action["file_path"], action["content"], body["commit_message"])
        return 201, {"web_url": "https://git.example/commit"}
    if method == "GET" and resource == "merge_requests":
        return 200, [{"web_url": url} for url in repository.open_reviews(query["source_branch"])]
    if method == "POST" and resource == "merge_requests":
        return 201, {"web_url": repository.review(body["source_branch"], body["target_branch"], body["title"])}
    return 404, {"message": f"{method} {path}"}


def bitbucket(repository: Repository, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
    """https://developer.atlassian.com/cloud/bitbucket/rest/: refs, source, pullrequests"""
    resource = urllib.parse.unquote(path.removeprefix("/repositories/team/ml/"))
    if method == "GET" and resource.startswith("refs/branches/"):
        branch = resource.removeprefix("refs/branches/")
        if branch not in repository.branches:
            return 404, {"error": {"message": "No such branch"}}
        return 200, {"target": {"hash": repository.sha(branch)}}
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
        found = [url for review in repository.reviews for url in [review["address"]] if review["head"] in query["q"]]
        return 200, {"values": [{"links": {"html": {"href": url}}} for url in found]}
    if method == "POST" and resource == "pullrequests":
        head, base = body["source"]["branch"]["name"], body["destination"]["branch"]["name"]
        return 201, {"links": {"html": {"href": repository.review(head, base, body["title"])}}}
    return 404, {"error": {"message": f"{method} {path}"}}


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

        do_GET = do_POST = do_PUT = _any  # noqa: N815 - the names of http.server

        def log_message(self, *_: object) -> None:
            """Nothing: the test says what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
