"""A notebook instance whose first process is the program in `supervisor/`: commands go in, answers and lines come out."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypedDict
from urllib.parse import quote, urlencode

from local_cloud.notebook_runtime.runtime import CodeRepository, Hook, InstanceSpec, RuntimeRefused

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 60.0
"""How long the supervisor may take for what takes it milliseconds."""
CLONE_ANSWER_TIMEOUT_S = 90.0
"""Above the supervisor's own 60 seconds for git."""
JUPYTER_TIMEOUT_S = 120.0
"""How long JupyterLab may take to answer: 2 to 5 seconds are usual, a machine that is busy with other starts takes ten times."""
PORT_ATTEMPTS = 3
"""Between the choice of a port and the moment that JupyterLab listens on it somebody else may have taken it."""


class SystemSettings(TypedDict):
    """What a supervisor begins with: the instance's system, as the runtime has it (`supervisor/system.py` reads it).

    Attributes:
        home: the user's folder.
        volume: what JupyterLab shows.
        user: who JupyterLab and git run as; None for nobody else than the supervisor's own user.
        environment: the user's variables.
        jupyter: the program and its first arguments.
        tickets: folder of the files that let people in.
        jupyter_log: a file that gets what JupyterLab prints.
        files: what is written before anything runs, each `InstanceFile.entry()`.
        services: programs that run from the start.
    """

    home: str
    volume: str
    user: str | None
    environment: dict[str, str]
    jupyter: list[str]
    tickets: str
    jupyter_log: str
    files: list[list[object]]
    services: list[list[str]]


class Supervisor:
    """The other end of a supervisor's standard input and output.

    Args:
        write: gives it bytes; raises OSError where nobody reads any more.
        output: its standard output in pieces, to its end; raises OSError where it is lost.
        on_line: receives what the instance prints.
        on_end: called once when the output has ended: nothing of the instance can be told any more.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        output: Iterable[bytes],
        on_line: Callable[[str, str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._write = write
        self._output = output
        self._on_line = on_line
        self._on_end = on_end
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._waiting: dict[int, dict[str, Any] | None] = {}
        self.has_ended = False
        self.jupyter_code: int | None = None
        self._failure = ""
        threading.Thread(target=self._listen, name="notebook-instance", daemon=True).start()

    def ask(self, verb: str, within_s: float, /, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for its answer.

        Raises:
            RuntimeRefused: the instance has ended, or does not answer, or its supervisor failed.
        """
        with self._changed:
            number = next(self._numbers)
            self._waiting[number] = None
            try:
                if not self.has_ended:
                    self._send({"number": number, "do": verb, **arguments})
                self._changed.wait_for(lambda: self.has_ended or self._waiting[number] is not None, within_s)
                answer = self._waiting[number]
            finally:
                del self._waiting[number]
        if answer is None:
            state = self._failure or ("has ended" if self.has_ended else f"did not answer within {within_s:g} seconds")
            raise RuntimeRefused(f"The notebook instance {state} ({verb}).")
        if failed := answer.get("failed"):
            raise RuntimeRefused(f"The notebook instance could not {verb}: {failed}")
        return answer

    def _send(self, command: Mapping[str, Any]) -> None:
        try:
            self._write(json.dumps(command).encode() + b"\n")
        except (OSError, ValueError):
            # A file that is closed raises ValueError. The end of its output says that it is gone; who waits hears of it there.
            logger.debug("A notebook instance takes no commands any more", exc_info=True)

    def _listen(self) -> None:
        rest = b""
        try:
            for piece in self._output:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._take(line)
        except Exception:
            # Whatever it was, whoever waits for an answer must not wait for ever.
            logger.exception("Lost the supervisor of a notebook instance")
        with self._changed:
            self.has_ended = True
            self._changed.notify_all()
        self._on_end()

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            # What Python itself prints where the supervisor cannot start.
            self._on_line("jupyter.log", line.decode("utf-8", "replace"))
            return
        if "stream" in message:
            self._on_line(message["stream"], message["line"])
            return
        with self._changed:
            if "answer" in message:
                number = message.pop("answer")
                if number in self._waiting:
                    self._waiting[number] = message
            elif "ended" in message:
                self.jupyter_code = message["code"]
            else:
                self._failure = f"has failed: {message.get('failed')}"
            self._changed.notify_all()


class SupervisedInstance:
    """What both runtimes' instances have in common.

    Args:
        spec: the instance.
        supervisor: its first process.
        settings: what the supervisor begins with.
        bind_to: the address on which JupyterLab listens.
        take_port: chooses the port on which it listens, and the one at which this machine reaches it.
        end: makes sure that nothing of the instance is left, once JupyterLab had its grace; called at each stop.

    Raises:
        RuntimeRefused: the supervisor does not come up.
    """

    def __init__(
        self,
        spec: InstanceSpec,
        supervisor: Supervisor,
        settings: SystemSettings,
        *,
        bind_to: str,
        take_port: Callable[[], tuple[int, int]],
        end: Callable[[], None],
    ) -> None:
        self._spec = spec
        self._supervisor = supervisor
        self._bind_to = bind_to
        self._take_port = take_port
        self._end = end
        self._base_url: str | None = None
        self._is_stopped = False
        self.jupyter_pid: int | None = None
        """Inside the instance; for tests that kill it."""
        self._supervisor.ask("begin", ANSWER_TIMEOUT_S, settings=settings)

    def run_hook(self, hook: Hook, script: str, timeout_s: float) -> int | None:
        """See Instance."""
        answer = self._supervisor.ask(
            "hook",
            timeout_s + ANSWER_TIMEOUT_S,
            name=hook,
            script=base64.b64encode(script.encode()).decode(),
            timeout_s=timeout_s,
        )
        code: int | None = answer["code"]
        return code

    def clone(self, repository: CodeRepository, folder: str) -> str | None:
        """See Instance."""
        answer = self._supervisor.ask(
            "clone",
            CLONE_ANSWER_TIMEOUT_S,
            url=repository.url,
            branch=repository.branch,
            username=repository.username,
            password=repository.password,
            folder=folder,
        )
        said: str | None = answer["said"]
        return said

    def start_jupyter(self, default_folder: str | None) -> str:
        """See Instance."""
        answer: dict[str, Any] = {}
        for _ in range(PORT_ATTEMPTS):
            inside, outside = self._take_port()
            answer = self._supervisor.ask(
                "start_jupyter",
                JUPYTER_TIMEOUT_S + ANSWER_TIMEOUT_S,
                ip=self._bind_to,
                port=inside,
                default_url=landing_page(default_folder),
                timeout_s=JUPYTER_TIMEOUT_S,
            )
            if answer["up"]:
                self.jupyter_pid = answer["pid"]
                self._base_url = f"http://127.0.0.1:{outside}/"
                return self._base_url
            if not any("already in use" in line for line in answer["lines"]):
                break
        lines = "\n".join(answer["lines"])
        raise RuntimeRefused(f"JupyterLab did not come up. Its last lines:\n{lines}")

    def authorize(self, token: str, expires_at: float, session_seconds: float) -> str:
        """See Instance."""
        if self._base_url is None or not self.is_running():
            raise RuntimeRefused("JupyterLab does not run on this notebook instance.")
        self._supervisor.ask(
            "ticket",
            ANSWER_TIMEOUT_S,
            # The token itself is kept nowhere.
            digest=hashlib.sha256(token.encode()).hexdigest(),
            expires_at=expires_at,
            session_seconds=session_seconds,
        )
        return f"{self._base_url}?{urlencode({'authToken': token})}"

    def is_running(self) -> bool:
        """See Instance."""
        return not self._is_stopped and not self._supervisor.has_ended and self._supervisor.jupyter_code is None

    def stop(self, grace_s: float) -> None:
        """See Instance."""
        try:
            if not self._supervisor.has_ended:
                self._supervisor.ask("stop", grace_s + ANSWER_TIMEOUT_S, grace_s=grace_s)
        except RuntimeRefused:
            logger.info("The notebook instance %s ended before it was told to stop", self._spec.name)
        finally:
            self._end()
            # Known at once: that the supervisor's output has ended is noticed by another thread, some time later.
            self._is_stopped = True


def landing_page(folder: str | None) -> str:
    """The page of JupyterLab that shows a folder of the volume."""
    if folder is None:
        return "/lab"
    return "/lab/tree/" + quote(str(PurePosixPath(folder)))
