"""The system of one instance: its files and user, and the commands of the local cloud."""

from __future__ import annotations

import base64
import os
import pwd
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from local_cloud.notebook_runtime.supervisor import git_clone
from local_cloud.notebook_runtime.supervisor.jupyter_lab import JupyterLab
from local_cloud.notebook_runtime.supervisor.output import Output
from local_cloud.notebook_runtime.supervisor.processes import Children, kill_descendants, kill_foreground

HOOK_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
"""SageMaker API reference, NotebookInstanceLifecycleHook: the PATH of both scripts (without its typing error)."""


class User:
    """Who JupyterLab and git run as: ec2-user in a container, and in a process whoever runs the local cloud.

    Args:
        name: None: nobody else than this process's user.
        home: their folder.
        environment: their variables.
    """

    def __init__(self, name: str | None, home: str, environment: dict[str, str]) -> None:
        self.home = Path(home)
        self._entry = pwd.getpwnam(name) if name else None
        self._environment = {**environment, "HOME": home}

    @property
    def is_another(self) -> bool:
        """Whether it is another one than this process's."""
        return self._entry is not None

    def own(self, *paths: Path) -> None:
        """Give files to them."""
        if self._entry is not None:
            for path in paths:
                os.chown(path, self._entry.pw_uid, self._entry.pw_gid, follow_symlinks=False)

    def owns(self, path: Path) -> bool:
        """Whether a file is theirs already."""
        return self._entry is None or path.stat().st_uid == self._entry.pw_uid

    def options(self, **more: str) -> dict[str, Any]:
        """Options of a process that is theirs, with more variables."""
        environment = {**self._environment, **more}
        if self._entry is None:
            return {"env": environment}
        name, group = self._entry.pw_name, self._entry.pw_gid
        return {
            "env": {**environment, "USER": name, "LOGNAME": name, "SHELL": "/bin/bash"},
            "user": self._entry.pw_uid,
            "group": group,
            "extra_groups": os.getgrouplist(name, group),
        }


class System:
    """One instance. See `local_cloud/notebook_runtime/runtime.py` for what its commands promise.

    Args:
        settings: as both runtimes give them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._children = Children()
        self._user = User(settings["user"], settings["home"], settings["environment"])
        self._volume = Path(settings["volume"])
        self._jupyter = JupyterLab(
            self._children, self._user, self._volume, settings["jupyter"], settings["tickets"], settings["jupyter_log"]
        )
        self._take_volume()
        for path, mode, is_users, text in settings["files"]:
            self._write(Path(path), mode, is_users, text)
        for command in settings["services"]:
            self._children.start(command)

    def hook(self, name: str, script: str, timeout_s: float) -> dict[str, Any]:
        """Run a lifecycle script, and leave what it started in the background."""
        # As on AWS, whose logs show the name.
        descriptor, path = tempfile.mkstemp(prefix=f"{name}_{time.strftime('%Y-%m-%d-%H-%M')}", dir="/tmp")
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64decode(script))
        Path(path).chmod(0o700)
        # Its input tells who is in the foreground, see `kill_foreground`.
        reading, writing = os.pipe()
        os.close(writing)
        try:
            process = self._children.start(
                # By a shell, which runs a script without a first line, too, and says why one cannot be run.
                ["/bin/bash", "-c", '"$0"', path],
                cwd="/",
                env={"PATH": HOOK_PATH},
                stdin=reading,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        finally:
            os.close(reading)
        output = Output(f"LifecycleConfig{name}", process.stdout)
        code = self._children.wait(process.pid, timeout_s)
        if code is None:
            kill_foreground(process.pid)
        output.catch_up()
        return {"code": code}

    def clone(
        self, url: str, branch: str | None, username: str | None, password: str | None, folder: str
    ) -> dict[str, Any]:
        """Clone a repository unless its folder has something in it."""
        target = self._volume / folder
        if not target.resolve().is_relative_to(self._volume.resolve()):
            return {"said": f"the folder {folder} is outside of the volume"}
        if target.is_dir() and any(target.iterdir()):
            return {"said": None}
        return {"said": git_clone.clone(self._children, self._user, url, branch, username, password, target)}

    def start_jupyter(self, ip: str, port: int, default_url: str, timeout_s: float) -> dict[str, Any]:
        """Start JupyterLab and wait until it answers: `up`, or the lines with which it did not come up."""
        return self._jupyter.start(ip, port, default_url, timeout_s)

    def ticket(self, digest: str, expires_at: float, session_seconds: float) -> dict[str, Any]:
        """Let whoever knows the token in, once."""
        self._jupyter.expect(digest, expires_at, session_seconds)
        return {}

    def stop(self, grace_s: float) -> dict[str, Any]:
        """End JupyterLab, then everything."""
        self._jupyter.stop(grace_s)
        self._children.close()
        kill_descendants()
        return {}

    def _take_volume(self) -> None:
        """Make the volume its user's with all that is in it, where another runtime, whose user was another, has filled it."""
        self._volume.mkdir(parents=True, exist_ok=True)
        if not self._user.owns(self._volume):
            self._user.own(self._volume, *self._volume.rglob("*"))

    def _write(self, path: Path, mode: int, is_users: bool, text: str) -> None:
        for folder in reversed([folder for folder in path.parents if not folder.exists()]):
            folder.mkdir()
            if is_users:
                self._user.own(folder)
        # Never readable by others in between: some hold keys.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            file.write(text)
        path.chmod(mode)
        if is_users:
            self._user.own(path)
