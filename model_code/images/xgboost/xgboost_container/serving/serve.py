"""Serves until SIGTERM: reads the settings, listens, loads, answers, drains."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import uvloop

from ..contract import FAILED, Paths, UserError, log, one_line_reason
from .application import Application, SingleModelApplication
from .machine import usable_cpus
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
    except (UserError, OSError) as error:
        return cannot_serve(error)
    host, port = listener.getsockname()[:2]
    log(f"Listening on {host}:{port}")
    if settings.workers > 1:
        from .workers import supervise

        return supervise(settings, listener)
    code = uvloop.run(run(paths, settings, listener))
    if threading.active_count() > 1:
        # A thread that is still loading or scoring would hold the interpreter back, for as long as it likes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
