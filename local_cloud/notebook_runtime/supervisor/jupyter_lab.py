"""JupyterLab on an instance: its start, and again if it crashes, the files that let people in (`presigned_urls.py`), its end."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_cloud.notebook_runtime.supervisor.output import Output, say
from local_cloud.notebook_runtime.supervisor.processes import Children

if TYPE_CHECKING:
    from local_cloud.notebook_runtime.supervisor.system import User

ENDING_GRACE_S = 2
"""How long JupyterLab may take to end where nobody says how long, in seconds: the local cloud is gone, or it never came up."""
ANSWER_TIMEOUT_S = 2
ENDS = 3
ENDS_WITHIN_S = 60
"""It is started again when it ends, as a service of an instance is on AWS; one that ended so often in that time stays down."""


class JupyterLab:
    """The JupyterLab of one instance.

    Args:
        children: starts it.
        user: runs it.
        volume: what it shows.
        command: the program and its first arguments.
        tickets: folder of the files that let people in; nobody but the user reads it.
        log: a file that gets what it prints.
    """

    def __init__(
        self, children: Children, user: User, volume: Path, command: list[str], tickets: str, log: str
    ) -> None:
        self._children = children
        self._user = user
        self._volume = volume
        self._command = command
        self._tickets = Path(tickets)
        self._log = Path(log)
        self._pid: int | None = None
        self._changing = threading.Lock()
        self._is_to_end = False
        self._tickets.mkdir(parents=True, exist_ok=True)
        self._tickets.chmod(0o700)
        user.own(self._tickets)

    def start(self, ip: str, port: int, default_url: str, timeout_s: float) -> dict[str, Any]:
        """Start it and wait until it answers: `up`, or the lines with which it did not come up."""
        arguments = [
            *self._command,
            "--no-browser",
            f"--ServerApp.ip={ip}",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self._volume}",
            f"--LabApp.default_url={default_url}",
        ]
        try:
            pid, output = self._launch(arguments)
        except OSError as error:
            return {"up": False, "lines": [f"{arguments[0]} cannot be started: {error.strerror or error}"]}
        said = self._awaited(pid, port, timeout_s)
        if said is None:
            threading.Thread(target=self._keep_up, args=(arguments, pid), daemon=True).start()
            return {"up": True, "pid": pid}
        self._children.end(pid, ENDING_GRACE_S, ENDING_GRACE_S)
        output.catch_up()
        return {"up": False, "lines": [*output.last, said]}

    def _launch(self, arguments: list[str]) -> tuple[int, Output]:
        process = self._children.start(
            arguments,
            cwd=self._volume,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **self._user.options(SAGESTACK_TICKETS=str(self._tickets)),
        )
        # Before it answers: a stop that comes meanwhile must find it.
        self._pid = process.pid
        return process.pid, Output("jupyter.log", process.stdout, self._log.open("a", encoding="utf-8"))

    def expect(self, digest: str, expires_at: float, session_seconds: float) -> None:
        """Leave a file for whoever comes with a token.

        Args:
            digest: of the token, the SHA-256 in hex.
            expires_at: in seconds since 1970.
            session_seconds: how long they may stay.
        """
        path, new = self._tickets / digest, self._tickets / f"{digest}.new"
        new.touch(mode=0o600)
        new.write_text(json.dumps({"expires_at": expires_at, "session_seconds": session_seconds}))
        self._user.own(new)
        new.replace(path)

    def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after so many seconds."""
        with self._changing:
            self._is_to_end = True
        if self._pid is not None:
            self._children.end(self._pid, grace_s, ENDING_GRACE_S)

    def _awaited(self, pid: int, port: int, timeout_s: float) -> str | None:
        """Wait until it answers; what was wrong where it does not."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            code = self._children.wait(pid, 0.1)
            if code is not None:
                return f"JupyterLab ended with {code}"
            if self._answers(pid, port):
                return None
        return f"JupyterLab did not answer within {timeout_s:g} seconds"

    def _answers(self, pid: int, port: int) -> bool:
        # Its own note says that it, and not somebody else, listens on the port.
        if not self._note(pid).exists():
            return False
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"http://127.0.0.1:{port}/api", timeout=ANSWER_TIMEOUT_S).close()
        except urllib.error.HTTPError:
            # Refused, so it is there.
            return True
        except OSError:
            return False
        return True

    def _keep_up(self, arguments: list[str], pid: int) -> None:
        """Start it again whenever it ends by itself, until it does so again and again; then tell."""
        ends: deque[float] = deque(maxlen=ENDS)
        while True:
            code = self._children.wait(pid)
            ends.append(time.monotonic())
            is_hopeless = len(ends) == ENDS and ends[-1] - ends[0] < ENDS_WITHIN_S
            with self._changing:
                if self._is_to_end or is_hopeless:
                    break
                # One that was killed has left it, for programs that look for JupyterLab there.
                self._note(pid).unlink(missing_ok=True)
                say(stream="jupyter.log", line=f"JupyterLab has ended with {code}; it is started again.")
                try:
                    pid, _ = self._launch(arguments)
                except OSError as error:
                    say(stream="jupyter.log", line=f"JupyterLab cannot be started: {error.strerror or error}")
                    break
        say(ended="jupyter", code=code)

    def _note(self, pid: int) -> Path:
        """Where it says that it listens, and on which port."""
        return self._user.home / ".local/share/jupyter/runtime" / f"jpserver-{pid}.json"
