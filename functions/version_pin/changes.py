"""What is said to a git host and what it answers, in words that all of them share."""

from __future__ import annotations

from dataclasses import dataclass


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
        description: of the review, in Markdown; empty for the commit's message.
    """

    path: str
    content: str
    message: str
    base: str
    branch: str
    revision: str
    description: str = ""

    @property
    def title(self) -> str:
        """Of a review."""
        return self.message.split("\n")[0]

    @property
    def text(self) -> str:
        """Of a review, below its title."""
        return self.description or self.message


@dataclass(frozen=True)
class Review:
    """A pull request (merge request).

    Attributes:
        number: as people write it, in this repository.
        branch: what is to be merged.
        address: of its page.
        has_conflicts: the host says that it cannot be merged as it is. False where the host has not found out yet, and on
            Bitbucket, whose API does not say it.
    """

    number: int
    branch: str
    address: str
    has_conflicts: bool = False


@dataclass(frozen=True)
class Comment:
    """What somebody said in a review.

    Attributes:
        id: the host's own.
        text: in Markdown.
        author: the name that `GitHost.author` gives, too.
        address: of the comment on the page.
        is_by_app: a program said it: GitHub and GitLab mark those accounts.
    """

    id: int
    text: str
    author: str
    address: str
    is_by_app: bool = False
