"""Clones the repositories of an instance, with credentials that are written nowhere."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from local_cloud.notebook_runtime.supervisor.output import Output
from local_cloud.notebook_runtime.supervisor.processes import Children

if TYPE_CHECKING:
    from local_cloud.notebook_runtime.supervisor.system import User

TIMEOUT_S = 60
"""How long git may take, in seconds: a person waits for the instance."""
ENDING_S = 3
ASKPASS = '#!/bin/sh\ncase "$1" in Username*) echo "$GIT_USERNAME" ;; *) echo "$GIT_PASSWORD" ;; esac\n'


def clone(
    children: Children,
    user: User,
    url: str,
    branch: str | None,
    username: str | None,
    password: str | None,
    target: Path,
) -> str | None:
    """None, or what git said: it has cloned into `target`, or left nothing there."""
    with tempfile.TemporaryDirectory(prefix="askpass-") as folder:
        given = {"GIT_ASKPASS": "/bin/false"}
        if password is not None:
            askpass = Path(folder) / "askpass"
            askpass.write_text(ASKPASS)
            askpass.chmod(0o700)
            user.own(Path(folder), askpass)
            given = {"GIT_ASKPASS": str(askpass), "GIT_USERNAME": username or "", "GIT_PASSWORD": password}
        # No helper of this machine's: it would offer somebody's own password, or keep this one.
        command = ["git", "-c", "credential.helper=", "clone", "--quiet", *(["--branch", branch] if branch else [])]
        try:
            process = children.start(
                [*command, "--", url, str(target)],
                cwd=target.anchor,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                **user.options(GIT_TERMINAL_PROMPT="0", GIT_SSH_COMMAND="ssh -oBatchMode=yes", **given),
            )
        except OSError as error:
            return f"git cannot be started: {error.strerror or error}"
        output = Output("git", process.stdout)
        code = children.wait(process.pid, TIMEOUT_S)
        if code is None:
            # SIGTERM first: git removes what it has begun.
            children.end(process.pid, ENDING_S, ENDING_S, group=True)
            # What it had no time to remove: at the next start a folder with something in it would be left as it is.
            shutil.rmtree(target, ignore_errors=True)
            return f"git clone {url} took longer than {TIMEOUT_S} seconds"
        output.catch_up()
        return ("\n".join(output.last) or f"git ended with {code}") if code else None
