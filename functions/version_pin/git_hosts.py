"""The hosts of git repositories, as far as a pin needs them: read a file, commit a change, ask for its review.

Over their HTTP APIs, since a function has no git: https://docs.github.com/rest/repos/contents,
https://docs.gitlab.com/api/commits, https://developer.atlassian.com/cloud/bitbucket/rest/api-group-source
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

TIMEOUT_S = 20
_QUOTED = 300
"""How much of a host's refusal is repeated."""


class HostError(Exception):
    """The host refused, or did not answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Change:
    """One file with new content, to be committed.

    Attributes:
        path: of the file in the repository.
        content: all of it.
        message: of the commit; its first line is the title of the review.
        base: the branch that it is to end on.
        branch: the branch that it is committed to first; equal to `base` where nobody reviews it.
        revision: what `read` gave for the file that was changed, so that a change in between is not overwritten.
    """

    path: str
    content: str
    message: str
    base: str
    branch: str
    revision: str

    @property
    def title(self) -> str:
        """Of a review."""
        return self.message.split("\n")[0]


class GitHost(Protocol):
    """One repository on a host."""

    def read(self, path: str, branch: str) -> tuple[str, str]:
        """A file's text, and a token of its revision."""

    def commit(self, change: Change) -> str:
        """Commit a change, on a new branch where it has one; the address of the commit. Again is not an error."""

    def review(self, change: Change) -> str:
        """Ask for the review of a branch, once; the address of the pull request (merge request)."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a host that sends on to itself, as for a repository that was renamed; the token goes along, so to no other."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """See the standard library.

        Raises:
            HostError: it is another host, or not HTTPS any more.
        """
        asked, sent_to = (urllib.parse.urlsplit(each)[:2] for each in (req.full_url, newurl))
        if asked != sent_to:
            raise HostError(
                f"{req.get_method()} {req.full_url} is sent on to {sent_to[0]}://{sent_to[1]}, which is not given the token:"
                " correct the repository's address (git in the environment's file)"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_SameHost)


class _Api:
    """JSON over HTTPS, with a token."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url = url.rstrip("/")
        self._headers = {"User-Agent": "sagestack", "Accept": "application/json", **headers}

    def call(self, method: str, path: str, body: Any = None, form: dict[str, str] | None = None) -> Any:
        """The answer to a request, parsed where it is JSON.

        Raises:
            HostError: any other status than 2xx, or no answer.
        """
        data, headers = None, dict(self._headers)
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif form is not None:
            data, headers["Content-Type"] = (
                urllib.parse.urlencode(form).encode(),
                "application/x-www-form-urlencoded",
            )
        request = urllib.request.Request(f"{self._url}/{path}", data=data, headers=headers, method=method)  # noqa: S310
        try:
            with _opener.open(request, timeout=TIMEOUT_S) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:_QUOTED]
            raise HostError(f"{method} {path} was answered {error.code}: {said}", error.code) from None
        except OSError as error:
            raise HostError(f"{method} {self._url}/{path} was not answered: {error}") from None
        try:
            return json.loads(text)
        except ValueError:
            return text


class GitHub:
    """A repository on GitHub, or on a server of one's own."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        self._api = _Api(
            url, {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json", **_GITHUB_VERSION}
        )
        self._owner = repository.split("/")[0]
        self._root = f"repos/{repository}"

    def read(self, path: str, branch: str) -> tuple[str, str]:
        """See GitHost."""
        found = self._api.call("GET", f"{self._root}/contents/{_quoted(path)}?ref={_quoted(branch, safe='')}")
        return base64.b64decode(found["content"]).decode(), found["sha"]

    def commit(self, change: Change) -> str:
        """See GitHost."""
        if change.branch != change.base:
            tip = self._api.call("GET", f"{self._root}/git/ref/heads/{_quoted(change.base)}")["object"]["sha"]
            try:
                self._api.call("POST", f"{self._root}/git/refs", {"ref": f"refs/heads/{change.branch}", "sha": tip})
            except HostError as error:
                if error.status != 422:  # the reference exists: an earlier attempt made it
                    raise
                text, revision = self.read(change.path, change.branch)
                if text == change.content:
                    return ""
                # One that was closed, and whose branch stayed: go on from what is there.
                change = replace(change, revision=revision)
        made = self._api.call(
            "PUT",
            f"{self._root}/contents/{_quoted(change.path)}",
            {
                "message": change.message,
                "content": base64.b64encode(change.content.encode()).decode(),
                "sha": change.revision,
                "branch": change.branch,
            },
        )
        return str(made["commit"]["html_url"])

    def review(self, change: Change) -> str:
        """See GitHost."""
        head = urllib.parse.quote(f"{self._owner}:{change.branch}", safe="")
        for found in self._api.call("GET", f"{self._root}/pulls?state=open&head={head}"):
            return str(found["html_url"])
        body = {"title": change.title, "head": change.branch, "base": change.base, "body": change.message}
        return str(self._api.call("POST", f"{self._root}/pulls", body)["html_url"])


class GitLab:
    """A project on GitLab, or on a server of one's own."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        self._api = _Api(url, {"PRIVATE-TOKEN": token})
        self._root = f"projects/{urllib.parse.quote(repository, safe='')}"

    def read(self, path: str, branch: str) -> tuple[str, str]:
        """See GitHost."""
        file = urllib.parse.quote(path, safe="")
        found = self._api.call("GET", f"{self._root}/repository/files/{file}?ref={_quoted(branch, safe='')}")
        return base64.b64decode(found["content"]).decode(), found["last_commit_id"]

    def commit(self, change: Change) -> str:
        """See GitHost."""
        action = {
            "action": "update",
            "file_path": change.path,
            "content": change.content,
            "last_commit_id": change.revision,
        }
        body: dict[str, Any] = {"branch": change.branch, "commit_message": change.message, "actions": [action]}
        if change.branch != change.base:
            body["start_branch"] = change.base
        try:
            return str(self._api.call("POST", f"{self._root}/repository/commits", body)["web_url"])
        except HostError as error:
            # The branch exists: an earlier attempt made it.
            if error.status != 400 or change.branch == change.base:
                raise
            text, revision = self.read(change.path, change.branch)
            if text == change.content:
                return ""
            # One that was closed, and whose branch stayed: go on from what is there.
            action["last_commit_id"] = revision
            body.pop("start_branch")
            return str(self._api.call("POST", f"{self._root}/repository/commits", body)["web_url"])

    def review(self, change: Change) -> str:
        """See GitHost."""
        source = _quoted(change.branch, safe="")
        for found in self._api.call("GET", f"{self._root}/merge_requests?state=opened&source_branch={source}"):
            return str(found["web_url"])
        body = {
            "source_branch": change.branch,
            "target_branch": change.base,
            "title": change.title,
            "description": change.message,
            "remove_source_branch": True,
        }
        return str(self._api.call("POST", f"{self._root}/merge_requests", body)["web_url"])


class Bitbucket:
    """A repository on Bitbucket Cloud."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        self._api = _Api(url, {"Authorization": f"Bearer {token}"})
        self._root = f"repositories/{repository}"

    def read(self, path: str, branch: str) -> tuple[str, str]:
        """See GitHost. The revision is that of the branch: Bitbucket has none for a file."""
        tip = self._api.call("GET", f"{self._root}/refs/branches/{_quoted(branch)}")["target"]["hash"]
        return str(self._api.call("GET", f"{self._root}/src/{tip}/{_quoted(path)}")), str(tip)

    def commit(self, change: Change) -> str:
        """See GitHost. `parents` makes Bitbucket refuse where the branch has moved on."""
        if change.branch != change.base:
            try:
                text, revision = self.read(change.path, change.branch)
            except HostError as error:
                if error.status != 404:
                    raise
            else:
                if text == change.content:
                    return ""
                # One that was closed, and whose branch stayed: go on from what is there.
                change = replace(change, revision=revision)
        form = {
            "branch": change.branch,
            "parents": change.revision,
            "message": change.message,
            change.path: change.content,
        }
        self._api.call("POST", f"{self._root}/src", form=form)
        return ""

    def review(self, change: Change) -> str:
        """See GitHost."""
        wanted = urllib.parse.quote(f'source.branch.name = "{change.branch}" AND state = "OPEN"', safe="")
        for found in self._api.call("GET", f"{self._root}/pullrequests?q={wanted}")["values"]:
            return str(found["links"]["html"]["href"])
        body = {
            "title": change.title,
            "description": change.message,
            "source": {"branch": {"name": change.branch}},
            "destination": {"branch": {"name": change.base}},
            "close_source_branch": True,
        }
        return str(self._api.call("POST", f"{self._root}/pullrequests", body)["links"]["html"]["href"])


_GITHUB_VERSION = {"X-GitHub-Api-Version": "2022-11-28"}
HOSTS: dict[str, Callable[[str, str, str], GitHost]] = {"github": GitHub, "gitlab": GitLab, "bitbucket": Bitbucket}


def _quoted(text: str, safe: str = "/") -> str:
    return urllib.parse.quote(text, safe=safe)
