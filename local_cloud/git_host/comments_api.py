"""What is said on pull requests, over the API and in a browser: https://docs.github.com/rest/issues/comments"""

from __future__ import annotations

import re

from local_cloud.git_host.answers import Answer, Request, Shapes, not_found, page
from local_cloud.git_host.pulls import IssueComment, Pull, State, Store, now
from local_cloud.git_host.pulls_api import PullsApi, body_of


class CommentsApi:
    """Comments; a pull request is an issue for them."""

    def __init__(self, store: Store, shapes: Shapes, login: str, pulls: PullsApi) -> None:
        self._store = store
        self._shapes = shapes
        self._login = login
        self._pulls = pulls

    def list_comments(self, request: Request) -> Answer:
        with self._store.changing() as kept:
            number = self._pulls.found(kept, request).number
            found = [self._shapes.comment(each) for each in kept.comments if each.number == number]
        return page(request, found)

    def create_comment(self, request: Request) -> Answer:
        body = body_of(request, "IssueComment")
        with self._store.changing() as kept:
            pull, at = self._pulls.found(kept, request), now()
            kept.last_comment += 1
            comment = IssueComment(kept.last_comment, pull.number, body, self._login, at, at)
            kept.comments.append(comment)
            pull.updated_at = at
            return Answer(201, self._shapes.comment(comment))

    def get_comment(self, request: Request) -> Answer:
        with self._store.reading() as kept:
            return Answer(200, self._shapes.comment(_comment(kept, request)))

    def update_comment(self, request: Request) -> Answer:
        body = body_of(request, "IssueComment")
        with self._store.changing() as kept:
            comment = _comment(kept, request)
            comment.body, comment.updated_at = body, now()
            return Answer(200, self._shapes.comment(comment))

    def delete_comment(self, request: Request) -> Answer:
        with self._store.changing() as kept:
            kept.comments.remove(_comment(kept, request))
        return Answer(204)


def _comment(kept: State, request: Request) -> IssueComment:
    wanted = int(request.parts["id"])
    for comment in kept.comments:
        if comment.id == wanted:
            return comment
    raise not_found()


_LINE = re.compile(r"^", re.MULTILINE)


def page_of(pull: Pull, comments: list[IssueComment], patch: str, merge: str) -> str:
    """A pull request as plain text, for a browser: there are no pages here, but its address is printed."""
    state = "merged" if pull.merged_at else pull.state
    said = "".join(f"\n--- {each.user}, {each.updated_at} ---\n{_LINE.sub('  ', each.body)}\n" for each in comments)
    ways = f"\nTo merge it:\n  {merge}\n" if pull.is_open else ""
    return f"#{pull.number} {pull.title} ({state})\n{pull.head} -> {pull.base}\n\n{pull.body}\n\n{patch}\n{said}{ways}"
