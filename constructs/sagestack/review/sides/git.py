"""What a review asks git, without touching anything of the user's: no checkout, no index, no list of worktrees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sagestack.cli.errors import CliError
from sagestack.settings.errors import suggestion

_SHALLOW = (
    "This clone is shallow: the history before its newest commits is missing. `git fetch --unshallow` gets it; on GitHub"
    " Actions give actions/checkout `fetch-depth: 0`."
)


class GitError(Exception):
    """A command of git failed; holds what git said."""


@dataclass(frozen=True)
class Base:
    """What a change is compared with.

    Attributes:
        commit: the merge base, so that what others did since is not shown as undone.
        behind: how many commits of the ref are not in the change, and so are left out.
        is_related: whether there is a merge base at all; the commit is the ref's own where there is none.
    """

    commit: str
    behind: int = 0
    is_related: bool = True


class Repository:
    """The git repository that a project's folder is in, wherever in it.

    Raises:
        CliError: git is not installed, or the folder is in no repository.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self._top = Path(self._git("rev-parse", "--show-toplevel").rstrip("\n"))
        except GitError as error:
            raise CliError(
                f"{root} is in no git repository that git would work with: {error}",
                hint="A review compares commits. Without git, give it what `cdk synth` wrote: --base FOLDER --head FOLDER.",
                code="usage",
            ) from None
        self._prefix = self._git("rev-parse", "--show-prefix").rstrip("\n")

    def commit_of(self, ref: str) -> str:
        """The full hash of the commit that a branch, tag or hash names.

        Raises:
            CliError: there is none; says which come near, and where a shallow clone may be the reason.
        """
        try:
            # --end-of-options: what starts with a hyphen is a name here, and not one.
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").strip()
        except GitError:
            pass
        names = self._git("for-each-ref", "--format=%(refname:short)").split()
        if self.is_shallow:
            hint = _SHALLOW
        elif ref.startswith(("origin/", "upstream/")):
            hint = f"If it is on the server: git fetch {ref.split('/', 1)[0]} {ref.split('/', 1)[1]}"
        else:
            hint = "`git branch --all` lists the branches; a folder that `cdk synth` wrote works, too."
        near = suggestion(ref, names)
        raise CliError(f"Git knows no commit {ref!r}{near or '.'}", hint=hint, code="not-found")

    def base_of(self, ref: str, head: str) -> Base:
        """The commit from which a change started that is to go into `ref`, as a pull request shows it (`ref...head`).

        Raises:
            CliError: the clone is too shallow to know.
        """
        theirs = self.commit_of(ref)
        try:
            commit = self._git("merge-base", theirs, head).strip()
        except GitError:
            if self.is_shallow:
                raise CliError(
                    f"Where {head[:12]} left {ref} is not in this clone.", hint=_SHALLOW, code="not-found"
                ) from None
            return Base(theirs, is_related=False)
        return Base(commit, int(self._git("rev-list", "--count", f"{commit}..{theirs}")))

    @property
    def is_shallow(self) -> bool:
        return self._git("rev-parse", "--is-shallow-repository").strip() == "true"

    @property
    def is_dirty(self) -> bool:
        """Whether files of the project differ from the commit, or are new and not ignored."""
        return bool(self._git("status", "--porcelain", "--untracked-files=normal", "--", "."))

    def files(self) -> list[str]:
        """The files of the working tree below the project: what git tracks, and what it neither tracks nor ignores."""
        listed = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        # A file in conflict is listed once per side.
        return sorted({name for name in listed.split("\0") if name})

    def files_of(self, commit: str) -> list[str]:
        """The files of a commit, below the project's own place in the repository. None where that is not there."""
        try:
            listed = self._git("ls-tree", "-r", "-z", "--name-only", self._tree(commit), folder=self._top)
        except GitError:
            return []
        return [name for name in listed.split("\0") if name]

    def write_out(self, commit: str, names: Iterable[str], folder: Path, index: Path) -> None:
        """Writes files of a commit as a checkout would, filters and line ends included.

        Args:
            commit: full hash.
            names: as `files_of` gives them.
            folder: where to, existing.
            index: where git may keep the index of this, so that the user's own stays as it is.

        Raises:
            CliError: git could not, as where a filter of the repository is not installed.
        """
        own = {"GIT_INDEX_FILE": str(index)}
        try:
            self._git("read-tree", self._tree(commit), folder=self._top, variables=own)
            self._git(
                "checkout-index",
                "-z",
                "--stdin",
                f"--prefix={folder}{os.sep}",
                folder=self._top,
                variables=own,
                text="".join(f"{name}\0" for name in names),
            )
        except GitError as error:
            raise CliError(f"The files of {commit[:12]} cannot be read: {error}", code="refused") from None

    def subjects(self, base: str, head: str, path: str) -> list[str]:
        """The commits between two that touch a path, newest first, as `hash subject`."""
        listed = self._git("log", "--no-merges", "--format=%h %s", f"{base}..{head}", "--", path)
        return listed.splitlines()

    def _tree(self, commit: str) -> str:
        return f"{commit}:{self._prefix}"

    def _git(
        self,
        *command: str,
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> str:
        try:
            done = subprocess.run(
                ["git", *command],
                cwd=folder or self.root,
                # English, since some answers are passed on; no lock on the user's index for a mere look.
                env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **(variables or {})},
                input=text,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="surrogateescape",
                check=False,
            )
        except FileNotFoundError:
            raise CliError(
                "There is no git.",
                hint="Install git; or compare what `cdk synth` wrote: --base FOLDER --head FOLDER.",
                code="set-up",
            ) from None
        if done.returncode:
            raise GitError(done.stderr.strip() or f"git {command[0]} ended with {done.returncode}")
        return done.stdout
