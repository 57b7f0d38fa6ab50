"""What runs right now: the notebook instances that are started, and the threads that change something about them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from local_cloud.notebook_runtime.runtime import Instance, NotebookRuntime
from local_cloud.platform import Caller, Credentials
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.notebooks.instance_logs import InstanceLogs
from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

HOOK_LIMIT_S = 300.0
"""How long a lifecycle script may take (CreateNotebookInstanceLifecycleConfig in the API reference). Real seconds, not the
cloud's: the script is real, and installs packages no faster here than there."""
CLOSING_S = 6.0
"""Longest wait for what is under way when the local cloud ends."""

Key = tuple[str, str, str]
"""Account, region and key of a notebook instance."""


@dataclass(frozen=True, eq=False)
class Running:
    """One instance that was started: the system, what it is allowed to do, and where its lines go."""

    instance: Instance
    credentials: Credentials
    logs: InstanceLogs
    ending: threading.Lock = field(default_factory=threading.Lock)
    """Held while it is stopped: who wants the same waits until nothing of it uses the volume any more."""


@dataclass
class Notebooks:
    """The notebook instances of a service."""

    service: Sagemaker
    hook_limit_s: float = HOOK_LIMIT_S
    running: dict[Key, Running] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)
    """Set when the local cloud ends: what fails from then on fails because of that, and is not written down."""
    _runtime: NotebookRuntime | None = None
    _workers: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Where the volumes and the logs are, a folder for each instance."""
        return self.service.state_dir / "notebooks"

    def runtime(self) -> NotebookRuntime:
        """Where instances run; chosen when the first is started, since most local clouds never have one.

        Raises:
            RuntimeRefused: this machine can run none; the message says what to do.
        """
        with self._lock:
            if self._runtime is None:
                # Imported here: the container engine's client is heavy, and tests of operations need none.
                from local_cloud.notebook_runtime import choose_runtime

                self._runtime = choose_runtime(self.service.engine.kind, self.service.state_dir)
            return self._runtime

    def use(self, runtime: NotebookRuntime) -> None:
        """Run instances there."""
        self._runtime = runtime

    def run(self, name: str, work: Callable[[], None]) -> None:
        """Do something in the background."""

        def logged() -> None:
            try:
                work()
            except Exception:
                # A store that is closed already is no failure of what was under way.
                if not self.closing.is_set():
                    logger.exception("%s failed", name)

        thread = threading.Thread(target=logged, name=name, daemon=True)
        with self._lock:
            if self.closing.is_set():
                return
            self._workers = [worker for worker in self._workers if worker.is_alive()]
            self._workers.append(thread)
            thread.start()

    def close(self) -> None:
        """End what runs within a few seconds; the store keeps what it was."""
        with self._lock:
            self.closing.set()
            runtime, workers = self._runtime, list(self._workers)
        deadline = time.monotonic() + CLOSING_S
        if runtime is not None:
            runtime.close()
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        for running in list(self.running.values()):
            running.logs.close(max(0.5, deadline - time.monotonic()))
            self.service.platform.forget_session(running.credentials)
        self.running.clear()


def notebooks_of(service: Sagemaker) -> Notebooks:
    """The notebook instances of a service, made when they are first asked for."""
    notebooks: Notebooks = service.background.setdefault("notebooks", Notebooks(service))
    return notebooks


def key_for(caller: Caller, name: str) -> Key:
    """The key of a notebook instance of the caller's."""
    return caller.account, caller.region, key_of(name)
