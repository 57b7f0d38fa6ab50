"""Loopback ports, and who has them."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from sagestack.cli.errors import CliError

HOST = "127.0.0.1"


def refuse_taken(port: int) -> None:
    """Refuses a port that cannot be listened on.

    Raises:
        CliError: it is not a port, or taken; says by whom where the system tells, and names a free one.
    """
    if not 1 <= port <= 65535:
        raise CliError(f"{port} is not a port (allowed: 1 to 65535).", code="usage")
    try:
        _bind(port)
    except OSError as error:
        free = next((p for p in range(port + 1, min(port + 100, 65536)) if _is_free(p)), None)
        raise CliError(
            f"Port {port} on {HOST} cannot be used: {error.strerror}{_described_owner(port)}.",
            hint=f"Choose another: PORT={free or 24566} make up",
            code="busy",
            details={"port": port},
        ) from error


def _bind(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server does, so that connections of the last run that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))


def _is_free(port: int) -> bool:
    try:
        _bind(port)
    except OSError:
        return False
    return True


def _described_owner(port: int) -> str:
    pid = _listener(port)
    if pid is None:
        return ""
    return f" by process {pid} ({command_of(pid)[:80]})"


def _listener(port: int) -> int | None:
    """The process that listens on a port, where /proc tells and it is ours to see."""
    inodes: set[str] = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                columns = line.split()
                # Column 3 is the state, 0A is LISTEN; column 9 is the socket's inode.
                if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(f"socket:[{columns[9]}]")
    if not inodes:
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        return int(folder.name)
    return None


def command_of(pid: int) -> str:
    """The command line of a process, or nothing where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
