"""Notices that a host of the job was lost or failed, and ends this process with that host's name.

XGBoost's collective does not: the neighbours of a host that died get an error about a socket, the others wait, and a process
that leaves its group without shutting it down ends with a segmentation fault. So the hosts keep connections of their
own, in a star around the leader, that close when a host dies and fall silent when it freezes. What is seen
there is acted on by a thread, because the main thread may be inside XGBoost's C++ code at that time, which no
exception reaches.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from .hosts import Hosts
from .link import Kind, Link

_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True)
class Outcome:
    """Why the job cannot go on, and whose turn it is: the user's, the machine's, or nobody's where it was stopped."""

    whose: Literal["user", "algorithm", "stopped"]
    text: str

    @classmethod
    def lost(cls, host: str, why: str) -> Outcome:
        return cls("algorithm", f"host {host} was lost: {why}")

    def as_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Outcome:
        fields = json.loads(content)
        return cls(fields["whose"], fields["text"])


class Watch:
    """The connections of one host: on the leader one to each other host, elsewhere one to the leader.

    Args:
        hosts: the job's hosts.
        record: writes down why this process ends, and gives its exit code. Called once, from a thread, after the other
            hosts were told.
    """

    def __init__(self, hosts: Hosts, record: Callable[[Outcome], int]) -> None:
        self._hosts = hosts
        self._record = record
        self._links: dict[str, Link] = {}
        self._readers: list[threading.Thread] = []
        self._answers: queue.SimpleQueue[list[bytes]] = queue.SimpleQueue()
        self._done = threading.Semaphore(0)
        self._closing = threading.Event()  # set once a closed connection is no loss any more
        self._judging = threading.Lock()
        self._judged = False
        # The leader alone: what came for the gather that goes on, and whose parts make it whole.
        self._gathering = threading.Lock()
        self._members: tuple[str, ...] = hosts.all
        self._parts: dict[str, deque[bytes]] = {name: deque() for name in hosts.all}
        threading.Thread(target=self._tick, name="hosts-alive", daemon=True).start()

    @property
    def connected(self) -> frozenset[str]:
        return frozenset(self._links)

    @property
    def own_address(self) -> str:
        """This host's address as the job's other hosts know it."""
        return next(iter(self._links.values())).own_address

    def add(self, name: str, link: Link) -> None:
        """Watch a connection from now on."""
        self._links = {**self._links, name: link}  # replaced, not changed: the other threads may be walking through it
        reader = threading.Thread(target=self._read, args=(name, link), name=f"host-{name}", daemon=True)
        self._readers.append(reader)
        reader.start()

    def gather(self, part: bytes) -> list[bytes]:
        """Each member's part, in the members' order, on every member. All must call it equally often."""
        if self._hosts.is_leader:
            self._collect(self._hosts.current, part)
        else:
            self._links[self._hosts.leader].send(Kind.VALUE, part)
        return self._answers.get()

    def keep(self, members: Sequence[str]) -> None:
        """Only these hosts gather from now on. All hosts must say so, with the same members."""
        with self._gathering:
            self._members = tuple(members)
            self._answer()

    def finish(self) -> None:
        """Wait until every host has done its part, and close. Nothing that happens to a host later matters."""
        if self._hosts.is_leader:
            for _ in self._links:
                self._done.acquire()
            self._closing.set()
            for link in self._links.values():
                with contextlib.suppress(OSError):
                    link.send(Kind.END)
        else:
            self._links[self._hosts.leader].send(Kind.DONE)
            self._closing.wait()
        self._part_from_all(seconds=5.0)

    def fail(self, outcome: Outcome) -> None:
        """Tell the other hosts that this one cannot go on; the caller ends this process by itself.

        Where the job has failed already and a thread is ending this process, the first reason stays the reason.
        """
        if not self._first():
            self.wait_for_reason(15.0)
            return
        self._tell(outcome)
        self._part_from_all(seconds=1.0)

    def wait_for_reason(self, seconds: float) -> None:
        """Wait, because what went wrong here looks like the echo of a lost host. Its loss, when seen, ends this process."""
        threading.Event().wait(seconds)

    # What follows runs in threads.

    def _read(self, name: str, link: Link) -> None:
        try:
            while True:
                kind, payload = link.receive()
                if kind is Kind.VALUE and self._hosts.is_leader:
                    self._collect(name, payload)
                elif kind is Kind.VALUE:
                    self._answers.put(_split(payload))
                elif kind is Kind.DONE:
                    self._done.release()
                elif kind is Kind.END:
                    self._closing.set()
                    return
                elif kind is Kind.FAILED:
                    self._judge(Outcome.from_bytes(payload))
        except OSError as error:
            if not self._closing.is_set():
                why = (
                    f"its connection broke off ({error.strerror or error}). Its process ended without a word, most often "
                    "for want of memory, or its instance is gone: see its log"
                )
                self._judge(Outcome.lost(name, why))

    def _tick(self) -> None:
        silence = self._hosts.silence_seconds
        interval = min(1.0, silence / 5)
        before = forgiven = time.monotonic()
        while not self._closing.wait(interval):
            now = time.monotonic()
            if now - before > interval + silence / 4:
                forgiven = now  # this host itself was held up: what the others sent meanwhile is still to be read
            before = now
            for name, link in self._links.items():
                if now - max(link.heard, forgiven) > silence:
                    why = f"it said nothing for {silence:g} seconds, so it hangs or the network does"
                    self._judge(Outcome.lost(name, why))
                link.send_now(Kind.ALIVE)

    def _judge(self, outcome: Outcome) -> None:
        if self._first():
            self._tell(outcome)
            code = self._record(outcome)
            self._part_from_all(seconds=1.0)
            # Not sys.exit, which would end this thread alone, nor an orderly end of the interpreter, which waits for
            # a main thread that may never come back.
            os._exit(code)

    def _first(self) -> bool:
        with self._judging:
            first = not self._judged
            self._judged = True
            return first

    def _tell(self, outcome: Outcome) -> None:
        for link in self._links.values():
            link.send_now(Kind.FAILED, outcome.as_bytes(), wait=1.0)
            link.no_more()

    def _part_from_all(self, seconds: float) -> None:
        """Read on until the others have closed too: closing with unread bytes would take our last words with it."""
        deadline = time.monotonic() + seconds
        for link in self._links.values():
            link.no_more()
        for reader in self._readers:
            if reader is threading.current_thread():
                continue
            reader.join(max(0.0, deadline - time.monotonic()))
        for link in self._links.values():
            link.close()

    def _collect(self, name: str, part: bytes) -> None:
        with self._gathering:
            self._parts[name].append(part)
            self._answer()

    def _answer(self) -> None:
        while self._hosts.is_leader and all(self._parts[name] for name in self._members):
            parts = [self._parts[name].popleft() for name in self._members]
            for name in self._members:
                if name == self._hosts.current:
                    self._answers.put(parts)
                else:
                    with contextlib.suppress(OSError):  # the thread that reads from that host tells of its loss
                        self._links[name].send(Kind.VALUE, _join(parts))


def _join(parts: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def _split(content: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(content):
        (size,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        parts.append(content[at : at + size])
        at += size
    return parts
