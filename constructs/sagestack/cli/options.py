"""What the commands share: their options, and what they know before they begin."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sagestack.cli import project
from sagestack.cli.errors import CliError
from sagestack.cli.output import Output

if TYPE_CHECKING:
    from sagestack.cli.local_cloud import LocalCloud
    from sagestack.cli.session import Session


class State:
    """One run of the program: what it says and where, and the project that it is about."""

    def __init__(self) -> None:
        self.output = Output()
        self.is_debug = False
        self._cloud: LocalCloud | None = None

    @cached_property
    def root(self) -> Path:
        return project.find_root(Path.cwd())

    def connect(self, environment: str) -> Session:
        """The clients of an environment."""
        from sagestack.cli.session import connect

        session = connect(self.root, environment)
        self._cloud = session.cloud
        return session

    def blamed(self, error: CliError) -> CliError:
        """The error itself, or what is behind it: a local cloud that ended while the command worked with it."""
        from sagestack.cli import local_cloud

        if self._cloud is None or error.code not in ("aws", "deploy-failed"):
            return error
        try:
            now = local_cloud.find(self.root)
        except CliError:
            now = None
        log = local_cloud.state_dir(self.root) / "cloud.log"
        if now is not None and now.pid == self._cloud.pid:
            if error.code == "deploy-failed" or "aws_code" in error.details:
                return error
            return CliError(
                f"The local cloud (process {now.pid}) runs but did not answer: {error.message}",
                hint=f"It may be stopping just now. If not: make down, then make up. Its log is {log}.",
                code="aws",
            )
        return CliError(
            f"The local cloud (process {self._cloud.pid}) ended while this command worked with it.",
            hint=f"`make up` starts it again with what it had; then do this again. Its last words are in {log}.",
            code="not-running",
            details=error.details,
        )

    def model(self, wanted: str | None) -> str:
        """The model that was asked for, or the only one."""
        return project.choose_model(self.root, wanted)


def state_of(context: typer.Context) -> State:
    """The state that the program's entry made."""
    return cast(State, context.find_root().obj)


def _choose_json(context: typer.Context, value: bool) -> bool:
    state_of(context).output.is_json = value
    return value


EnvOption = Annotated[
    str, typer.Option("--env", "-e", metavar="ENV", help="The environment: one of environments/ENV.yaml.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help="The model: a folder of model_code/. Default: the only one."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", callback=_choose_json, help="Print one JSON document and nothing else on stdout.")
]


def _port(text: str) -> int:
    # isdecimal alone would take the digits of every script.
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise typer.BadParameter(f"{text!r} is not a port (allowed: a whole number, 1 to 65535).")
    return int(text)


def _clock_factor(text: str) -> float:
    from sagestack.cli.local_cloud import MAX_CLOCK_FACTOR, MIN_CLOCK_FACTOR

    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    # Not a number (nan) is in no range either.
    if not MIN_CLOCK_FACTOR <= factor <= MAX_CLOCK_FACTOR:
        raise typer.BadParameter(
            f"{text!r} is not a clock factor (allowed: a number, {MIN_CLOCK_FACTOR:g} (as slow as AWS) to "
            f"{MAX_CLOCK_FACTOR:g})."
        )
    return factor


ClockFactorOption = Annotated[
    float | None,
    typer.Option(
        "--clock-factor",
        metavar="N",
        parser=_clock_factor,
        help="How many times faster than on AWS bake times, alarm periods and cooldowns pass. Default: the running one's, "
        "else $SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR, else 30.",
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port", "-p", metavar="N", parser=_port, help="The loopback port. Default: the running one's, else 4566."
    ),
]
