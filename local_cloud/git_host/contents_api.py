"""Files, branches and commits: https://docs.github.com/rest/repos/contents, /rest/git/refs, /rest/branches, /rest/commits"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from local_cloud.git_host.answers import Answer, Refused, Request, Shapes, invalid, not_built, not_found, page
from local_cloud.git_host.repository import ZERO, GitError, Moved, NotThere, Repository

_MAX_INLINE = 1_000_000
"""Bytes of a file that GitHub gives in this way; above, the raw media type is needed."""


class ContentsApi:
    """What is in the repository."""

    def __init__(self, repository: Repository, shapes: Shapes) -> None:
        self._repository = repository
        self._shapes = shapes

    def get_repository(self, _: Request) -> Answer:
        return Answer(200, self._shapes.repository())

    def read(self, request: Request) -> Answer:
        """A file with its content, or what is in a folder."""
        reference = request.query.get("ref") or self._shapes.branch
        path = _checked(request.parts["path"])
        try:
            commit = self._repository.commit_of(reference)
        except NotThere:
            raise Refused(404, f"No commit found for the ref {reference}") from None
        entry = self._repository.entry(commit, path)
        if entry is None:
            raise not_found()
        shape = self._shapes.entry(entry, reference)
        if shape["type"] == "dir":
            return Answer(200, [self._shapes.entry(each, reference) for each in self._repository.folder(commit, path)])
        if shape["type"] != "file":
            raise not_built(f"Reading a {shape['type']} ({path})")
        if entry.size > _MAX_INLINE:
            return Answer(200, {**shape, "encoding": "none", "content": ""})
        content = base64.encodebytes(self._repository.content(entry.sha)).decode()
        return Answer(200, {**shape, "encoding": "base64", "content": content})

    def write(self, request: Request) -> Answer:
        """One file, in a commit on a branch, if it is what whoever writes has read."""
        path, branch = _checked(request.parts["path"]), request.text("branch", "Commit", self._shapes.branch)
        if not path:
            raise invalid("Commit", "path")
        message = request.text("message", "Commit")
        try:
            content = base64.b64decode(request.text("content", "Commit"), validate=False)
        except (binascii.Error, ValueError):
            raise Refused(422, "content is not valid Base64") from None
        try:
            tip = self._repository.tip(branch)
        except NotThere:
            raise Refused(404, f"Branch {branch} not found") from None
        found = self._repository.entry(tip, path)
        given = request.body.get("sha")
        if found is not None and found.kind != "blob":
            raise not_built(f"Writing a {found.kind} ({path})")
        if found is not None and given is None:
            raise Refused(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
        if given is not None and (found is None or given != found.sha):
            raise Refused(409, f"{path} does not match {given}")
        try:
            commit, blob = self._repository.with_file(tip, path, content, message, _author(request))
            self._repository.move(branch, commit, tip)
        except Moved:
            now = self._repository.tip(branch)
            raise Refused(409, f"is at {now} but expected {tip}") from None
        except GitError as error:
            # A file where the path needs a folder, and the like.
            raise Refused(422, f"path could not be written: {error}") from None
        entry = self._repository.entry(commit, path)
        assert entry is not None  # it was just written
        return Answer(
            201 if found is None else 200,
            {"content": {**self._shapes.entry(entry, branch), "sha": blob}, "commit": self._commit(commit)},
        )

    def get_reference(self, request: Request) -> Answer:
        branch = request.parts["branch"]
        try:
            return Answer(200, self._shapes.reference(branch, self._repository.tip(branch)))
        except NotThere:
            raise not_found() from None

    def create_reference(self, request: Request) -> Answer:
        name, sha = request.text("ref", "Reference"), request.text("sha", "Reference")
        if not name.startswith("refs/") or name.count("/") < 2:
            raise Refused(422, "Reference name must start with 'refs/' and have at least two slashes.")
        if not name.startswith("refs/heads/"):
            raise not_built(f"A reference that is no branch ({name})")
        branch = name.removeprefix("refs/heads/")
        if not self._repository.is_branch_name(branch):
            raise Refused(422, f"{name} is not a valid ref name.")
        commit = self._existing(sha)
        try:
            self._repository.move(branch, commit, ZERO)
        except Moved:
            raise Refused(422, "Reference already exists") from None
        return Answer(201, self._shapes.reference(branch, commit))

    def update_reference(self, request: Request) -> Answer:
        branch = request.parts["branch"]
        commit = self._existing(request.text("sha", "Reference"))
        tip = self._there(branch)
        if not request.flag("force", "Reference") and not self._repository.is_ancestor(tip, commit):
            raise Refused(422, "Update is not a fast forward")
        try:
            self._repository.move(branch, commit, tip)
        except Moved:
            raise Refused(422, "Update is not a fast forward") from None
        return Answer(200, self._shapes.reference(branch, commit))

    def delete_reference(self, request: Request) -> Answer:
        branch = request.parts["branch"]
        tip = self._there(branch)
        if branch == self._shapes.branch:
            raise Refused(422, "Cannot delete the default branch")
        try:
            self._repository.delete(branch, tip)
        except Moved:
            raise Refused(422, "Reference does not exist") from None
        return Answer(204)

    def list_branches(self, request: Request) -> Answer:
        found = self._repository.branches().items()
        return page(request, [self._shapes.branch_of(name, sha) for name, sha in found])

    def get_branch(self, request: Request) -> Answer:
        branch = request.parts["branch"]
        try:
            return Answer(200, self._shapes.branch_of(branch, self._repository.tip(branch)))
        except NotThere:
            raise Refused(404, "Branch not found") from None

    def get_commit(self, request: Request) -> Answer:
        try:
            return Answer(200, self._commit(self._repository.commit_of(request.parts["reference"])))
        except NotThere as error:
            raise Refused(422, f"No commit found for SHA: {error}") from None

    def _commit(self, sha: str) -> dict[str, Any]:
        return self._shapes.commit(sha, self._repository.parents(sha), self._repository.described(sha))

    def _existing(self, sha: str) -> str:
        try:
            commit = self._repository.commit_of(sha)
        except NotThere:
            commit = ""
        # A branch's name is no hash.
        if not commit or commit != sha.lower():
            raise Refused(422, "Object does not exist")
        return commit

    def _there(self, branch: str) -> str:
        try:
            return self._repository.tip(branch)
        except NotThere:
            raise Refused(422, "Reference does not exist") from None


def _checked(path: str) -> str:
    """A path below the root of the repository, as git takes it."""
    path = path.strip("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in path.split("/")) and path:
        raise Refused(422, "path contains a malformed path component")
    return path


def _author(request: Request) -> tuple[str, str] | None:
    given = request.body.get("author") or request.body.get("committer")
    if given is None:
        return None
    if not (isinstance(given, dict) and isinstance(given.get("name"), str) and isinstance(given.get("email"), str)):
        raise invalid("Commit", "author")
    return given["name"], given["email"]
