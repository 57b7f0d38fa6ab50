"""What every process of the process engine needs, a build or a container: its output in lines, and its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from local_cloud.containers.engine import MAX_LINE_BYTES, Lines


def deliver_output(process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
    """Deliver what a process prints until it closes its output."""
    assert process.stdout is not None
    lines = Lines(on_line)
    with process.stdout as stdout:
        while data := os.read(stdout.fileno(), MAX_LINE_BYTES):
            lines.feed(data)
    lines.end()


def exit_code(code: int) -> int:
    """As Docker tells the end by a signal: 128 and its number."""
    return code if code >= 0 else 128 - code
