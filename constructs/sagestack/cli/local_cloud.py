"""Starts, finds and stops the local cloud, a process of its own with an environment of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from sagestack.cli import ports
from sagestack.cli.errors import CliError

DEFAULT_PORT = 4566
START_TIMEOUT_S = 90
"""A start takes about two seconds, and more on a machine that is busy or has a lot of state to read."""
LITTLE_SPACE_BYTES = 100_000_000
"""Less than this on the disk is a likely reason when the local cloud does not start."""
STOP_TIMEOUT_S = 120
"""The local cloud stops its jobs and saves its state within about 10 seconds, and later on a machine that is busy."""
MIN_CLOCK_FACTOR, MAX_CLOCK_FACTOR = 1.0, 240.0
"""What `local_cloud.clock` takes; it runs in another environment, so it cannot be imported here."""
KEPT_BY_FORGET = ("images", "demo.lock", "up.lock")
"""What `down --forget` leaves: environments built from requirements, which are content and not state, and our own locks."""

UNSET = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
"""Variables that would win over the local cloud's, or switch them off."""


@dataclass(frozen=True)
class LocalCloud:
    """A running local cloud, as its `cloud.json` describes it."""

    pid: int
    port: int
    endpoint_url: str
    ca_bundle: str
    region: str
    account: str
    access_key_id: str
    secret_access_key: str
    runner: str
    started_at: str
    version: str
    clock_factor: float = 30.0

    def variables(self) -> dict[str, str]:
        """The environment variables with which any AWS client reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_CA_BUNDLE": self.ca_bundle,
            "NODE_EXTRA_CA_CERTS": self.ca_bundle,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }


VARIABLES = tuple(LocalCloud(0, 0, "", "", "", "", "", "", "", "", "").variables())


def state_dir(root: Path) -> Path:
    """Where the local cloud keeps everything."""
    return root / ".local-cloud"


def find(root: Path) -> LocalCloud | None:
    """The running local cloud, or None.

    A `cloud.json` that a killed one left behind does not count, even if its process id was given to another program
    since: the local cloud holds a lock for as long as it lives.

    Raises:
        CliError: `cloud.json` is not what the local cloud writes.
    """
    path = state_dir(root) / "cloud.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        content = json.loads(text)
        cloud = LocalCloud(
            **{
                field.name: content[field.name]
                for field in fields(LocalCloud)
                # An earlier version's description has no clock.
                if field.name in content or field.default is MISSING
            }
        )
    except (ValueError, TypeError, KeyError) as error:
        raise CliError(
            f"{path} cannot be read: {error!r}.",
            hint="Stop the local cloud if it runs, delete the file, and start it again with `make up`.",
            code="set-up",
        ) from error
    return cloud if _is_alive(cloud.pid) and _lock_owner(root) is not None else None


def require(root: Path) -> LocalCloud:
    """The running local cloud.

    Raises:
        CliError: it does not run.
    """
    cloud = find(root)
    if cloud is None:
        raise CliError(
            "The local cloud is not running.", hint="Start it with `make up` (or `sagestack up`).", code="not-running"
        )
    return cloud


def start(
    root: Path, port: int | None, on_wait: Callable[[], None], *, clock_factor: float | None = None
) -> tuple[LocalCloud, bool]:
    """Starts the local cloud and waits until it answers; leaves a running one alone.

    Args:
        root: the project.
        port: the port that is asked for; None takes the running one's, else 4566.
        on_wait: is called once, before the waiting begins.
        clock_factor: how many times faster than on AWS its waits pass; None takes the running one's, else the environment's
            (SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR), else 30.

    Returns:
        The local cloud, and whether this call started it.

    Raises:
        CliError: it runs on another port or with another clock factor, the port is taken, it is not installed, it did not start.
    """
    with _only_one(root):
        running = find(root)
        if running is not None:
            if port is not None and port != running.port:
                raise CliError(
                    f"The local cloud already runs on port {running.port} (process {running.pid}); "
                    f"port {port} was asked for.",
                    hint=f"To move it: make down, then PORT={port} make up. To keep it: PORT={running.port} make ...",
                    code="busy",
                )
            if clock_factor is not None and clock_factor != running.clock_factor:
                raise CliError(
                    f"The local cloud already runs with the clock factor {running.clock_factor:g} "
                    f"(process {running.pid}); {clock_factor:g} was asked for.",
                    hint=f"To change it: make down, then sagestack up --clock-factor {clock_factor:g}.",
                    code="busy",
                )
            return running, False
        python = root / ".venv-local-cloud" / "bin" / "python"
        if not python.exists():
            raise CliError(f"The local cloud is not installed: {python} is missing.", hint="make setup", code="set-up")
        owner = _lock_owner(root)
        if owner is not None:
            raise CliError(
                f"Another process ({owner or 'unknown'}) holds {state_dir(root) / 'lock'} but does not serve yet.",
                hint="`make down` stops it.",
                code="busy",
            )
        port = port or DEFAULT_PORT
        ports.refuse_taken(port)
        on_wait()
        return _started(root, python, port, clock_factor), True


def stop(root: Path) -> int | None:
    """Stops the local cloud and waits until it has saved its state.

    Returns:
        The id of the process that was stopped, or None where none ran.

    Raises:
        CliError: it did not end.
    """
    with _only_one(root):
        owner = _lock_owner(root)
        if owner is None:
            # What a killed one left would only mislead.
            (state_dir(root) / "cloud.json").unlink(missing_ok=True)
            return None
        if not owner or not _is_local_cloud(owner):
            raise CliError(
                f"{state_dir(root) / 'lock'} is held, but process {owner or 'unknown'} is not the local cloud.",
                hint="Find out what holds the file (for example with `lsof`) before you end anything.",
                code="busy",
            )
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner, signal.SIGTERM)
        if not _wait_until(lambda: _lock_owner(root) is None, STOP_TIMEOUT_S):
            raise CliError(
                f"The local cloud (process {owner}) did not end within {STOP_TIMEOUT_S} s of SIGTERM.",
                hint=f"Look at {state_dir(root) / 'cloud.log'}. `kill -9 {owner}` ends it; what it had saved is kept.",
                code="busy",
            )
        return owner


def forget(root: Path) -> bool:
    """Deletes the state of a stopped local cloud and the pins that name versions of it; says if there was any.

    Environments that were built from requirements stay: they are content, and take minutes to build again.
    """
    from sagestack.settings import LOCAL, pins_file

    with _only_one(root):
        pins = pins_file(LOCAL, root)
        leftovers = [p for p in state_dir(root).iterdir() if p.name not in KEPT_BY_FORGET]
        for path in leftovers:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        was_pinned = pins.exists()
        pins.unlink(missing_ok=True)
        return bool(leftovers) or was_pinned


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[int | None]:
    """Holds a lock file for the time of a block, with our process id in it.

    Yields None when the lock is ours, else (only without `wait`) the id of the process that has it, 0 if unknown.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield _pid_in(path)
            return
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield None


def _only_one(root: Path) -> contextlib.AbstractContextManager[int | None]:
    """Two that start or stop at once take turns."""
    return exclusive(state_dir(root) / "up.lock", wait=True)


def _started(root: Path, python: Path, port: int, clock_factor: float | None) -> LocalCloud:
    folder = state_dir(root)
    (folder / "cloud.json").unlink(missing_ok=True)
    log = folder / "cloud.log"
    if log.exists():
        log.replace(folder / "cloud.log.1")
    command = [str(python), "-m", "local_cloud", "--state-dir", str(folder), "--port", str(port)]
    if clock_factor is not None:
        command += ["--clock-factor", f"{clock_factor:g}"]
    with log.open("wb") as stream:
        # A session of its own: Ctrl-C in this terminal is meant for the command, not for the cloud.
        process = subprocess.Popen(
            command,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        ready = _wait_until(lambda: process.poll() is not None or _answers(root, process.pid), START_TIMEOUT_S)
    except BaseException:
        process.terminate()
        raise
    cloud = find(root) if process.poll() is None else None
    if ready and cloud is not None:
        return cloud
    if process.poll() is None:
        process.terminate()
        what = f"The local cloud did not answer within {START_TIMEOUT_S} s and was stopped."
    else:
        what = f"The local cloud ended while it started (exit code {process.returncode})."
    free = shutil.disk_usage(folder).free
    hint = f"Only {free // 1_000_000} MB are free on the disk of {folder}." if free < LITTLE_SPACE_BYTES else None
    raise CliError(f"{what} The last lines of {log}:\n{_tail(log) or '(nothing)'}", hint=hint, code="set-up")


def _answers(root: Path, pid: int) -> bool:
    cloud = find(root)
    if cloud is None or cloud.pid != pid:
        return False
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    from sagestack.cli.session import local_client

    try:
        local_client(cloud, "sagemaker").list_endpoints(MaxResults=1)
    except (BotoCoreError, ClientError, HTTPClientError):
        return False
    return True


def _wait_until(is_so: Callable[[], bool], timeout_s: float) -> bool:
    from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

    waiting = Retrying(retry=retry_if_result(lambda so: not so), wait=wait_fixed(0.1), stop=stop_after_delay(timeout_s))
    try:
        return waiting(is_so)
    except RetryError:
        return False


def _lock_owner(root: Path) -> int | None:
    """The process that holds the local cloud's lock: its id, 0 if the file does not say, None if nobody holds it."""
    path = state_dir(root) / "lock"
    try:
        with path.open(encoding="utf-8") as lock:
            # Shared, so that two that look do not take each other for the local cloud.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _pid_in(path)
    return None


def _pid_in(path: Path) -> int:
    text = path.read_text(encoding="utf-8").strip()
    return int(text) if text.isdecimal() else 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_local_cloud(pid: int) -> bool:
    command = ports.command_of(pid)
    return "local_cloud" in command if command else _is_alive(pid)


def _tail(path: Path, lines: int = 15) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    return ""


def age(cloud: LocalCloud) -> float:
    """How long it has been running, in seconds."""
    import datetime

    return time.time() - datetime.datetime.fromisoformat(cloud.started_at).timestamp()
