"""How GitHub's REST API says things: statuses, errors, pages, and the objects, as far as they are filled here.

https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api, /rest/pulls/pulls, /rest/issues/comments
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from local_cloud.git_host.pulls import IssueComment, Pull
from local_cloud.git_host.repository import Entry, FileChange

DOCUMENTATION = "https://docs.github.com/rest"
_PAGE, _MAX_PAGE = 30, 100


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}
        if errors is not None:
            self.body["errors"] = errors


def not_found() -> Refused:
    """What GitHub says of whatever is not there, or not for this token."""
    return Refused(404, "Not Found")


def not_built(what: str) -> Refused:
    """GitHub has it, this host does not."""
    return Refused(501, f"{what} is not built in the local git host")


def invalid(resource: str, field_name: str | None = None, code: str = "invalid", message: str | None = None) -> Refused:
    """A body that cannot be."""
    error = {"resource": resource, "code": code, "field": field_name, "message": message}
    return Refused(422, "Validation Failed", [{name: value for name, value in error.items() if value is not None}])


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        base: the address of this server, as the client has it.
        parts: what the pattern of the path found.
    """

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    base: str
    parts: dict[str, str]

    def text(self, name: str, resource: str, default: str | None = None) -> str:
        """A field of the body.

        Raises:
            Refused: it is missing, or no text.
        """
        value = self.body.get(name, default)
        if value is None:
            raise invalid(resource, name, "missing_field")
        if not isinstance(value, str):
            raise invalid(resource, name)
        return value

    def flag(self, name: str, resource: str) -> bool:
        """A field of the body that is true or false; false where it is missing.

        Raises:
            Refused: it is neither.
        """
        value = self.body.get(name, False)
        if not isinstance(value, bool):
            raise invalid(resource, name)
        return value


@dataclass(frozen=True)
class Answer:
    """What is said."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def page(request: Request, items: list[Any]) -> Answer:
    """One page of a list, with the address of the next.

    https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
    """
    size = min(_number(request.query.get("per_page"), _PAGE), _MAX_PAGE)
    number = _number(request.query.get("page"), 1)
    start = (number - 1) * size
    headers = {}
    if start + size < len(items):
        kept = "".join(f"{name}={value}&" for name, value in request.query.items() if name not in ("page", "per_page"))
        headers["Link"] = f'<{request.base}{request.path}?{kept}per_page={size}&page={number + 1}>; rel="next"'
    return Answer(200, items[start : start + size], headers)


def _number(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,6}", text) and int(text) else default


def user(login: str) -> dict[str, Any]:
    """There is one account: whoever has the token."""
    return {"login": login, "id": 1, "type": "User", "site_admin": False}


@dataclass(frozen=True)
class Shapes:
    """The objects of one repository, in words.

    Attributes:
        base: the address of the server.
        name: owner/name.
        branch: the default one.
    """

    base: str
    name: str
    branch: str

    @property
    def api(self) -> str:
        return f"{self.base}/repos/{self.name}"

    @property
    def site(self) -> str:
        return f"{self.base}/{self.name}"

    @property
    def owner(self) -> str:
        return self.name.split("/")[0]

    def repository(self) -> dict[str, Any]:
        return {
            "id": 1,
            "name": self.name.split("/")[1],
            "full_name": self.name,
            "private": True,
            "fork": False,
            "owner": user(self.owner),
            "default_branch": self.branch,
            "url": self.api,
            "html_url": self.site,
            "clone_url": f"{self.site}.git",
        }

    def reference(self, branch: str, sha: str) -> dict[str, Any]:
        return {
            "ref": f"refs/heads/{branch}",
            "url": f"{self.api}/git/refs/heads/{branch}",
            "object": {"type": "commit", "sha": sha, "url": f"{self.api}/git/commits/{sha}"},
        }

    def branch_of(self, name: str, sha: str) -> dict[str, Any]:
        return {"name": name, "commit": {"sha": sha, "url": f"{self.api}/commits/{sha}"}, "protected": False}

    def commit(self, sha: str, parents: list[str], described: tuple[str, str, str, str]) -> dict[str, Any]:
        name, mail, date, message = described
        who = {"name": name, "email": mail, "date": date}
        return {
            "sha": sha,
            "url": f"{self.api}/commits/{sha}",
            "html_url": f"{self.site}/commit/{sha}",
            "commit": {"author": who, "committer": who, "message": message},
            "parents": [{"sha": parent, "url": f"{self.api}/commits/{parent}"} for parent in parents],
        }

    def entry(self, entry: Entry, reference: str) -> dict[str, Any]:
        kinds = {"blob": "symlink" if entry.mode == "120000" else "file", "tree": "dir", "commit": "submodule"}
        return {
            "type": kinds[entry.kind],
            "size": entry.size,
            "name": entry.path.split("/")[-1],
            "path": entry.path,
            "sha": entry.sha,
            "url": f"{self.api}/contents/{entry.path}?ref={reference}",
        }

    def pull(self, pull: Pull, is_mergeable: bool | None = None) -> dict[str, Any]:
        def side(branch: str, sha: str) -> dict[str, Any]:
            label = f"{self.owner}:{branch}"
            return {"label": label, "ref": branch, "sha": sha, "user": user(self.owner), "repo": self.repository()}

        return {
            "id": pull.number,
            "number": pull.number,
            "state": pull.state,
            "locked": False,
            "draft": False,
            "title": pull.title,
            "body": pull.body,
            "user": user(pull.user),
            "url": f"{self.api}/pulls/{pull.number}",
            "html_url": f"{self.site}/pull/{pull.number}",
            "issue_url": f"{self.api}/issues/{pull.number}",
            "comments_url": f"{self.api}/issues/{pull.number}/comments",
            "head": side(pull.head, pull.head_sha),
            "base": side(pull.base, pull.base_sha),
            "created_at": pull.created_at,
            "updated_at": pull.updated_at,
            "closed_at": pull.closed_at,
            "merged_at": pull.merged_at,
            "merge_commit_sha": pull.merge_commit_sha,
            # In the answer for one pull request alone, as at GitHub.
            **({} if is_mergeable is None else {"merged": pull.merged_at is not None, "mergeable": is_mergeable}),
        }

    def file(self, change: FileChange, head: str) -> dict[str, Any]:
        found = {
            "sha": change.sha,
            "filename": change.path,
            "status": change.status,
            "additions": change.additions,
            "deletions": change.deletions,
            "changes": change.additions + change.deletions,
            "contents_url": f"{self.api}/contents/{change.path}?ref={head}",
            "patch": change.patch,
        }
        return found if change.previous_path is None else {**found, "previous_filename": change.previous_path}

    def comment(self, comment: IssueComment) -> dict[str, Any]:
        return {
            "id": comment.id,
            "body": comment.body,
            "user": user(comment.user),
            "url": f"{self.api}/issues/comments/{comment.id}",
            "html_url": f"{self.site}/pull/{comment.number}#issuecomment-{comment.id}",
            "issue_url": f"{self.api}/issues/{comment.number}",
            "created_at": comment.created_at,
            "updated_at": comment.updated_at,
        }
