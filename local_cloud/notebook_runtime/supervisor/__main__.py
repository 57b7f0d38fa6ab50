"""Does what the local cloud says, each command in a thread of its own, until its input closes or `stop` is answered."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Run by its path, isolated from whatever else this machine's Python would import.
sys.path.insert(0, str(Path(__file__).parents[3]))

from local_cloud.notebook_runtime.supervisor.jupyter_lab import ENDING_GRACE_S
from local_cloud.notebook_runtime.supervisor.output import say
from local_cloud.notebook_runtime.supervisor.system import System

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): whoever loses their parent below this process becomes its child, so that none is missed at the end."""


class Commands:
    """Reads commands, and says what ended them."""

    def __init__(self) -> None:
        self.system: System | None = None
        self.ended: queue.Queue[str] = queue.Queue()

    def read(self) -> None:
        """Read to the end of the input."""
        try:
            for line in sys.stdin:
                self._obey(json.loads(line))
            self.ended.put("closed")
        except Exception as error:
            say(failed=f"{type(error).__name__}: {error}")
            self.ended.put("failed")

    def _obey(self, command: dict[str, Any]) -> None:
        number, verb = command.pop("number"), command.pop("do")
        if self.system is None:
            self.system = System(command["settings"])
            say(answer=number)
            return
        # Each in its own thread: a long script must not keep the order to stop waiting.
        threading.Thread(target=self._answer, args=(getattr(self.system, verb), number, command), daemon=True).start()

    def _answer(self, method: Callable[..., dict[str, Any]], number: int, command: dict[str, Any]) -> None:
        try:
            reply = method(**command)
        except Exception as error:
            # Whatever it is, whoever asked must not wait for ever.
            reply = {"failed": f"{type(error).__name__}: {error}"}
        say(answer=number, **reply)
        if method.__name__ == "stop":
            self.ended.put("stopped")


def main() -> None:
    """Serve one instance."""
    # Whoever presses Ctrl-C means the local cloud, which then stops its instances. Handled by nothing rather than ignored: what
    # is ignored stays so in every program that is started here, and Ctrl-C in an instance's terminal would stop none.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    commands = Commands()
    # `docker stop` asks process 1 so.
    signal.signal(signal.SIGTERM, lambda *_: commands.ended.put("SIGTERM"))
    threading.Thread(target=commands.read, daemon=True).start()
    reason = None
    while reason is None:
        # With a time limit, because a signal's handler runs between two calls only.
        with contextlib.suppress(queue.Empty):
            reason = commands.ended.get(timeout=0.5)
    if reason != "stopped" and commands.system is not None:
        commands.system.stop(ENDING_GRACE_S)
    # At once: threads that still read are nobody's any more.
    os._exit(0)


if __name__ == "__main__":
    main()
