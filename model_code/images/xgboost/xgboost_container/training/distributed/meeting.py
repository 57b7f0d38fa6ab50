"""How the hosts of a job find each other: the leader listens, the others come to it and say who they are."""

from __future__ import annotations

import json
import os
import socket
import threading
import time

from ...contract import AlgorithmError, log
from .hosts import CONNECT_SECONDS, PORT, Hosts
from .link import Kind, Link
from .watch import Outcome, Watch

_CONNECT_ATTEMPT_SECONDS = 10.0
# Long, since it is lost only on a stranger: a host that is held up is still the one that the others wait for.
_GREETING_SECONDS = 60.0
_GREETING_BYTES = 1 << 20


class HostLost(AlgorithmError):
    """A host is gone, or never came. The message names it and holds on every host."""


def meet(hosts: Hosts, watch: Watch) -> None:
    """Connect every host with the leader, and return when all are there.

    Raises:
        HostLost: one did not come in time.
        AlgorithmError: the port is taken, or another job's hosts are met there.
    """
    if hosts.is_leader:
        _await_others(hosts, watch)
    else:
        watch.add(hosts.leader, _go_to_leader(hosts))
    watch.gather(b"")  # the leader has heard of every host, and the others of the leader
    log(f"{len(hosts.all)} hosts have met: {', '.join(hosts.all)}. This is {hosts.current}.")


def _await_others(hosts: Hosts, watch: Watch) -> None:
    address = hosts.address(hosts.current)
    try:
        # On this one address and not on all of the machine's: nobody but the job's hosts has business here.
        listener = socket.create_server((address, hosts.port), backlog=len(hosts.all) + 16)
    except OSError as error:
        raise AlgorithmError(
            f"{hosts.current} cannot listen on {address}:{hosts.port}, where the other hosts look for it: {error.strerror}. "
            f"Set {PORT} to a free port, the same one on every host"
        ) from error
    deadline = time.monotonic() + hosts.connect_seconds
    with listener:
        listener.settimeout(0.1)  # between two looks at who has come
        while missing := sorted(set(hosts.others) - watch.connected):
            if time.monotonic() > deadline:
                raise HostLost(
                    f"host {missing[0]} was lost before it began: it did not connect within {hosts.connect_seconds:g} seconds"
                    f"{_and_others(missing)}. Where hosts start further apart, set {CONNECT_SECONDS}"
                )
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=_greet, args=(hosts, watch, Link(connection)), daemon=True).start()


def _and_others(missing: list[str]) -> str:
    return f", and neither did {', '.join(missing[1:])}" if missing[1:] else ""


_greeting = threading.Lock()


def _greet(hosts: Hosts, watch: Watch, link: Link) -> None:
    link.patience(_GREETING_SECONDS)
    try:
        kind, payload = link.receive(_GREETING_BYTES)
        hello = json.loads(payload) if kind is Kind.HELLO else None
    except (OSError, ValueError):
        hello = None
    if not isinstance(hello, dict):
        link.close()  # a port scanner or a health check: no concern of the job
        return
    with _greeting:  # two that come with the same name at once
        name = hello.get("host")
        refusal = _refusal(hosts, hello, watch.connected)
        if refusal:
            link.send_now(Kind.FAILED, Outcome("algorithm", refusal).as_bytes())
            link.no_more()
            log(f"Refused a connection: {refusal}")
            return
        link.patience(None)
        if link.send_now(Kind.WELCOME):
            watch.add(str(name), link)


def _refusal(hosts: Hosts, hello: dict[str, object], connected: frozenset[str]) -> str | None:
    mine, theirs = _hello(hosts), {**hello, "host": hosts.current}
    name, place = hello.get("host"), f"{hosts.current} at port {hosts.port}"
    if theirs != mine:
        return f"{name} came to {place} for another job: it has {theirs!r}, here it is {mine!r}. Set {PORT} per job"
    if name not in hosts.others:
        return f"{name!r} came to {place}, and is none of the hosts {', '.join(hosts.others)} that it waits for"
    if name in connected:
        return f"a second {name} came to {place}: two jobs on one machine need a {PORT} each"
    return None


def _hello(hosts: Hosts) -> dict[str, object]:
    return {"host": hosts.current, "hosts": list(hosts.all), "job": os.environ.get("TRAINING_JOB_NAME", "")}


def _go_to_leader(hosts: Hosts) -> Link:
    deadline = time.monotonic() + hosts.connect_seconds
    address = hosts.address(hosts.leader)
    pause, why = 0.05, ""
    while time.monotonic() < deadline:
        try:
            link = Link(socket.create_connection((address, hosts.port), timeout=_CONNECT_ATTEMPT_SECONDS))
            link.patience(_GREETING_SECONDS)
            link.send(Kind.HELLO, json.dumps(_hello(hosts)).encode())
            kind, payload = link.receive(_GREETING_BYTES)
        except OSError as error:
            why = str(error.strerror or error)
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)
            continue
        if kind is Kind.FAILED:
            raise AlgorithmError(f"{hosts.leader} refused this host: {Outcome.from_bytes(payload).text}")
        link.patience(None)
        return link
    raise HostLost(
        f"host {hosts.leader} was lost before it began: nothing that leads this job answered at {address}:{hosts.port} within "
        f"{hosts.connect_seconds:g} seconds ({why}). Where hosts start further apart, set {CONNECT_SECONDS}"
    )
