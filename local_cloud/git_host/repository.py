"""A bare git repository, read and changed by git's own plumbing: no checkout, and every update says what it replaces."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ZERO = "0" * 40
"""What git says for "no commit"."""
_NAME, _MAIL = "sagestack", "sagestack@localhost"


class GitError(Exception):
    """Git refused; its words."""


class NotThere(GitError):
    """No such branch, commit or file."""


class Moved(GitError):
    """A branch is not any more at the commit that the change was made for."""


class Conflict(GitError):
    """Two branches changed the same lines."""


@dataclass(frozen=True)
class Entry:
    """What a path of a commit is.

    Attributes:
        mode: of git: 100644 for a file, 040000 for a folder, ...
        kind: blob, tree or commit (a submodule).
        sha: of its content.
        path: from the root of the repository.
        size: in bytes, of a blob; 0 for the rest.
    """

    mode: str
    kind: str
    sha: str
    path: str
    size: int


@dataclass(frozen=True)
class FileChange:
    """One line of a difference: what became of a file."""

    path: str
    status: str
    previous_path: str | None
    additions: int
    deletions: int
    sha: str
    patch: str


class Repository:
    """One bare repository."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *arguments: str, data: bytes | None = None, environment: dict[str, str] | None = None) -> bytes:
        """What a git command prints.

        Raises:
            GitError: it failed.
        """
        done = self._run(arguments, data, environment)
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed")
        return done.stdout

    def _run(
        self, arguments: tuple[str, ...], data: bytes | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        command = ["git", f"--git-dir={self.path}", *arguments]
        return subprocess.run(
            command, input=data or b"", capture_output=True, env={**clean_environment(), **(environment or {})}
        )

    def commit_of(self, reference: str) -> str:
        """The commit that a branch, a tag or a hash names.

        Raises:
            NotThere: it names none.
        """
        for name in (f"refs/heads/{reference}", f"refs/tags/{reference}", reference):
            done = self._run(("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"))
            # A bare hash alone: `main~1` or `HEAD` would be git's words, not a name of this repository.
            if done.returncode == 0 and (name != reference or _is_hash(reference)):
                return done.stdout.decode().strip()
        raise NotThere(reference)

    def tip(self, branch: str) -> str:
        """The commit that a branch is at.

        Raises:
            NotThere: there is no such branch.
        """
        done = self._run(("rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/heads/{branch}^{{commit}}"))
        if done.returncode:
            raise NotThere(branch)
        return done.stdout.decode().strip()

    def branches(self) -> dict[str, str]:
        """All branches, and where they are."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/").decode().splitlines()
        return {name.removeprefix("refs/heads/"): sha for name, sha in (line.split(" ") for line in lines)}

    def is_branch_name(self, name: str) -> bool:
        """Whether git takes it."""
        return self._run(("check-ref-format", f"refs/heads/{name}")).returncode == 0

    def move(self, branch: str, new: str, old: str) -> None:
        """Put a branch at a commit, if it is where it is believed to be; `ZERO` for a branch that is not there.

        Raises:
            Moved: it is elsewhere.
        """
        done = self._run(("update-ref", "--create-reflog", f"refs/heads/{branch}", new, old))
        if done.returncode:
            raise Moved(done.stderr.decode(errors="replace").strip())

    def delete(self, branch: str, old: str) -> None:
        """Delete a branch, if it is where it is believed to be.

        Raises:
            Moved: it is elsewhere.
        """
        done = self._run(("update-ref", "-d", f"refs/heads/{branch}", old))
        if done.returncode:
            raise Moved(done.stderr.decode(errors="replace").strip())

    def entry(self, commit: str, path: str) -> Entry | None:
        """What a path is in a commit; None for nothing."""
        if not path:
            sha = self.git("rev-parse", f"{commit}^{{tree}}").decode().strip()
            return Entry("040000", "tree", sha, "", 0)
        found = self._listed("ls-tree", "-z", "--long", "--full-tree", commit, "--", path)
        return next((each for each in found if each.path == path), None)

    def folder(self, commit: str, path: str) -> list[Entry]:
        """What is directly in a folder of a commit."""
        below = [f"{path}/"] if path else []
        return self._listed("ls-tree", "-z", "--long", "--full-tree", commit, "--", *below)

    def _listed(self, *arguments: str) -> list[Entry]:
        # A path is a path here, never a pattern.
        output = self.git("--literal-pathspecs", *arguments).decode(errors="surrogateescape")
        entries = []
        for line in output.split("\0")[:-1]:
            facts, path = line.split("\t", 1)
            mode, kind, sha, size = facts.split()
            entries.append(Entry(mode, kind, sha, path, 0 if size == "-" else int(size)))
        return entries

    def content(self, sha: str) -> bytes:
        """Of a blob."""
        return self.git("cat-file", "blob", sha)

    def parents(self, commit: str) -> list[str]:
        """Of a commit."""
        return self.git("show", "--no-patch", "--format=%P", commit).decode().split()

    def described(self, commit: str) -> tuple[str, str, str, str]:
        """The name and the address of a commit's author, when (ISO 8601), and its message."""
        text = self.git("show", "--no-patch", "--format=%an%x00%ae%x00%aI%x00%B", commit).decode(errors="replace")
        name, mail, date, message = text.split("\0", 3)
        return name, mail, date, message.strip("\n")

    def with_file(
        self, commit: str, path: str, content: bytes, message: str, author: tuple[str, str] | None = None
    ) -> tuple[str, str]:
        """A commit on top of another that writes one file, and the hash of the file; no branch is moved."""
        blob = self.git("hash-object", "-w", "--stdin", data=content).decode().strip()
        found = self.entry(commit, path)
        mode = found.mode if found and found.kind == "blob" else "100644"
        with tempfile.TemporaryDirectory(prefix="index.", dir=self.path) as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.git("read-tree", commit, environment=index)
            self.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}", environment=index)
            tree = self.git("write-tree", environment=index).decode().strip()
        return self.commit(tree, [commit], message, author), blob

    def commit(self, tree: str, parents: list[str], message: str, author: tuple[str, str] | None = None) -> str:
        """A commit of a tree; no branch is moved."""
        name, mail = author or (_NAME, _MAIL)
        who = {
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": mail,
            "GIT_COMMITTER_NAME": _NAME,
            "GIT_COMMITTER_EMAIL": _MAIL,
        }
        options = [option for parent in parents for option in ("-p", parent)]
        return self.git("commit-tree", tree, *options, data=message.encode(), environment=who).decode().strip()

    def merged_tree(self, base: str, head: str) -> str:
        """The tree of a merge, without making it.

        Raises:
            Conflict: both changed the same lines; names the files.
        """
        done = self._run(("merge-tree", "--write-tree", "--name-only", "--no-messages", base, head))
        lines = done.stdout.decode(errors="replace").splitlines()
        if done.returncode == 1:
            raise Conflict(", ".join(sorted(set(lines[1:]))))
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return lines[0]

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether a commit is another, or came before it on its way."""
        return self._run(("merge-base", "--is-ancestor", older, newer)).returncode == 0

    def commits_between(self, base: str, head: str) -> int:
        """How many commits `head` has that `base` has not."""
        return int(self.git("rev-list", "--count", f"{base}..{head}"))

    def files_between(self, base: str, head: str) -> list[FileChange]:
        """What a pull request changes: since the two parted."""
        span = f"{base}...{head}"
        names = self.git("diff", "-z", "--name-status", "--find-renames", span).decode(errors="replace").split("\0")
        found: list[FileChange] = []
        place = 0
        while place < len(names) - 1:
            status, paths = names[place], names[place + 1 : place + (3 if names[place][0] in "RC" else 2)]
            place += 1 + len(paths)
            found.append(self._change(span, head, status[0], paths))
        return found

    def _change(self, span: str, head: str, status: str, paths: list[str]) -> FileChange:
        pathspecs = ("--literal-pathspecs", "diff", "--find-renames")
        counted = self.git(*pathspecs, "--numstat", span, "--", *paths).decode(errors="replace").split("\t")
        additions, deletions = (int(each) if each.isdigit() else 0 for each in counted[:2])
        text = self.git(*pathspecs, span, "--", *paths).decode(errors="replace")
        patch = text[text.index("@@") :].rstrip("\n") if "@@" in text else ""
        words = {"A": "added", "M": "modified", "D": "removed", "R": "renamed", "C": "copied", "T": "changed"}
        entry = self.entry(head, paths[-1])
        return FileChange(
            path=paths[-1],
            status=words.get(status, "changed"),
            previous_path=paths[0] if len(paths) > 1 else None,
            additions=additions,
            deletions=deletions,
            sha=entry.sha if entry else ZERO,
            patch=patch,
        )


def clean_environment() -> dict[str, str]:
    """This process's, without what would make git work elsewhere or ask somebody (as within a hook, or a test of git itself)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Nobody's own settings: signing, templates, hooks, line ends.
    return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


def _is_hash(text: str) -> bool:
    return 7 <= len(text) <= 40 and all(letter in "0123456789abcdef" for letter in text.lower())
