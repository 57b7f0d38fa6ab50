"""A repository on Bitbucket Cloud: https://developer.atlassian.com/cloud/bitbucket/rest/ (source, refs, pullrequests)"""

from __future__ import annotations

import urllib.parse
from typing import Any

from .changes import Change, Comment, Review
from .http_api import Api, HostError, quoted

_PAGE = 50
"""The most that a page of pull requests may have."""


class Bitbucket:
    """On bitbucket.org."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        self._api = Api(url, {"Authorization": f"Bearer {token}"})
        self._repository = repository
        self._root = f"repositories/{repository}"

    def read(self, path: str, branch: str) -> tuple[str, str]:
        """See GitHost. The revision is that of the branch: Bitbucket has none for a file."""
        tip = self._tip(branch)
        return str(self._api.call("GET", f"{self._root}/src/{tip}/{quoted(path)}")), tip

    def commit(self, change: Change) -> str:
        """See GitHost. `parents` makes Bitbucket refuse where the branch has moved on."""
        if change.branch != change.base and not self._is_out_of_the_way(change):
            return ""
        form = {
            "branch": change.branch,
            "parents": change.revision,
            "message": change.message,
            change.path: change.content,
        }
        self._api.call("POST", f"{self._root}/src", form=form)
        return ""

    def _is_out_of_the_way(self, change: Change) -> bool:
        """Delete what the branch was; False where it has just this commit on top of its base already."""
        try:
            tip = self._tip(change.branch)
        except HostError as error:
            if error.status != 404:
                raise
            return True
        parents = [parent["hash"] for parent in self._api.call("GET", f"{self._root}/commit/{tip}")["parents"]]
        if parents == [change.revision] and self.read(change.path, change.branch)[0] == change.content:
            return False
        self._api.call("DELETE", f"{self._root}/refs/branches/{quoted(change.branch)}")
        return True

    def _tip(self, branch: str) -> str:
        return str(self._api.call("GET", f"{self._root}/refs/branches/{quoted(branch)}")["target"]["hash"])

    def review(self, change: Change) -> Review:
        """See GitHost."""
        if found := self.open_review(change.branch, change.base):
            return found
        body = {
            "title": change.title,
            "description": change.text,
            "source": {"branch": {"name": change.branch}},
            "destination": {"branch": {"name": change.base}},
            "close_source_branch": True,
        }
        return _review(self._api.call("POST", f"{self._root}/pullrequests", body))

    def open_review(self, branch: str, base: str) -> Review | None:
        """See GitHost."""
        found = self._asked_for(f'source.branch.name = "{branch}" AND destination.branch.name = "{base}"')
        return _review(found[0]) if found else None

    def open_reviews(self, base: str) -> list[Review]:
        """See GitHost."""
        return [_review(each) for each in self._asked_for(f'destination.branch.name = "{base}"')]

    def _asked_for(self, condition: str) -> list[dict[str, Any]]:
        wanted = urllib.parse.quote(f'{condition} AND state = "OPEN"', safe="")
        found = self._all(f"{self._root}/pullrequests?q={wanted}")
        # A fork may give its branches any name.
        own = self._repository.lower()
        return [each for each in found if (each["source"].get("repository") or {}).get("full_name", own).lower() == own]

    def close(self, review: Review, reason: str) -> None:
        """See GitHost. Bitbucket calls it to decline."""
        self.add_comment(review.number, reason)
        self._api.call("POST", f"{self._root}/pullrequests/{review.number}/decline")

    def author(self) -> str | None:
        """See GitHost. The token of a repository belongs to nobody: 401, 403 or 404."""
        try:
            return str(self._api.call("GET", "user")["uuid"])
        except HostError as error:
            if error.status not in (401, 403, 404):
                raise
            return None

    def comments(self, number: int) -> list[Comment]:
        """See GitHost. Those that were deleted stay in Bitbucket's list; they are left out."""
        found = self._all(f"{self._root}/pullrequests/{number}/comments?sort=created_on")
        return [_comment(each) for each in found if not each.get("deleted")]

    def add_comment(self, number: int, text: str) -> Comment:
        """See GitHost."""
        path = f"{self._root}/pullrequests/{number}/comments"
        return _comment(self._api.call("POST", path, {"content": {"raw": text}}))

    def replace_comment(self, number: int, comment: Comment, text: str) -> Comment:
        """See GitHost."""
        path = f"{self._root}/pullrequests/{number}/comments/{comment.id}"
        return _comment(self._api.call("PUT", path, {"content": {"raw": text}}))

    def _all(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(1, 1000):
            more = self._api.call("GET", f"{path}&pagelen={_PAGE}&page={page}")
            found += more["values"]
            if "next" not in more:
                break
        return found


def _review(found: dict[str, Any]) -> Review:
    return Review(int(found["id"]), found["source"]["branch"]["name"], found["links"]["html"]["href"])


def _comment(found: dict[str, Any]) -> Comment:
    user = found.get("user") or {}
    address = found.get("links", {}).get("html", {}).get("href", "")
    return Comment(found["id"], found["content"]["raw"], user.get("uuid", ""), address, user.get("type") != "user")
