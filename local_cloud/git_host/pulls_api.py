"""Pull requests, from the first commit to the merge: https://docs.github.com/rest/pulls/pulls"""

from __future__ import annotations

from local_cloud.git_host.answers import Answer, Refused, Request, Shapes, invalid, not_built, not_found, page
from local_cloud.git_host.pulls import Pull, State, Store, now
from local_cloud.git_host.repository import Conflict, Moved, NotThere, Repository

MAX_BODY = 65_536
"""Characters of a comment, or of a pull request's text."""
_BODY_TOO_LONG = f"Body is too long (maximum is {MAX_BODY} characters)"


class PullsApi:
    """What is said about changes to the repository, and their merge."""

    def __init__(self, repository: Repository, store: Store, shapes: Shapes, login: str) -> None:
        self._repository = repository
        self._store = store
        self._shapes = shapes
        self._login = login

    def list_pulls(self, request: Request) -> Answer:
        state, sort = request.query.get("state", "open"), request.query.get("sort", "created")
        if state not in ("open", "closed", "all"):
            raise invalid("PullRequest", "state")
        if sort not in ("created", "updated"):
            raise not_built(f"Sorting pull requests by {sort!r}")
        head, base = request.query.get("head"), request.query.get("base")
        with self._store.changing() as kept:
            for pull in kept.pulls:
                self._settle(pull)
            found = [
                pull
                for pull in kept.pulls
                if state in ("all", pull.state)
                # GitHub leaves `head` out of account where it has no owner.
                and (head is None or ":" not in head or head == f"{self._shapes.owner}:{pull.head}")
                and base in (None, pull.base)
            ]
            is_ascending = request.query.get("direction", "asc" if "sort" in request.query else "desc") == "asc"
            found.sort(key=lambda pull: (getattr(pull, f"{sort}_at"), pull.number), reverse=not is_ascending)
            return page(request, [self._shapes.pull(pull) for pull in found])

    def create_pull(self, request: Request) -> Answer:
        if "issue" in request.body:
            raise not_built("Making a pull request of an issue")
        if request.flag("draft", "PullRequest"):
            raise not_built("A draft")
        title = request.text("title", "PullRequest").strip()
        if not title:
            raise invalid("PullRequest", "title", "missing_field")
        body = body_of(request, "PullRequest", default="")
        owner, _, branch = request.text("head", "PullRequest").rpartition(":")
        base = request.text("base", "PullRequest")
        if owner not in ("", self._shapes.owner):
            raise not_built("A pull request from a fork")
        with self._store.changing() as kept:
            tips = {"head": self._tip(branch, "head"), "base": self._tip(base, "base")}
            for pull in kept.pulls:
                self._settle(pull)
            self._refuse_second(kept, branch, base)
            if not self._repository.commits_between(tips["base"], tips["head"]):
                message = f"No commits between {base} and {branch}"
                raise invalid("PullRequest", code="custom", message=message)
            at = now()
            pull = Pull(
                number=len(kept.pulls) + 1,
                title=title,
                body=body,
                head=branch,
                base=base,
                head_sha=tips["head"],
                base_sha=tips["base"],
                user=self._login,
                created_at=at,
                updated_at=at,
            )
            kept.pulls.append(pull)
            return Answer(201, self._shapes.pull(pull, self._is_mergeable(pull)))

    def get_pull(self, request: Request) -> Answer:
        with self._store.changing() as kept:
            pull = self.found(kept, request)
            return Answer(200, self._shapes.pull(pull, self._is_mergeable(pull)))

    def update_pull(self, request: Request) -> Answer:
        with self._store.changing() as kept:
            pull = self.found(kept, request)
            state = request.body.get("state", pull.state)
            if state not in ("open", "closed"):
                raise invalid("PullRequest", "state")
            if "base" in request.body:
                pull.base_sha = self._tip(request.text("base", "PullRequest"), "base")
                pull.base = request.text("base", "PullRequest")
            pull.title = request.text("title", "PullRequest", pull.title)
            pull.body = body_of(request, "PullRequest", default=pull.body)
            if state == "open" and not pull.is_open:
                self._reopen(kept, pull)
            elif state == "closed" and pull.is_open:
                pull.state, pull.closed_at = "closed", now()
            pull.updated_at = now()
            return Answer(200, self._shapes.pull(pull, self._is_mergeable(pull)))

    def list_files(self, request: Request) -> Answer:
        with self._store.changing() as kept:
            pull = self.found(kept, request)
        changes = self._repository.files_between(pull.base_sha, pull.head_sha)
        return page(request, [self._shapes.file(change, pull.head_sha) for change in changes])

    def is_merged(self, request: Request) -> Answer:
        with self._store.changing() as kept:
            if self.found(kept, request).merged_at is None:
                raise not_found()
        return Answer(204)

    def merge(self, request: Request) -> Answer:
        method = request.text("merge_method", "PullRequest", "merge")
        if method == "rebase":
            raise not_built("merge_method 'rebase'")
        if method not in ("merge", "squash"):
            raise invalid("PullRequest", "merge_method")
        with self._store.changing() as kept:
            pull = self.found(kept, request)
            if not pull.is_open:
                raise Refused(405, "Pull Request is not mergeable")
            if request.body.get("sha") not in (None, pull.head_sha):
                raise Refused(409, "Head branch was modified. Review and try the merge again.")
            base = self._repository.tip(pull.base)
            try:
                tree = self._repository.merged_tree(base, pull.head_sha)
            except Conflict:
                raise Refused(405, "Pull Request is not mergeable") from None
            commit = self._repository.commit(
                tree, [base, pull.head_sha] if method == "merge" else [base], self._merge_message(request, pull, method)
            )
            try:
                self._repository.move(pull.base, commit, base)
            except Moved:
                raise Refused(405, "Base branch was modified. Review and try the merge again.") from None
            pull.base_sha, pull.merge_commit_sha = base, commit
            self._end(pull, is_merged=True)
        return Answer(200, {"sha": commit, "merged": True, "message": "Pull Request successfully merged"})

    def found(self, kept: State, request: Request) -> Pull:
        """The one that the path names, with what git did since.

        Raises:
            Refused: there is none of this number.
        """
        number = int(request.parts["number"])
        found = next((pull for pull in kept.pulls if pull.number == number), None)
        if found is None:
            raise not_found()
        self._settle(found)
        return found

    def _settle(self, pull: Pull) -> None:
        """Take in what git alone did since: a push to the branch, its deletion, a merge on somebody's machine."""
        if not pull.is_open:
            return
        before = pull.head_sha
        try:
            base = self._repository.tip(pull.base)
            pull.head_sha = self._repository.tip(pull.head)
        except NotThere:
            # GitHub closes what has no branch any more, unless it was merged first.
            self._end(pull, is_merged=self._is_merged(pull, before))
            return
        if self._repository.is_ancestor(pull.head_sha, base):
            self._end(pull, is_merged=pull.head_sha == before)
            return
        pull.base_sha = base

    def _is_merged(self, pull: Pull, head: str) -> bool:
        try:
            return self._repository.is_ancestor(head, self._repository.tip(pull.base))
        except NotThere:
            return False

    def _end(self, pull: Pull, *, is_merged: bool) -> None:
        pull.state = "closed"
        pull.closed_at = pull.updated_at = now()
        pull.merged_at = pull.closed_at if is_merged else None

    def _reopen(self, kept: State, pull: Pull) -> None:
        if pull.merged_at:
            message = "state cannot be changed. The pull request cannot be reopened."
            raise invalid("PullRequest", "state", message=message)
        try:
            head = self._repository.tip(pull.head)
        except NotThere:
            message = f"state cannot be changed. The {pull.head} branch has been deleted."
            raise invalid("PullRequest", "state", message=message) from None
        self._refuse_second(kept, pull.head, pull.base)
        if not self._repository.commits_between(self._tip(pull.base, "base"), head):
            message = f"state cannot be changed. There are no new commits on the {pull.head} branch."
            raise invalid("PullRequest", "state", message=message)
        pull.state, pull.closed_at, pull.head_sha = "open", None, head

    def _refuse_second(self, kept: State, head: str, base: str) -> None:
        if any(pull.is_open and (pull.head, pull.base) == (head, base) for pull in kept.pulls):
            message = f"A pull request already exists for {self._shapes.owner}:{head}."
            raise invalid("PullRequest", code="custom", message=message)

    def _is_mergeable(self, pull: Pull) -> bool:
        """Known at once here; GitHub says null until it has tried."""
        if not pull.is_open:
            return False
        try:
            self._repository.merged_tree(self._repository.tip(pull.base), pull.head_sha)
        except Conflict:
            return False
        return True

    def _merge_message(self, request: Request, pull: Pull, method: str) -> str:
        if method == "squash":
            title, text = f"{pull.title} (#{pull.number})", ""
        else:
            title, text = f"Merge pull request #{pull.number} from {self._shapes.owner}/{pull.head}", pull.title
        title = request.text("commit_title", "PullRequest", title)
        text = request.text("commit_message", "PullRequest", text)
        return f"{title}\n\n{text}\n" if text else f"{title}\n"

    def _tip(self, branch: str, field: str) -> str:
        try:
            return self._repository.tip(branch)
        except NotThere:
            raise invalid("PullRequest", field) from None


def body_of(request: Request, resource: str, default: str | None = None) -> str:
    """The text of a pull request or a comment; there must be one where there is no default.

    Raises:
        Refused: it is missing, no text, or too long.
    """
    # GitHub takes null for a pull request without a text.
    given = request.body if request.body.get("body") is not None else {}
    body = given.get("body", default)
    if body is None or (resource == "IssueComment" and isinstance(body, str) and not body.strip()):
        raise invalid(resource, "data", "unprocessable", "Body cannot be blank")
    if not isinstance(body, str):
        raise invalid(resource, "body")
    if len(body) > MAX_BODY:
        raise invalid(resource, "data", "unprocessable", _BODY_TOO_LONG)
    return body
