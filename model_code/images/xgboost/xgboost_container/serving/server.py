"""The listening socket, the connections, the clock that ends what takes too long, and the drain."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import time

from .connection import Connection
from .reading import Application

# What the system keeps of connections that nobody has accepted yet. Also the most that a drain still takes.
BACKLOG = 512
# SageMaker kills 30 seconds after SIGTERM.
DRAIN_SECONDS = 20.0
# After SIGTERM, what had already been sent to us gets here and is still served in this time.
LAST_CALL_SECONDS = 0.1
# A request that is still coming in when SIGTERM comes has this long to arrive.
DRAIN_REQUEST_SECONDS = 3.0
# A connection may wait this long for its next request. SageMaker's own give up on an invocation after 60 seconds.
IDLE_SECONDS = 65.0
# Bodies that are in memory at once, in units of the largest one that is taken.
BUFFERED_BODIES = 32
TICK_SECONDS = 0.5
_SPARE_FILES = 64
# The loop's next round begins to watch a new connection, and the one after it reads. One is to spare.
_ROUNDS_TO_READ = 3


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that does not block; `port` 0 takes a free one.

    Raises:
        OSError: the address is taken or not ours.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class Server:
    """Answers HTTP on one listening socket, which other processes may be listening on as well.

    It accepts by itself rather than through `loop.create_server`: a drain must be able to take what already waits in the
    backlog, once, and processes that share a socket share the load when each takes one connection at a time.
    """

    def __init__(
        self,
        listener: socket.socket,
        application: Application,
        *,
        max_content_length: int,
        request_seconds: float,
        idle_seconds: float = IDLE_SECONDS,
        is_shared: bool = False,
    ) -> None:
        self.application = application
        self.connections: set[Connection] = set()
        self.max_content_length = max_content_length
        self.buffered = 0
        self.max_buffered = BUFFERED_BODIES * max_content_length
        self.closing = False
        self.date = b""
        self._listener = listener
        self._request_seconds = request_seconds
        self._idle_seconds = idle_seconds
        self._at_once = 1 if is_shared else 32
        self._accepts = False
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_connections = 4096 if files == resource.RLIM_INFINITY else max(files - _SPARE_FILES, 16)
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[object]] = set()
        self._tick()

    def start_accepting(self) -> None:
        self._accepts = True
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def stop_accepting(self) -> None:
        self._accepts = False
        self._loop.remove_reader(self._listener.fileno())

    async def last_call(self) -> None:
        """Accept nothing more, and give what has been sent already the time to get here.

        Only what waits in the backlog now is still taken: under a load that never pauses it is never seen empty.
        """
        self.closing = True  # from now on each answer is the last one on its connection
        self._request_seconds = min(self._request_seconds, DRAIN_REQUEST_SECONDS)
        if self._accepts:
            # From here on the system completes at most one handshake before we accept it, rather than BACKLOG behind our back.
            self._listener.listen(0)
            for _ in range(BACKLOG):
                if not self._accept_one():
                    break
            self.stop_accepting()
        self._listener.close()
        await self.hear_out()

    async def hear_out(self) -> None:
        """Give what has been sent already the time to get here, and read it: also where this process is held up meanwhile."""
        await asyncio.sleep(LAST_CALL_SECONDS)
        # After a pause (of a container that had used up its share of the CPU) the time is over at once, and a connection that was
        # accepted right before it is not read yet. So wait for each that is being set up, and then for its first reading.
        if self._handshakes:
            await asyncio.wait(self._handshakes)
        for _ in range(_ROUNDS_TO_READ):
            await asyncio.sleep(0)

    async def drain(self, seconds: float = DRAIN_SECONDS - LAST_CALL_SECONDS) -> int:
        """Answer what has come in, close everything, and return how many requests were broken off in the end."""
        deadline = self._loop.time() + seconds
        while self._loop.time() < deadline and any(connection.is_busy for connection in self.connections):
            await asyncio.sleep(0.02)
        broken_off = sum(connection.is_busy for connection in self.connections)
        self.close_idle()
        # Answers on their way to slow readers, and clients that are still sending what was refused.
        while self.connections and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)
        return broken_off

    def close_idle(self) -> None:
        """Close the connections that wait for a request."""
        for connection in list(self.connections):
            if connection.waits_since is not None:
                connection.close()

    def _accept(self) -> None:
        for _ in range(self._at_once):
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        if len(self.connections) + len(self._handshakes) >= self._most_connections:
            self._make_room()
            return False
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._pause_accepting()
                return False
            raise
        accepted.setblocking(False)
        task = self._loop.create_task(self._attach(accepted))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)
        return True

    async def _attach(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(self, self._loop), accepted)
        except OSError:  # the client has gone again
            accepted.close()

    def _make_room(self) -> None:
        """Close the connection that has waited longest for a request, so that idle ones lock nobody out.

        It is gone when the loop comes round again, and asks to accept once more.
        """
        waiting = [(since, id(one), one) for one in self.connections if (since := one.waits_since) is not None]
        if waiting:
            min(waiting)[2].close()
        else:
            self._pause_accepting()

    def _pause_accepting(self) -> None:
        """Until the next tick, who comes waits in the backlog. Without this the loop would spin."""
        if self._accepts:
            self._loop.remove_reader(self._listener.fileno())

    def _tick(self) -> None:
        self.date = time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime()).encode()
        now = self._loop.time()
        for connection in list(self.connections):
            connection.expire(now, request_seconds=self._request_seconds, idle_seconds=self._idle_seconds)
        if self._accepts:
            self._loop.add_reader(self._listener.fileno(), self._accept)
        self._loop.call_later(TICK_SECONDS, self._tick)
