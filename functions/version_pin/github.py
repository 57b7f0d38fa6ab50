"""A repository on GitHub: https://docs.github.com/rest/repos/contents, /rest/git/refs, /rest/pulls, /rest/issues/comments"""

from __future__ import annotations

import base64
import urllib.parse
from typing import Any

from .changes import Change, Comment, Review
from .http_api import Api, HostError, quoted

_VERSION = {"X-GitHub-Api-Version": "2022-11-28"}
_PAGE = 100
"""The most that a page may have."""


class GitHub:
    """On github.com, or on a server of one's own."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        self._api = Api(url, {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json", **_VERSION})
        self._repository = repository
        self._root = f"repos/{repository}"

    def read(self, path: str, branch: str) -> tuple[str, str]:
        """See GitHost."""
        found = self._api.call("GET", f"{self._root}/contents/{quoted(path)}?ref={quoted(branch, safe='')}")
        return base64.b64decode(found["content"]).decode(), found["sha"]

    def commit(self, change: Change) -> str:
        """See GitHost."""
        if change.branch != change.base and not self._is_made_anew(change):
            return ""
        made = self._api.call(
            "PUT",
            f"{self._root}/contents/{quoted(change.path)}",
            {
                "message": change.message,
                "content": base64.b64encode(change.content.encode()).decode(),
                "sha": change.revision,
                "branch": change.branch,
            },
        )
        return str(made["commit"]["html_url"])

    def _is_made_anew(self, change: Change) -> bool:
        """Put the branch at the tip of its base; False where it has just this commit on top of it already."""
        tip = self._tip(change.base)
        try:
            self._api.call("POST", f"{self._root}/git/refs", {"ref": f"refs/heads/{change.branch}", "sha": tip})
        except HostError as error:
            if error.status != 422:  # the reference exists
                raise
            found = self._api.call("GET", f"{self._root}/commits/{quoted(change.branch, safe='')}")
            is_on_top = [parent["sha"] for parent in found["parents"]] == [tip]
            if is_on_top and self.read(change.path, change.branch)[0] == change.content:
                return False
            self._api.call("PATCH", f"{self._root}/git/refs/heads/{quoted(change.branch)}", {"sha": tip, "force": True})
        return True

    def _tip(self, branch: str) -> str:
        return str(self._api.call("GET", f"{self._root}/git/ref/heads/{quoted(branch)}")["object"]["sha"])

    def review(self, change: Change) -> Review:
        """See GitHost."""
        if found := self._find(change.branch, change.base):
            return found
        body = {"title": change.title, "head": change.branch, "base": change.base, "body": change.text}
        try:
            return _review(self._api.call("POST", f"{self._root}/pulls", body))
        except HostError as error:
            # Somebody else asked for it in between: 422, "A pull request already exists".
            if error.status == 422 and (found := self._find(change.branch, change.base)):
                return found
            raise

    def _find(self, branch: str, base: str) -> Review | None:
        owner = self._repository.split("/")[0]
        head, into = (urllib.parse.quote(each, safe="") for each in (f"{owner}:{branch}", base))
        found = self._api.call("GET", f"{self._root}/pulls?state=open&head={head}&base={into}")
        return _review(found[0]) if found else None

    def open_review(self, branch: str, base: str) -> Review | None:
        """See GitHost. Whether it can be merged is in the answer for one pull request alone, and null until GitHub has tried."""
        found = self._find(branch, base)
        return found and _review(self._api.call("GET", f"{self._root}/pulls/{found.number}"))

    def open_reviews(self, base: str) -> list[Review]:
        """See GitHost."""
        pulls = self._all(f"{self._root}/pulls?state=open&base={quoted(base, safe='')}")
        # A fork may give its branches any name.
        own = self._repository.lower()
        return [
            _review(each) for each in pulls if ((each["head"].get("repo") or {}).get("full_name") or "").lower() == own
        ]

    def close(self, review: Review, reason: str) -> None:
        """See GitHost."""
        self.add_comment(review.number, reason)
        self._api.call("PATCH", f"{self._root}/pulls/{review.number}", {"state": "closed"})

    def author(self) -> str | None:
        """See GitHost. 403 for the token of an app, which that of a workflow is as well."""
        try:
            return str(self._api.call("GET", "user")["login"])
        except HostError as error:
            if error.status != 403:
                raise
            return None

    def comments(self, number: int) -> list[Comment]:
        """See GitHost."""
        return [_comment(each) for each in self._all(f"{self._root}/issues/{number}/comments?")]

    def add_comment(self, number: int, text: str) -> Comment:
        """See GitHost."""
        return _comment(self._api.call("POST", f"{self._root}/issues/{number}/comments", {"body": text}))

    def replace_comment(self, number: int, comment: Comment, text: str) -> Comment:
        """See GitHost."""
        return _comment(self._api.call("PATCH", f"{self._root}/issues/comments/{comment.id}", {"body": text}))

    def _all(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(1, 1000):
            more = self._api.call("GET", f"{path}&per_page={_PAGE}&page={page}")
            found += more
            if len(more) < _PAGE:
                break
        return found


def _review(pull: dict[str, Any]) -> Review:
    return Review(int(pull["number"]), pull["head"]["ref"], pull["html_url"], pull.get("mergeable") is False)


def _comment(found: dict[str, Any]) -> Comment:
    user = found.get("user") or {}
    return Comment(
        found["id"], found.get("body") or "", user.get("login", ""), found["html_url"], user.get("type") == "Bot"
    )
