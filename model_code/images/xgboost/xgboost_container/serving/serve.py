"""Serves until SIGTERM: reads the settings, listens, loads, answers, drains."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import uvloop

from ..contract import FAILED, Paths, UserError, log, one_line_reason
from ..machine import usable_cpus
from .application import Application, SingleModelApplication
from .memory import keep_freed_memory
from .server import DRAIN_SECONDS, Server, listen
from .settings import Settings


def serve(paths: Paths) -> int:
    """Serve the model in `/opt/ml/model`, or the models that come by `POST /models`, and return the exit code.

    0 after SIGTERM or Ctrl-C when everything was answered that had come in; 1 when it cannot serve, which one line on
    standard error explains, or when a request had to be broken off.
    """
    try:
        settings = Settings.from_environment()
        listener = _listen(settings)
    except UserError as error:
        return cannot_serve(error)
    if settings.workers > 1:
        from .workers import supervise

        return end(uvloop.run(supervise(settings, listener)))
    return end(uvloop.run(run(paths, settings, listener)))


async def run(
    paths: Paths,
    settings: Settings,
    listener: socket.socket,
    *,
    report_ready: Callable[[], Awaitable[None]] | None = None,
) -> int:
    """Load, answer and drain in this process.

    Alone it accepts connections at once and says 503 until it can score. As one of several (`report_ready` is given) it accepts
    only then: before that, somebody else who can score may have taken the connection.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    keep_freed_memory()
    threads = ThreadPoolExecutor(max(2, usable_cpus()), thread_name_prefix="score")
    application: Application
    if settings.multi_model:
        from .multi_model import MultiModelApplication

        application = MultiModelApplication(settings, threads)
        loading = loop.run_in_executor(threads, application.prepare)
    else:
        application = SingleModelApplication(settings)
        loading = loop.run_in_executor(threads, _load, paths, settings, threads, application)

    server = Server(
        listener,
        application,
        max_content_length=settings.max_content_length,
        request_seconds=settings.request_seconds,
        is_shared=report_ready is not None,
    )
    if report_ready is None:
        server.start_accepting()
        announce(listener)
    stopping = loop.create_task(stop.wait())
    await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        if error := loading.exception():
            return cannot_serve(error)
        loading.result()()
        if report_ready is not None:
            await report_ready()
            server.start_accepting()
        await stopping
    else:
        loading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody waits for it any more
    application.is_stopping = True
    await server.last_call()
    application.is_draining = True
    broken_off = await server.drain()
    threads.shutdown(wait=False, cancel_futures=True)
    if broken_off:
        log(f"Stopped; {broken_off} requests were unanswered after {DRAIN_SECONDS:g} seconds and were broken off")
        return FAILED
    log("Stopped")
    return 0


def announce(listener: socket.socket) -> None:
    """Name the address, once SIGTERM finds a handler and whoever connects an answer."""
    host, port = listener.getsockname()[:2]
    log(f"Listening on {host}:{port}")


def cannot_serve(error: BaseException) -> int:
    """Say in one line why this server does not start."""
    if not isinstance(error, UserError | PermissionError):
        traceback.print_exception(error)
    print(f"Cannot serve: {one_line_reason(error)}", file=sys.stderr, flush=True)
    return FAILED


def end(code: int) -> int:
    """`code`, unless a thread still loads or scores: it would hold the interpreter back for as long as it likes."""
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as error:
        raise UserError(
            f"{settings.host}:{settings.port}: {error.strerror}; SAGEMAKER_BIND_TO_PORT and SAGEMAKER_BIND_TO_HOST name another"
        ) from error


def _load(
    paths: Paths, settings: Settings, threads: ThreadPoolExecutor, application: SingleModelApplication
) -> Callable[[], None]:
    """Load the model, which scores a row. What is returned makes it answer, and belongs into the loop's thread.

    The imports are here because they are most of the time that a start takes: `/ping` says 503 meanwhile.
    """
    from .invocations import Invocations
    from .model import load

    model = load(paths.model, ensemble=settings.ensemble)
    invocations = Invocations(settings, threads)
    invocations.warn(model, "the model")
    log(f"Loaded {model.objective} of {model.schema.num_features} features")
    return lambda: application.ready(model, invocations)
