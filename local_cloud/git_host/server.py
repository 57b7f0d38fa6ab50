"""The HTTP server: who is let in, which request is whose, and git's own protocol beside the API."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import re
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from local_cloud.git_host.answers import Answer, Refused, Request, Shapes, not_built, not_found, user
from local_cloud.git_host.comments_api import CommentsApi, page_of
from local_cloud.git_host.contents_api import ContentsApi
from local_cloud.git_host.pulls import Store
from local_cloud.git_host.pulls_api import PullsApi
from local_cloud.git_host.repository import GitError, Repository
from local_cloud.git_host.routes import NOT_BUILT, NOT_BUILT_ABOVE, routes
from local_cloud.git_host.smart_http import BadRequest, answer_git, body_of

LOGIN = "sagestack"
"""The one account: whoever has the token."""
_log = logging.getLogger(__name__)

_MEDIA = re.compile(r"application/vnd\.github\.(?:v3\.)?(raw|html|object|diff|patch|text|full|sha|base64)\b")
"""Other forms of the answers; https://docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api#media-types"""


class GitHost(ThreadingHTTPServer):
    """One repository, served on loopback.

    Attributes:
        name: owner/name, as in the addresses.
        token: the one that is let in.
    """

    daemon_threads = True

    def __init__(
        self, repository: Path, state: Path, *, name: str, branch: str, port: int = 0, token: str = ""
    ) -> None:
        """Opens the repository and the port; `serve_forever` answers.

        Args:
            repository: a bare one.
            state: the folder that keeps pull requests and the token.
            name: owner/name.
            branch: the default branch.
            port: on 127.0.0.1; 0 for any that is free.
            token: empty for the one that is kept in `state`, made the first time.

        Raises:
            InUse, Unreadable: see `Store`.
            OSError: the port is taken.
        """
        self._store = Store(state)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except BaseException:
            self._store.close()
            raise
        self.name = name
        self.token = token or self._store.token()
        self.repository = Repository(repository)
        shapes = Shapes(self.url, name, branch)
        self._pulls = PullsApi(self.repository, self._store, shapes, LOGIN)
        comments = CommentsApi(self._store, shapes, LOGIN, self._pulls)
        self._routes = routes(ContentsApi(self.repository, shapes), self._pulls, comments)

    @property
    def url(self) -> str:
        """Of the API; the repository itself is at `URL/OWNER/NAME.git`."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def server_close(self) -> None:
        """See the standard library."""
        super().server_close()
        self._store.close()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        """What the API says.

        Raises:
            Refused: an error, with its status.
        """
        if path == "/user" and method == "GET":
            return Answer(200, user(LOGIN))
        prefix = f"/repos/{self.name}"
        # GitHub does not distinguish cases in the names of owners and repositories.
        if path.lower() != prefix.lower() and not path.lower().startswith(f"{prefix.lower()}/"):
            if NOT_BUILT_ABOVE.fullmatch(path):
                raise not_built(f"{method} {path}")
            raise not_found()
        below = path[len(prefix) :]
        for wanted, pattern, act in self._routes:
            found = pattern.fullmatch(below)
            if found and wanted == method:
                if body is not None and not isinstance(body, dict):
                    raise Refused(400, "Body should be a JSON object")
                parts = {name: urllib.parse.unquote(value) for name, value in found.groupdict().items()}
                return act(Request(method, path, query, body or {}, self.url, parts))
        if NOT_BUILT.fullmatch(below.removeprefix("/")):
            raise not_built(f"{method} {path}")
        raise not_found()

    def page(self, number: int) -> str:
        """A pull request as text.

        Raises:
            Refused: there is none of this number.
        """
        root = f"{self.url}/repos/{self.name}/pulls/{number}"
        request = Request("GET", "", {}, {}, self.url, {"number": str(number)})
        self._pulls.get_pull(request)  # takes in what git did since, and refuses what is not there
        with self._store.reading() as kept:
            pull = next(each for each in kept.pulls if each.number == number)
            said = [each for each in kept.comments if each.number == number]
            patch = "\n".join(f"{each.path}\n{each.patch}" for each in self._files(pull.base_sha, pull.head_sha))
        return page_of(pull, said, patch, f'curl -X PUT -H "Authorization: Bearer {self.token}" {root}/merge')

    def _files(self, base: str, head: str) -> list[Any]:
        return list(self.repository.files_between(base, head))


class _Handler(BaseHTTPRequestHandler):
    server: GitHost
    protocol_version = "HTTP/1.1"
    server_version = "sagestack-git-host"
    sys_version = ""

    def _any(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = {
            name: values[-1] for name, values in urllib.parse.parse_qs(parts.query, keep_blank_values=True).items()
        }
        try:
            # First of all: what was not read of a body would be taken for the next request.
            content = body_of(self)
            self._refuse_stranger()
            if parts.path.lower().startswith(f"/{self.server.name.lower()}.git/"):
                answer_git(
                    self, self.server.repository.path, parts.path[len(self.server.name) + 5 :], parts.query, content
                )
                return
            page = re.fullmatch(rf"/{re.escape(self.server.name)}/pull/([0-9]{{1,9}})", parts.path)
            if page and self.command == "GET":
                self._say(200, self.server.page(int(page[1])).encode(), {"Content-Type": "text/plain; charset=utf-8"})
                return
            if media := _MEDIA.search(self.headers.get("Accept", "")):
                raise not_built(f"The media type {media[0]}")
            self._say_json(self.server.answer(self.command, parts.path, query, _json(content)))
        except Refused as refused:
            headers = {"WWW-Authenticate": 'Basic realm="sagestack git-host"'} if refused.status == 401 else {}
            self._say_json(Answer(refused.status, refused.body, headers))
        except BadRequest as error:
            self.close_connection = True
            self._say_json(Answer(400, Refused(400, str(error)).body))
        except GitError as error:
            _log.exception("%s %s", self.command, self.path)
            self.close_connection = True
            self._say_json(Answer(500, Refused(500, f"git refused: {error}").body))
        except ConnectionError:
            self.close_connection = True
        except Exception:
            _log.exception("%s %s", self.command, self.path)
            self.close_connection = True
            self._say_json(Answer(500, Refused(500, "The git host failed; its log says where").body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _any  # noqa: N815 - the names of http.server

    def _refuse_stranger(self) -> None:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if not given:
            raise Refused(401, "Requires authentication")
        if kind.lower() == "basic":
            # As git sends it: any name, and the token for a password.
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                given = ""
        if not hmac.compare_digest(given.strip().encode(), self.server.token.encode()):
            raise Refused(401, "Bad credentials")

    def _say_json(self, answer: Answer) -> None:
        if answer.status == 204:
            self._say(204, b"", answer.headers)
            return
        headers = {"Content-Type": "application/json; charset=utf-8", **answer.headers}
        self._say(answer.status, json.dumps(answer.body).encode(), headers)

    def _say(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """One line for each request; never what was in the headers."""
        _log.info(format, *arguments)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        raise Refused(400, "Problems parsing JSON") from None
