"""Trains on several hosts as one: XGBoost's own collective, with what it lacks around it.

XGBoost's tracker and its ring of workers do the training. Around them the hosts meet, agree on their data, and watch
each other (`watch`), so that a job ends on all of its hosts for the same reason, or succeeds on all.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import without_scipy  # noqa: F401  (before xgboost, wherever that is imported)
from ...contract import (
    FAILED,
    STOPPED,
    AlgorithmError,
    Paths,
    Stopped,
    UserError,
    log,
    one_line_reason,
    write_together,
)
from .agreement import Agreement, Disagreement, Shard, agree, check_groups
from .hosts import Hosts
from .meeting import HostLost, meet
from .watch import Outcome, Watch

# XGBoost's limit for one step of an allreduce, 14 days. A host may be hours slower than another, and that one was lost is
# seen by the watch, in seconds: so this must never be what ends a job. Above 24 days poll(2) overflows.
_COLLECTIVE_SECONDS = 14 * 24 * 3600
_ECHO_SECONDS = 5.0


class Group:
    """The hosts that train together, as one of them sees it. With one host all of this is free.

    Attributes:
        hosts: the members by name, in rank order; those without rows leave in `agree`.
        has_rows: whether this host is a member. One that is not has nothing to do but to leave the `with` block.
    """

    def __init__(self, hosts: Hosts, watch: Watch | None) -> None:
        self._watch = watch
        self.current = hosts.current
        self.hosts = hosts.all
        self._address = "" if watch is None else watch.own_address

    @property
    def has_rows(self) -> bool:
        return self.current in self.hosts

    @property
    def rank(self) -> int:
        return self.hosts.index(self.current)

    @property
    def size(self) -> int:
        return len(self.hosts)

    @property
    def is_leader(self) -> bool:
        """Whether this host writes the model, the checkpoints and the metric lines: the first one that has rows."""
        return self.hosts[0] == self.current

    def gather_bytes(self, part: bytes) -> list[bytes]:
        """Each member's part, in rank order, on every member. All must call it, in the same order of calls."""
        return [part] if self._watch is None or self.size == 1 else self._watch.gather(part)

    def gather(self, value: Any) -> list[Any]:
        """The same for what JSON can hold. Floats come back as they were, NaN and infinity too."""
        return [json.loads(part) for part in self.gather_bytes(json.dumps(value).encode())]

    def broadcast(self, content: bytes | None) -> bytes | None:
        """The leader's content on every member, where the others' is ignored: a checkpoint, which only it must have."""
        part = b"" if not self.is_leader or content is None else b"=" + content
        first = self.gather_bytes(part)[0]
        return first[1:] if first else None

    def any(self, flag: bool) -> bool:
        """Whether it holds on any member: so that all stop after the same round when one got a SIGTERM."""
        return flag if self.size == 1 else b"1" in self.gather_bytes(b"1" if flag else b"0")

    def agree(self, shard: Shard) -> Agreement:
        """Decide with the other hosts what they train on. Hosts without rows leave the group.

        Raises:
            UserError: the hosts' data do not go together.
        """
        shards = [Shard.from_json(content) for content in self.gather(shard.as_json())]
        agreement = agree(dict(zip(self.hosts, shards, strict=True)))
        self.hosts = agreement.hosts
        if self._watch is not None:
            self._watch.keep(agreement.hosts)
            if self.has_rows and self.is_leader:
                for warning in agreement.warnings:
                    log(warning)
        return agreement

    def check_groups(self, qids: NDArray[Any] | None) -> None:
        """Refuse ranking groups that are split over hosts.

        Raises:
            UserError: a group has rows on two of them.
        """
        if self.size == 1:
            return
        own = np.unique(np.asarray([] if qids is None else qids)).astype(np.int64)
        parts = self.gather_bytes(own.tobytes())
        check_groups({name: np.frombuffer(part, np.int64) for name, part in zip(self.hosts, parts, strict=True)})

    def check_same(self, what: str, content: bytes) -> None:
        """Make sure that every member has the same: a model that differs between hosts was not trained on all rows.

        Raises:
            AlgorithmError: they differ.
        """
        digests = self.gather(hashlib.sha256(content).hexdigest())
        for name, digest in zip(self.hosts, digests, strict=True):
            if digest != digests[0]:
                raise AlgorithmError(f"{what} differs between the hosts {self.hosts[0]} and {name}, and must not")

    @contextmanager
    def collective(self) -> Iterator[None]:
        """XGBoost's collective, for this thread: matrices are made and boosters trained inside, on all members alike.

        Every member must make the same matrices and take the same steps in the same order, since each is taken together.
        """
        if self.size == 1:
            yield
            return
        from xgboost import collective
        from xgboost.tracker import RabitTracker

        tracker = None
        if self.is_leader:
            # Port 0: the hosts can tell each other which one it became, so two jobs on one machine never collide.
            tracker = RabitTracker(n_workers=self.size, host_ip=self._address, port=0, sortby="task")
            with _uninterrupted():
                tracker.start()
        worker_args: Mapping[str, Any] = self.gather(tracker.worker_args() if tracker else None)[0]
        # Ranks by task id, and ids by rank: the order in which sums are made decides their last bit.
        task = f"{self.rank:06d}"
        with _uninterrupted():
            collective.init(
                dmlc_communicator="rabit", dmlc_task_id=task, dmlc_timeout=_COLLECTIVE_SECONDS, **worker_args
            )
        if collective.get_rank() != self.rank:
            raise AlgorithmError(
                f"{self.current} has rank {collective.get_rank()} in XGBoost's group and {self.rank} in ours"
            )
        yield
        # Not in a finally: shutting a group down that has lost a member takes minutes, or an abort.
        with _uninterrupted():
            collective.finalize()
            if tracker:
                tracker.wait_for(60)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """SIGTERM and Ctrl-C wait, or go to a thread of Python's, while XGBoost talks over its sockets, and are answered then.

    Its group forms and ends with reads that have a timeout, which the system breaks off for a signal, and XGBoost takes that
    for a lost host: the job would fail where it is only told to stop. The threads that it starts here for the group keep away
    from these signals as well.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def distributed(hosts: Hosts, paths: Paths) -> Iterator[Group]:
    """The hosts of this job as a group, from when all have met to when all are done.

    Enter it early: what goes wrong before, on one host alone, the others learn only by waiting for it in vain. Within,
    an exception on one host ends the others too, with `host NAME failed: ...`, and a host that dies or hangs ends them with
    `host NAME was lost: ...`: as UserError or AlgorithmError in `/opt/ml/output/failure`, whatever they are doing.
    Leaving it waits for all hosts, so that none reports success where another fails.
    """
    if len(hosts.all) == 1:
        yield Group(hosts, None)
        return
    watch = Watch(hosts, record=lambda outcome: _record(outcome, paths))
    try:
        meet(hosts, watch)
        yield Group(hosts, watch)
        watch.finish()
    except BaseException as error:
        if _may_be_an_echo(error):
            watch.wait_for_reason(_ECHO_SECONDS)
        outcome = _outcome(hosts.current, error)
        watch.fail(outcome)
        # XGBoost's group was not shut down, and its destructor at a normal exit crashes then. By the time that this runs, the
        # reason is written.
        atexit.register(_leave, STOPPED if outcome.whose == "stopped" else FAILED)
        raise


def _outcome(host: str, error: BaseException) -> Outcome:
    """What the other hosts are told of an error here."""
    if isinstance(error, (Stopped, KeyboardInterrupt)):
        return Outcome("stopped", f"host {host} was stopped")
    if isinstance(error, HostLost):
        return Outcome("algorithm", str(error))
    if isinstance(error, Disagreement):
        return Outcome("user", str(error))
    whose, _, reason = one_line_reason(error).partition(": ")
    return Outcome("user" if whose == "UserError" else "algorithm", f"host {host} failed: {reason}")


def _may_be_an_echo(error: BaseException | None) -> bool:
    """Whether it is what a host sees of another one's end: our connection's error, or XGBoost's on a broken ring.

    XGBoost's errors name the source file that raised them.
    """
    if error is None or isinstance(error, (Stopped, KeyboardInterrupt, HostLost, Disagreement)):
        return False
    if isinstance(error, ConnectionError) or "src/collective/" in str(error):
        return True
    return _may_be_an_echo(error.__cause__ or error.__context__)


def _record(outcome: Outcome, paths: Paths) -> int:
    """Write down, from a thread, why this host ends, as `contract.run_step` does for what the main thread raises."""
    if outcome.whose == "stopped":
        print(f"Stopped before the end: {outcome.text}.", file=sys.stderr, flush=True)
        code = STOPPED
    else:
        error = UserError(outcome.text) if outcome.whose == "user" else AlgorithmError(outcome.text)
        reason = one_line_reason(error)
        code = FAILED
        try:
            write_together({paths.training_failure: (reason + "\n").encode()})
        except OSError as cannot:
            print(f"The reason could not be written to {paths.training_failure}: {cannot}", file=sys.stderr, flush=True)
        print(f"Failed: {reason}", file=sys.stderr, flush=True)
    _flush()
    return code


def _leave(code: int) -> None:
    _flush()
    os._exit(code)


def _flush() -> None:
    """Best effort, in a thread: the main thread may hold the stream's lock for good."""
    flushing = threading.Thread(target=sys.stdout.flush, daemon=True)
    flushing.start()
    flushing.join(1.0)
