"""Tokens of jobs in front of the git host, which knows one account: each may do what its job's `permissions` say, and no more."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BOT = {"login": "github-actions[bot]", "id": 41898282, "type": "Bot", "site_admin": False}
"""Who a job's token is: https://docs.github.com/en/actions/concepts/security/github_token"""
_PASSED_ON = ("Accept", "Content-Type", "Content-Encoding", "Git-Protocol", "If-Match")
_COMMENT = re.compile(r".*/issues(/\d+)?/comments(/\d+)?")


class TokenGate(ThreadingHTTPServer):
    """The git host's address for workflows.

    Attributes:
        refused: what jobs asked for and may not, as `method path: permission`.
        deployments: that Actions made, oldest first, each with its `statuses`; the git host has no Actions.
    """

    daemon_threads = True

    def __init__(self, host_url: str, host_token: str) -> None:
        """Opens a port on loopback; `opened` answers.

        Args:
            host_url: the git host.
            host_token: its own; whoever comes with it is a person, or a machine's account, and is passed on as they are.
        """
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host_url, self.host_token = host_url, host_token
        self.refused: list[str] = []
        self.deployments: list[dict[str, Any]] = []
        self.comments: set[int] = set()
        self._jobs: dict[str, Mapping[str, str]] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def issue(self, permissions: Mapping[str, str]) -> str:
        """A job's token; `revoke` it when the job ends."""
        token = f"ghs_{secrets.token_hex(18)}"
        self._jobs[token] = permissions
        return token

    def deploy(self, environment: str, sha: str) -> dict[str, Any]:
        """The deployment that GitHub keeps for a job that names an environment."""
        # Two jobs may start at once.
        with self._lock:
            made = {
                "id": len(self.deployments) + 1,
                "sha": sha,
                "environment": environment,
                "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "statuses": [{"state": "waiting"}],
            }
            self.deployments.append(made)
        return made

    def deployments_at(self, path: str) -> list[dict[str, Any]] | None:
        """https://docs.github.com/en/rest/deployments, newest first; None where the address is of something else."""
        address, _, query = path.partition("?")
        found = re.fullmatch(r"/repos/[^/]+/[^/]+/deployments(?:/(\d+)/statuses)?", address)
        if not found:
            return None
        if found[1]:
            return [*reversed(self.deployments[int(found[1]) - 1]["statuses"])]
        wanted = urllib.parse.parse_qs(query)
        of = [each for each in self.deployments if [each["environment"]] == wanted["environment"]]
        first = (int(wanted["page"][0]) - 1) * int(wanted["per_page"][0])
        return of[::-1][first : first + int(wanted["per_page"][0])]

    def revoke(self, token: str) -> None:
        """From now on it is nobody's."""
        del self._jobs[token]

    def permissions(self, token: str) -> Mapping[str, str] | None:
        """Of a job's token; None for the host's own.

        Raises:
            KeyError: nobody has this token.
        """
        return None if token == self.host_token else self._jobs[token]


@contextmanager
def opened(host_url: str, host_token: str) -> Iterator[TokenGate]:
    """A gate in a thread."""
    with TokenGate(host_url, host_token) as gate:
        thread = threading.Thread(target=gate.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield gate
        finally:
            gate.shutdown()
            thread.join()


def needed(method: str, path: str) -> tuple[str, str] | None:
    """The permission that a request needs, and whether to read or to write; None for what no token of a job may.

    https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps
    """
    address, _, query = path.partition("?")
    reads = method in ("GET", "HEAD")
    if address.endswith(("/git-upload-pack", "/git-receive-pack")) or address.endswith("/info/refs"):
        return "contents", "write" if "git-receive-pack" in f"{address}?{query}" else "read"
    if re.search(r"/pulls/\d+/merge$", address) and not reads:
        return "contents", "write"
    if re.search(r"/repos/[^/]+/[^/]+/(pulls|issues)\b", address):
        return "pull-requests", "read" if reads else "write"
    if re.search(r"/repos/[^/]+/[^/]+/deployments\b", address):
        return "deployments", "read" if reads else "write"
    if re.search(r"/repos/[^/]+/[^/]+/(git|contents|branches|commits|compare|merges)\b", address):
        return "contents", "read" if reads else "write"
    if re.fullmatch(r"/repos/[^/]+/[^/]+", address) and reads:
        return "metadata", "read"
    return None


class _Handler(BaseHTTPRequestHandler):
    server: TokenGate
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        content = self._body()
        try:
            permissions = self.server.permissions(self._token())
        except KeyError:
            self._say(401, {"message": "Bad credentials"}, [("WWW-Authenticate", 'Basic realm="gate"')])
            return
        if permissions is not None and not self._may(permissions):
            self._say(403, {"message": "Resource not accessible by integration"})
            return
        if self.command == "GET" and (found := self.server.deployments_at(self.path)) is not None:
            self._say(200, found)
            return
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        given = base64.b64encode(f"x:{self.server.host_token}".encode()).decode()
        headers["Authorization"] = f"Basic {given}"
        request = urllib.request.Request(
            self.server.host_url + self.path, data=content or None, headers=headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, said, kind = answer.status, answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            status, said, kind = error.code, error.read(), error.headers.get("Content-Type", "")
        if kind.startswith("application/json"):
            # Addresses lead back here, as they lead back to GitHub.
            said = said.replace(self.server.host_url.encode(), self.server.url.encode())
            said = self._signed(said, by_job=permissions is not None)
        self._answer(status, said, [("Content-Type", kind)])

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _any  # noqa: N815 - the names of http.server

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _token(self) -> str:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            given = base64.b64decode(given).decode().partition(":")[2]
        return given.strip()

    def _may(self, permissions: Mapping[str, str]) -> bool:
        wanted = needed(self.command, self.path)
        if wanted == ("metadata", "read"):
            return True
        if wanted and (permissions.get(wanted[0]) == "write" or permissions.get(wanted[0]) == wanted[1]):
            return True
        said = " ".join(wanted) if wanted else "no job may"
        self.server.refused.append(f"{self.command} {self.path.partition('?')[0]}: {said}")
        return False

    def _signed(self, said: bytes, *, by_job: bool) -> bytes:
        """Comments of jobs are the bot's."""
        if not _COMMENT.fullmatch(self.path.partition("?")[0]):
            return said
        document: Any = json.loads(said or b"null")
        for each in document if isinstance(document, list) else [document]:
            if not isinstance(each, dict) or "id" not in each:
                continue
            if by_job and self.command == "POST":
                self.server.comments.add(each["id"])
            if each["id"] in self.server.comments:
                each["user"] = BOT
        return json.dumps(document).encode()

    def _say(self, status: int, document: Any, headers: list[tuple[str, str]] | None = None) -> None:
        self._answer(status, json.dumps(document).encode(), [("Content-Type", "application/json"), *(headers or [])])

    def _answer(self, status: int, content: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""
