"""A project on GitLab: https://docs.gitlab.com/api/commits, /api/repository_files, /api/merge_requests, /api/notes"""

from __future__ import annotations

import base64
from typing import Any

from .changes import Change, Comment, Review
from .http_api import Api, HostError, quoted

_PAGE = 100
"""The most that a page may have."""


class GitLab:
    """On gitlab.com, or on a server of one's own."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        self._api = Api(url, {"PRIVATE-TOKEN": token})
        self._root = f"projects/{quoted(repository, safe='')}"

    def read(self, path: str, branch: str) -> tuple[str, str]:
        """See GitHost."""
        file, ref = quoted(path, safe=""), quoted(branch, safe="")
        found = self._api.call("GET", f"{self._root}/repository/files/{file}?ref={ref}")
        return base64.b64decode(found["content"]).decode(), found["last_commit_id"]

    def commit(self, change: Change) -> str:
        """See GitHost. `force` with `start_branch` puts the branch at the new commit in one step."""
        body: dict[str, Any] = {
            "branch": change.branch,
            "commit_message": change.message,
            "actions": [
                {
                    "action": "update",
                    "file_path": change.path,
                    "content": change.content,
                    "last_commit_id": change.revision,
                }
            ],
        }
        if change.branch != change.base:
            body |= {"start_branch": change.base, "force": True}
        return str(self._api.call("POST", f"{self._root}/repository/commits", body)["web_url"])

    def review(self, change: Change) -> Review:
        """See GitHost."""
        if found := self.open_review(change.branch, change.base):
            return found
        body = {
            "source_branch": change.branch,
            "target_branch": change.base,
            "title": change.title,
            "description": change.text,
            "remove_source_branch": True,
        }
        try:
            return _review(self._api.call("POST", f"{self._root}/merge_requests", body))
        except HostError as error:
            # Somebody else asked for it in between: 409, "Another open merge request already exists".
            if error.status == 409 and (found := self.open_review(change.branch, change.base)):
                return found
            raise

    def open_review(self, branch: str, base: str) -> Review | None:
        """See GitHost."""
        source, target = quoted(branch, safe=""), quoted(base, safe="")
        query = f"state=opened&source_branch={source}&target_branch={target}"
        found = self._api.call("GET", f"{self._root}/merge_requests?{query}")
        return _review(found[0]) if found else None

    def open_reviews(self, base: str) -> list[Review]:
        """See GitHost."""
        found = self._all(f"{self._root}/merge_requests?state=opened&target_branch={quoted(base, safe='')}")
        return [_review(each) for each in found if each["source_project_id"] == each["target_project_id"]]

    def close(self, review: Review, reason: str) -> None:
        """See GitHost."""
        self.add_comment(review.number, reason)
        self._api.call("PUT", f"{self._root}/merge_requests/{review.number}", {"state_event": "close"})

    def author(self) -> str | None:
        """See GitHost."""
        return str(self._api.call("GET", "user")["username"])

    def comments(self, number: int) -> list[Comment]:
        """See GitHost. What GitLab itself notes ("changed the description") is left out."""
        found = self._all(f"{self._root}/merge_requests/{number}/notes?sort=asc&order_by=created_at")
        return [_comment(each) for each in found if not each.get("system")]

    def add_comment(self, number: int, text: str) -> Comment:
        """See GitHost."""
        return _comment(self._api.call("POST", f"{self._root}/merge_requests/{number}/notes", {"body": text}))

    def replace_comment(self, number: int, comment: Comment, text: str) -> Comment:
        """See GitHost."""
        path = f"{self._root}/merge_requests/{number}/notes/{comment.id}"
        return _comment(self._api.call("PUT", path, {"body": text}))

    def _all(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(1, 1000):
            more = self._api.call("GET", f"{path}&per_page={_PAGE}&page={page}")
            found += more
            if len(more) < _PAGE:
                break
        return found


def _review(found: dict[str, Any]) -> Review:
    return Review(int(found["iid"]), found["source_branch"], found["web_url"], bool(found.get("has_conflicts")))


def _comment(found: dict[str, Any]) -> Comment:
    author = found.get("author") or {}
    # A note has no address of its own in GitLab's answer.
    return Comment(found["id"], found["body"], author.get("username", ""), "", bool(author.get("bot")))
