"""The process of the local cloud: one lock, one port, MiniStack and SageMaker behind it, and a state that survives."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import gc
import importlib
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local_cloud import certificate, developer
from local_cloud.clock import VARIABLE as CLOCK_FACTOR
from local_cloud.clock import Clock
from local_cloud.containers import choose_engine
from local_cloud.sagemaker import events
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Store

logger = logging.getLogger(__name__)

ACCOUNT = "000000000000"
REGION = "us-east-1"
HOST = "127.0.0.1"
SNAPSHOT_DELAY_S = 0.5
"""How long after a change the state of MiniStack's services is written: long enough to take many changes at once, short
enough that a kill loses at most what the last half second brought. SageMaker's own state is written before it answers, and
with it what it may name: a job whose role a kill takes away could not even be described as failed."""
SNAPSHOT_SHARE = 0.2
"""The largest share of the server's time that snapshots may take: a slow one is followed by a longer pause."""
EVENTS_TIMEOUT_S = 1.0
"""How long the events of the last changes have to reach their targets at a stop, in seconds."""
SERVER_END_TIMEOUT_S = 2.0
"""How long requests in flight have to end at a stop, in seconds."""
ANSWERS_LEAVE_IN_S = 0.1
"""How long the last answers have to leave the process once they are given, in seconds: on loopback it takes a millisecond."""
LOOK_FOR_STATE_EVERY_S = 1.0
"""How often to look whether somebody has deleted the state of a local cloud that runs."""
OPERATION_MODULES = (
    "tags",
    "registry",
    "hosting.models",
    "hosting.endpoint_configs",
    "jobs.jobs",
    "pipelines.pipelines",
    "hosting.endpoints",
    "inference_components.inference_components",
    "notebooks.notebooks",
    "studio.studio",
)
"""The modules of local_cloud.sagemaker that answer operations; importing one registers what it answers."""
MODULES_WITH_WORK = (
    "ministack_cloudwatch",
    "sagemaker.jobs.jobs",
    "sagemaker.pipelines.pipelines",
    "sagemaker.hosting.endpoints",
    "sagemaker.inference_components.inference_components",
    "sagemaker.hosting.instance_metrics",
    "autoscaling.background",
    "sagemaker.notebooks.notebooks",
    "sagemaker.studio.studio",
)
"""The modules of local_cloud that have something to resume at the start and to stop at the end, in start order."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class CannotStart(Exception):
    """The local cloud cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Description:
    """What cloud.json tells of a running local cloud: all that a client needs to reach it."""

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
    clock_factor: float


def run(state_dir: Path, port: int, clock: Clock) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        CannotStart: another local cloud has this state, or the port is taken.
    """
    # Modules are loaded, and stay: a collector that looks for garbage among them takes a quarter of the start.
    gc.disable()
    state_dir = state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock(state_dir)
    _refuse_taken_port(port)
    certificate_path, key_path = certificate.ensure(state_dir / "tls")
    _prepare_ministack(state_dir, port, certificate_path, key_path)
    # Functions inherit it: one that waits, or paces itself by an alarm's period, must keep the time that everything else keeps.
    os.environ[CLOCK_FACTOR] = f"{clock.factor:g}"
    # Only now: MiniStack reads its environment when it is imported.
    seams = importlib.import_module("local_cloud.ministack_seams")
    for name in OPERATION_MODULES:
        importlib.import_module(f"local_cloud.sagemaker.{name}")

    engine = choose_engine(state_dir)
    sagemaker = Sagemaker(
        store=Store(state_dir / "sagemaker.sqlite"),
        platform=seams.MiniStackPlatform(f"https://{HOST}:{port}", certificate_path),
        engine=engine,
        state_dir=state_dir,
        clock=clock,
    )
    seams.install(lambda: sagemaker)
    importlib.import_module("local_cloud.ministack_drift").install()
    importlib.import_module("local_cloud.ministack_identity_providers").install()
    importlib.import_module("local_cloud.ministack_budgets").install()
    importlib.import_module("local_cloud.ministack_schedules").install(lambda: sagemaker)
    importlib.import_module("local_cloud.ministack_network").install()
    importlib.import_module("local_cloud.ministack_network_in_use").install()
    importlib.import_module("local_cloud.ministack_tag_conditions").install()
    importlib.import_module("local_cloud.ministack_policy_variables").install()
    importlib.import_module("local_cloud.ministack_deployments").install()
    description_path = state_dir / "cloud.json"
    try:
        # Not asyncio.run: it would wait for every thread of every service, a function that still runs among them.
        asyncio.new_event_loop().run_until_complete(
            _serve(sagemaker, seams, port, description_path, certificate_path, key_path, lock)
        )
    finally:
        description_path.unlink(missing_ok=True)
        engine.close()
        sagemaker.store.close()
        lock.close()


async def _serve(
    sagemaker: Sagemaker,
    seams: Any,
    port: int,
    description_path: Path,
    certificate_path: Path,
    key_path: Path,
    lock: IO[str],
) -> None:
    from ministack import app

    stopping, server_may_end = asyncio.Event(), asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stopping.set)
    snapshot = seams.Snapshot()
    lock_path = sagemaker.state_dir / "lock"

    def write_snapshot() -> None:
        # Half of a state is worse than none.
        if _is_ours(lock_path, lock):
            snapshot.write()

    snapshots = Snapshots(write_snapshot)
    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.certfile, config.keyfile = str(certificate_path), str(key_path)
    config.keep_alive_timeout = 75
    config.graceful_timeout = 5
    config.loglevel = "WARNING"
    in_flight = InFlight()
    application = in_flight.around(snapshots.around(app.app))
    server = asyncio.create_task(serve(application, config, shutdown_trigger=server_may_end.wait))
    await _until_listening(server, port)
    keys = await asyncio.to_thread(
        lambda: developer.ensure(sagemaker.platform.client("iam", REGION), sagemaker.state_dir / "developer.json")
    )
    description = Description(
        pid=os.getpid(),
        port=port,
        endpoint_url=f"https://{HOST}:{port}",
        ca_bundle=str(certificate_path),
        region=REGION,
        account=ACCOUNT,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        runner=sagemaker.engine.kind,
        started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=version("ministack"),
        clock_factor=sagemaker.clock.factor,
    )
    for settled in seams.settle_interrupted_stacks():
        logger.warning("A stack operation was cut off: %s", settled)
    modules = [importlib.import_module(f"local_cloud.{name}") for name in MODULES_WITH_WORK]
    for module in modules:
        await asyncio.to_thread(module.start, sagemaker)
    gc.freeze()
    gc.enable()
    writer = asyncio.create_task(snapshots.keep_writing())
    _write_atomically(description_path, json.dumps(asdict(description), indent=2) + "\n")
    logger.info("The local cloud answers at %s; containers run as: %s", description.endpoint_url, description.runner)
    stopped = asyncio.create_task(stopping.wait())
    lost = asyncio.create_task(_until_lost(lock_path, lock))
    await asyncio.wait({stopped, server, lost}, return_when=asyncio.FIRST_COMPLETED)
    if lost.done():
        logger.error(
            "%s was deleted while the local cloud ran: it ends, and nothing of it is kept", sagemaker.state_dir
        )
    # The server still answers while the work is stopped: jobs upload what they have, and logs are written over the wire.
    for module in reversed(modules):
        await asyncio.to_thread(module.stop, sagemaker)
    writer.cancel()
    if lost.done():
        # Without a goodbye: MiniStack would write all its services' state at its end.
        return
    await asyncio.to_thread(events.flush, sagemaker, EVENTS_TIMEOUT_S)
    server_may_end.set()
    # Clients keep connections open, and asyncio gives each 30 s to say goodbye in TLS: only answers are waited for.
    await in_flight.until_none(SERVER_END_TIMEOUT_S)
    await asyncio.wait({server}, timeout=ANSWERS_LEAVE_IN_S)
    write_snapshot()
    logger.info("Stopped; the state is in %s", sagemaker.state_dir)


class Snapshots:
    """Writes the state of MiniStack's services soon after a request may have changed it."""

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._changed = asyncio.Event()

    def around(self, application: Application) -> Application:
        """The application, watched for requests that can change something."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if self._changed.is_set() and _changes_sagemaker(scope):
                self._changed.clear()
                self._write()
            if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
                await application(scope, receive, send)
                return

            async def answer(message: dict[str, Any]) -> None:
                # Before anybody can know of the change, and build on it.
                self._changed.set()
                await send(message)

            await application(scope, receive, answer)

        return watched

    async def keep_writing(self) -> None:
        """Write after each change, until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(SNAPSHOT_DELAY_S)
            self._changed.clear()
            started = time.monotonic()
            # On the event loop on purpose: no handler changes a service's state while it is read.
            self._write()
            await asyncio.sleep((time.monotonic() - started) / SNAPSHOT_SHARE)


class InFlight:
    """Knows whether any request still waits for its answer."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def around(self, application: Application) -> Application:
        """The application, its requests counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await application(scope, receive, send)
                return
            self._count += 1
            self._none.clear()
            try:
                await application(scope, receive, send)
            finally:
                self._count -= 1
                if not self._count:
                    self._none.set()

        return counted

    async def until_none(self, timeout_s: float) -> None:
        """Wait until every request is answered, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), timeout_s)


def _changes_sagemaker(scope: Scope) -> bool:
    """Whether a request makes SageMaker remember something that may name roles, keys or topics of other services."""
    if scope["type"] != "http":
        return False
    target: bytes = dict(scope["headers"]).get(b"x-amz-target", b"")
    service, _, operation = target.partition(b".")
    return service == b"SageMaker" and operation.startswith((b"Create", b"Update", b"Start"))


async def _until_lost(path: Path, lock: IO[str]) -> None:
    """Until our lock is no longer the one in the folder: another local cloud may start there, and none could stop us."""
    while _is_ours(path, lock):
        await asyncio.sleep(LOOK_FOR_STATE_EVERY_S)


def _is_ours(path: Path, lock: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False


def _lock(state_dir: Path) -> IO[str]:
    lock = (state_dir / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        raise CannotStart(
            f"Another local cloud (process {owner}) uses {state_dir}. Stop it with `make down`."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _refuse_taken_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CannotStart(
                f"Port {port} on {HOST} cannot be used ({error.strerror}). Choose another: PORT={port + 1} make up"
            ) from error


def _prepare_ministack(state_dir: Path, port: int, certificate_path: Path, key_path: Path) -> None:
    """Set what MiniStack reads from its environment."""
    # The machine's own AWS settings are none of this cloud's business, and inherited certificate variables would replace
    # the certificate that functions must trust.
    for name in list(os.environ):
        if name.startswith(("AWS_", "MINISTACK_", "LOCALSTACK_")) or name in (
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "CURL_CA_BUNDLE",
        ):
            del os.environ[name]
    temporary = state_dir / "tmp"
    temporary.mkdir(exist_ok=True)
    os.environ.update(
        {
            "AUTH": "true",
            "USE_SSL": "1",
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOST": "localhost",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "MINISTACK_SSL_CERT": str(certificate_path),
            "MINISTACK_SSL_KEY": str(key_path),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state_dir / "ministack"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state_dir / "s3"),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(temporary),
        }
    )


async def _until_listening(server: asyncio.Task[None], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.done():
            # Raises what ended it.
            await server
            raise CannotStart("The server ended before it listened; see the lines above.")
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return
    raise CannotStart(f"The server did not listen on port {port} within 60 s.")


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)
