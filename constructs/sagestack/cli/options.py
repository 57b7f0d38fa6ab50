"""What the commands share: their options, and what they know before they begin."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sagestack.cli import project
from sagestack.cli.output import Output

if TYPE_CHECKING:
    from sagestack.cli.session import Session


class State:
    """One run of the program: what it says and where, and the project that it is about."""

    def __init__(self) -> None:
        self.output = Output()
        self.is_debug = False

    @cached_property
    def root(self) -> Path:
        return project.find_root(Path.cwd())

    def connect(self, environment: str) -> Session:
        """The clients of an environment."""
        from sagestack.cli.session import connect

        return connect(self.root, environment)

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
PortOption = Annotated[
    int | None,
    typer.Option("--port", "-p", metavar="N", help="The loopback port. Default: the running one's, else 4566."),
]
