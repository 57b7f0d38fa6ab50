"""`sagestack laptop`: a model's jobs without any cloud."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from sagestack.cli.errors import CliError
from sagestack.cli.options import JsonOption, ModelOption, state_of


def laptop(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="Stands for /opt/ml; made if it is not there. Default: .laptop/MODEL in the project."
        ),
    ] = None,
    model: ModelOption = None,
    data: Annotated[Path | None, typer.Option(help="Train on this file. Default: the sample of model.yaml.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the model afterwards, until Ctrl-C.")] = False,
    json: JsonOption = False,
) -> None:
    """Preprocess, train and evaluate a model on this machine, with no cloud.

    It runs the very program that the containers run, so a debugger and a profiler reach all of it, and leaves every
    file that the jobs read and wrote in FOLDER.

    Examples:
    [cyan]sagestack laptop[/cyan]
    [cyan]sagestack laptop /tmp/housing --data new.csv[/cyan]
    [cyan]sagestack laptop --serve[/cyan]
    """
    from sagestack.cli.laptop import Laptop
    from sagestack.settings import load_model

    state = state_of(context)
    name = state.model(model)
    chosen = load_model(name, state.root)
    rows = data or chosen.data_file
    if not rows.is_file():
        raise CliError(f"There is no file {rows}.", code="not-found")
    base = (folder or state.root / ".laptop" / name).resolve()
    machine = Laptop(chosen, base)
    report = machine.run(rows, quiet=state.output.is_json)
    state.output.say(
        f"The model is in {base / 'model'}, and what it scored in {base / 'processing/output/evaluation'}."
    )
    state.output.result({"folder": str(base), "evaluation": report})
    if serve:
        # Under --json stdout has its one document already.
        output = sys.stderr if state.output.is_json else None
        served = subprocess.run(machine.command("serve"), env=machine.environment(), stdout=output, check=False)
        if served.returncode:
            raise CliError(
                f"The server of the model {name} ended with exit code {served.returncode}.",
                hint=f"What it printed is above; the model that it serves is in {base / 'model'}.",
                code="run-failed",
            )
    else:
        state.output.say("To serve it as well: sagestack laptop --serve")
