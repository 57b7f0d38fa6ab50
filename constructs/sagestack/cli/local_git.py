"""The bare repository behind the local git host: made from the project, never over something that is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sagestack.cli.errors import CliError

OLDEST = (2, 38)
"""Of git: `merge-tree --write-tree` merges without a checkout from here on."""


def ensure_git() -> None:
    """Makes sure that git is there and new enough.

    Raises:
        CliError: it is not.
    """
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True).stdout
    except OSError:
        raise CliError("git is not installed.", hint="Install git 2.38 or later.", code="set-up") from None
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        raise CliError(
            f"git is too old: {said.strip()}.",
            hint=f"Install git {'.'.join(map(str, OLDEST))} or later.",
            code="set-up",
        )


def ensure_repository(root: Path, path: Path, branch: str) -> bool:
    """Makes sure that there is a bare repository with the branch; True where it was made, from what the project has committed.

    Raises:
        CliError: something else is at that place, or the project is in no git repository.
    """
    if path.exists():
        # An empty answer for a folder that is none: git would look above it.
        done = _git("--git-dir", str(path), "rev-parse", "--is-bare-repository")
        if done.stdout.strip() != "true":
            raise CliError(
                f"{path} is there and is no bare git repository.", hint="Name another place: --repository DIR.git"
            )
        if _git("--git-dir", str(path), "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}").returncode:
            raise CliError(
                f"{path} has no branch {branch!r}, which delivery.yaml deploys.",
                hint=f"Push it: git push {path} HEAD:{branch}",
                code="not-found",
            )
        return False
    head = _git("-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.returncode:
        raise CliError(
            f"{root} is in no git repository with a commit, so there is nothing to make {path} from.",
            hint="git init && git add --all && git commit --message 'The project'",
            code="set-up",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        made = temporary / "bare"
        _must("clone", "--quiet", "--bare", "--no-hardlinks", str(root), str(made))
        _must("--git-dir", str(made), "remote", "remove", "origin")
        # The branch that is deployed is what is checked out here, wherever it came from.
        _must("--git-dir", str(made), "update-ref", f"refs/heads/{branch}", head.stdout.strip())
        _must("--git-dir", str(made), "symbolic-ref", "HEAD", f"refs/heads/{branch}")
        made.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def has_uncommitted_changes(root: Path) -> bool:
    """Whether the project has what no commit has."""
    return bool(_git("-C", str(root), "status", "--porcelain").stdout.strip())


def serve(repository: Path, name: str, branch: str, port: int) -> None:
    """Becomes the server: Ctrl-C, a signal and the exit code are its own. Does not return."""
    from sagestack.settings import PROJECT_ROOT

    command = [sys.executable, "-m", "local_cloud.git_host", "--repository", str(repository)]
    command += ["--name", name, "--branch", branch, "--port", str(port)]
    path = os.pathsep.join(filter(None, (str(PROJECT_ROOT), os.environ.get("PYTHONPATH"))))
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})  # noqa: S606 - a list, and our own program


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(["git", *arguments], capture_output=True, text=True, env=kept)


def _must(*arguments: str) -> None:
    done = _git(*arguments)
    if done.returncode:
        raise CliError(f"git {' '.join(arguments)} failed: {done.stderr.strip()}", code="set-up")
