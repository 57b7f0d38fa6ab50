"""Runs the project's own, unmodified CDK CLI."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sagestack.cli import local_cloud
from sagestack.cli.cdk_output import Line, Reader
from sagestack.cli.cdk_tools import Tools, search_path
from sagestack.cli.deployment_outcome import Deployment
from sagestack.cli.proxies import loopback_directly

if TYPE_CHECKING:
    from sagestack.cli.session import Session

STAY_QUIET = {
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "CDK_DISABLE_VERSION_CHECK": "true",
    "NODE_NO_WARNINGS": "1",
    "NO_UPDATE_NOTIFIER": "1",
}

Approval = Literal["never", "broadening"]


def variables(root: Path, cloud: local_cloud.LocalCloud | None) -> dict[str, str]:
    """The environment in which the CDK CLI runs."""
    result = {**os.environ, **STAY_QUIET, "PATH": search_path(root)}
    if cloud:
        for name in list(result):
            # One service's own endpoint would win over AWS_ENDPOINT_URL and lead out of the local cloud.
            if name in local_cloud.UNSET or name.startswith("AWS_ENDPOINT_URL"):
                del result[name]
        result |= cloud.variables()
        result["AWS_EC2_METADATA_DISABLED"] = "true"
        result |= loopback_directly(result)
    return result


def deploy(
    session: Session,
    tools: Tools,
    approval: Approval,
    on_line: Callable[[Line], None],
    on_state: Callable[[str], None],
    *,
    may_ask: bool,
) -> Deployment:
    """Deploys all stacks of an environment.

    Args:
        session: the environment.
        tools: what `check_tools` found.
        approval: `broadening` asks before permissions widen, which needs a terminal.
        on_line: takes each line that a person should read.
        on_state: takes what goes on just now.
        may_ask: whether there is a person at a terminal who can be asked. Without one the CLI fails where it has to ask.
    """
    name = session.environment.name
    output = session.root / "cdk.out" / name
    output.parent.mkdir(exist_ok=True)
    log = output.parent / f"deploy-{name}.log"
    command = [tools.cdk, "deploy", "--all", "-c", f"env={name}", "--output", str(output)]
    command += ["--require-approval", approval, "--progress", "events", "--no-notices"]
    started = time.monotonic()
    if approval != "never" and may_ask:
        # The CLI asks its question itself, so the terminal is its own for the time.
        process = subprocess.Popen(command, cwd=session.root, env=variables(session.root, session.cloud))
        log.write_text("This deployment talked to the terminal; nothing was kept.\n", encoding="utf-8")
        return Deployment(_wait(process), log, {}, time.monotonic() - started)
    reader = Reader(on_line, on_state)
    code = stream([*command, "--no-color"], session, log, reader.take)
    return Deployment(
        code, log, reader.stacks, time.monotonic() - started, tuple(dict.fromkeys(reader.reasons)), reader.went_back
    )


def stream(
    command: Sequence[str], session: Session, log: Path, take: Callable[[str], None], folder: Path | None = None
) -> int:
    """Runs a command line of the CDK CLI without a terminal; returns its exit code, 128 and more where a signal ended it.

    Args:
        command: the program and its arguments.
        session: the environment that it is about.
        log: is written anew, with all that the CLI says.
        take: takes each line, without colours and without its end.
        folder: where it runs; None for the project's.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        cwd=folder or session.root,
        env=variables(session.root, session.cloud),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None  # because of PIPE
    try:
        with process.stdout, log.open("w", encoding="utf-8") as kept:
            for line in _lines(process.stdout):
                kept.write(line + "\n")
                kept.flush()
                take(line)
        return _wait(process)
    except KeyboardInterrupt:
        _end(process)
        raise


def _lines(said: Iterator[str]) -> Iterator[str]:
    for line in said:
        # The CLI colours some lines whatever it is told.
        yield re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip()


def _wait(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> int:
    try:
        code = process.wait()
    except KeyboardInterrupt:
        _end(process)
        raise
    return code if code >= 0 else 128 - code


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    # Ctrl-C reached the CLI, too; it gets a moment to end by itself.
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            process.send_signal(number)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
        return
