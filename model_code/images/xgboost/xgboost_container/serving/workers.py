"""Several processes on one listening socket: started, watched, replaced and drained together.

Each is a process of its own rather than a fork: XGBoost's threads do not survive one. They share the socket alone, and
each accepts only once it can score, so `/ping` is answered by whoever answers `/invocations`. Until the first one can, this
process says 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from asyncio.subprocess import Process

from ..contract import FAILED, Paths, log
from .application import Application
from .serve import announce, end, run
from .server import DRAIN_SECONDS, Server
from .settings import Settings

READY, GO = b"r", b"g"
# Where workers were up and one comes up no more, it is tried this often before the container lets itself be replaced.
ATTEMPTS = 5
PAUSE_SECONDS = 1.0


async def supervise(settings: Settings, listener: socket.socket) -> int:
    """Run `settings.workers` processes until SIGTERM, and return the exit code."""
    return await _Supervisor(settings, listener).run()


class _Supervisor:
    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._stop = asyncio.Event()
        self._processes: set[Process] = set()
        self._ready: set[Process] = set()
        self._was_up = False
        self._failed = False
        self._letting_go: asyncio.Task[None] | None = None  # the loop itself keeps a task only weakly
        self._application = Application(settings)
        self._server = Server(
            listener,
            self._application,
            max_content_length=settings.max_content_length,
            request_seconds=settings.request_seconds,
            is_shared=True,
        )
        self._server.closing = True  # the next request on this connection is for a worker

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        self._server.start_accepting()
        announce(self._listener)
        keepers = [loop.create_task(self._keep()) for _ in range(self._settings.workers)]
        await self._stop.wait()
        # The workers stop accepting one after the other, and who connects after the last of them would be cut off when the
        # socket closes. So from now on this process accepts, and says why nothing is served.
        self._application.is_draining = True
        self._server.start_accepting()
        for process in list(self._processes):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=DRAIN_SECONDS + 2)
        for process in list(self._processes):
            if process.returncode is None:
                process.kill()
        if late:
            await asyncio.wait(late)
        await self._server.last_call()
        await self._server.drain(1)
        for keeper in keepers:
            # One that SIGTERM ended before it had a handler had not begun to serve.
            if keeper.result() not in (0, -signal.SIGTERM):
                self._failed = True
        log("Stopped all workers")
        return FAILED if self._failed else 0

    async def _keep(self) -> int:
        """Run one worker, and another one whenever it dies. Returns the exit code of the last."""
        attempts = 0
        while True:
            was_ready, code = await self._run_one()
            if self._stop.is_set():
                return code
            attempts = 0 if was_ready else attempts + 1
            if not was_ready and (attempts >= ATTEMPTS or not self._was_up):
                # It has said why itself. Where none ever came up, trying again shows nothing new.
                self._failed = True
                self._stop.set()
                return code
            log(f"A worker ended with exit code {code}; another one takes its place")
            if not was_ready:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), PAUSE_SECONDS)
                    return 0

    async def _run_one(self) -> tuple[bool, int]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", __name__, str(self._listener.fileno()), str(theirs.fileno())),
                    pass_fds=(self._listener.fileno(), theirs.fileno()),
                )
            self._processes.add(process)
            if self._stop.is_set():  # it came too late for the signal that the others got
                process.terminate()
            try:
                was_ready = await loop.sock_recv(ours, 1) == READY
                if was_ready:
                    self._ready.add(process)
                    self._was_up = True
                    self._hand_over()
                    with contextlib.suppress(OSError):  # it died meanwhile
                        await loop.sock_sendall(ours, GO)
                    log(f"{len(self._ready)} of {self._settings.workers} workers are up")
                return was_ready, await process.wait()
            finally:
                self._processes.discard(process)
                self._ready.discard(process)
                if not self._ready and not self._stop.is_set():
                    self._application.unready = "no worker is up"
                    self._server.start_accepting()

    def _hand_over(self) -> None:
        if len(self._ready) == 1 and not self._stop.is_set():
            self._server.stop_accepting()
            self._letting_go = asyncio.get_running_loop().create_task(self._let_go())

    async def _let_go(self) -> None:
        # Not at once: a connection whose request is on its way would be reset. Until then this process answers it.
        await self._server.hear_out()
        if self._ready and not self._stop.is_set():
            self._server.close_idle()


async def work(paths: Paths, settings: Settings, listener: socket.socket, supervisor: socket.socket) -> int:
    """Be one of the workers: load, report, wait until the supervisor accepts no more, and serve.

    Ends when the supervisor does: nobody would stop it otherwise.
    """
    loop = asyncio.get_running_loop()
    supervisor.setblocking(False)

    async def report_ready() -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone, which the reader notices
            await loop.sock_sendall(supervisor, READY)
            await loop.sock_recv(supervisor, 1)
        loop.add_reader(supervisor.fileno(), orphaned)

    def orphaned() -> None:
        loop.remove_reader(supervisor.fileno())
        signal.raise_signal(signal.SIGTERM)

    return await run(paths, settings, listener, report_ready=report_ready)


def main() -> int:
    import uvloop

    listener, supervisor = (socket.socket(fileno=int(argument)) for argument in sys.argv[1:3])
    paths, settings = Paths.from_environment(), Settings.from_environment()
    return end(uvloop.run(work(paths, settings, listener, supervisor)))


if __name__ == "__main__":
    sys.exit(main())
