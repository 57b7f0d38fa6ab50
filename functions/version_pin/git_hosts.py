"""The hosts of git repositories, as far as a pin needs them: read a file, commit, ask for a review, comment on it.

Over their HTTP APIs, since a function has no git. The command line uses them, too (`sagestack promote --after`,
`sagestack comment`), from a checkout that may be of any host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .bitbucket import Bitbucket
from .changes import Change, Comment, Review
from .github import GitHub
from .gitlab import GitLab
from .http_api import HostError

__all__ = ["APIS", "HOSTS", "Change", "Comment", "GitHost", "HostError", "Review"]


class GitHost(Protocol):
    """One repository on a host. All of its calls raise `HostError`."""

    def read(self, path: str, branch: str) -> tuple[str, str]:
        """A file's text, and a token of its revision."""

    def commit(self, change: Change) -> str:
        """Commit a change; the address of the commit, where the host tells it.

        Where the change has a branch of its own, that branch is made anew from the tip of its base: what an earlier attempt,
        or a review that was closed, left there would carry an old base along.
        """

    def review(self, change: Change) -> Review:
        """Ask for the review of a branch, once: one that is open already is the answer."""

    def open_review(self, branch: str, base: str) -> Review | None:
        """The open review of one branch, with what the host knows of conflicts."""

    def open_reviews(self, base: str) -> list[Review]:
        """The open reviews of this repository's own branches (not of forks) into `base`."""

    def close(self, review: Review, reason: str) -> None:
        """Close a review without a merge, after a comment that says why. Its branch stays."""

    def author(self) -> str | None:
        """Who comments with this token; None where the host does not tell (an app's token may not ask)."""

    def comments(self, number: int) -> list[Comment]:
        """All comments of a review, oldest first."""

    def add_comment(self, number: int, text: str) -> Comment:
        """Say something in a review."""

    def replace_comment(self, number: int, comment: Comment, text: str) -> Comment:
        """Say something else instead."""


HOSTS: dict[str, Callable[[str, str, str], GitHost]] = {"github": GitHub, "gitlab": GitLab, "bitbucket": Bitbucket}
"""From the address of the API, the repository and the token."""

APIS = {
    "github": "https://api.github.com",
    "gitlab": "https://gitlab.com/api/v4",
    "bitbucket": "https://api.bitbucket.org/2.0",
}
"""The addresses of those that everybody uses; a server of one's own has another."""
