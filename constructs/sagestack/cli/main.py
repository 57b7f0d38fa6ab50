"""`sagestack`: the program and its commands."""

from __future__ import annotations

import inspect
import os
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sagestack.cli.commands import (
    bootstrap,
    cloud,
    comment,
    delivery,
    demo,
    deploy,
    drift,
    git_host,
    invoke,
    laptop,
    logs,
    notebook,
    prices,
    review,
    run,
    status,
    versions,
)
from sagestack.cli.errors import INTERRUPTED, CliError, explained
from sagestack.cli.options import State
from sagestack.cli.output import Output
from sagestack.cli.proxies import loopback_directly

_WANTS_JSON = "sagestack.wants_json"


class Commands(TyperGroup):
    """All commands; whatever one of them raises ends as one message and an exit code."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        # Looked for here, because what cannot be parsed may fail before the option itself is reached.
        wants_json = "--json" in args
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except typer.TyperException as raised:
            _fail_in_json(wants_json, raised)
            raise
        context.obj = State()
        context.meta[_WANTS_JSON] = wants_json
        return context

    def invoke(self, ctx: Any) -> Any:
        state: State = ctx.obj
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except typer.TyperException as raised:
            _fail_in_json(ctx.meta[_WANTS_JSON], raised)
            raise
        except KeyboardInterrupt:
            error = CliError("Interrupted.", code="interrupted", exit_code=INTERRUPTED)
        except BrokenPipeError:
            # Whoever read us has had enough, as `head` does.
            raise typer.Exit(1) from None
        except Exception as raised:
            if state.is_debug:
                raise
            error = state.blamed(explained(raised))
        state.output.fail(error)
        raise typer.Exit(error.exit_code)


def _fail_in_json(wants_json: bool, raised: typer.TyperException) -> None:
    if not wants_json:
        return
    output = Output()
    output.is_json = True
    output.fail(CliError(raised.format_message(), hint="sagestack --help, sagestack COMMAND --help", code="usage"))
    raise typer.Exit(raised.exit_code) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    help="From a folder of model code to a served and watched SageMaker endpoint.\n\n"
    "Commands work on the local cloud; with [bold]--env[/bold] the same ones work on an AWS account. "
    "Start with [cyan]sagestack demo[/cyan].",
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"sagestack {version_of('sagestack')}")
        raise typer.Exit


@app.callback()
def program(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="SAGESTACK_DEBUG", help="Show where an error came from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    state: State = context.obj
    state.is_debug = debug


def _reflowed(docstring: str) -> str:
    """The docstring with each paragraph on one line, as the terminal will break it; examples keep their lines."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(p if p.startswith("Examples:") else p.replace("\n", " ") for p in paragraphs)


_LOCAL = "The local cloud"
_MODEL = "A model's way"
_LOOK = "Looking"
_WORK = "Where people work"
_GIT = "What git deploys"
for command, panel in (
    (demo.demo, _LOCAL),
    (cloud.up, _LOCAL),
    (cloud.down, _LOCAL),
    (cloud.env, _LOCAL),
    (laptop.laptop, _MODEL),
    (review.review, _MODEL),
    (deploy.deploy, _MODEL),
    (run.run, _MODEL),
    (run.stop, _MODEL),
    (versions.approve, _MODEL),
    (versions.promote, _MODEL),
    (invoke.invoke, _MODEL),
    (status.status, _LOOK),
    (logs.logs, _LOOK),
    (bootstrap.bootstrap, _GIT),
    (drift.drift, _GIT),
    (comment.comment, _GIT),
    (git_host.git_host, _GIT),
):
    app.command(rich_help_panel=panel, help=_reflowed(command.__doc__ or ""))(command)
app.add_typer(notebook.notebook, name="notebook", rich_help_panel=_WORK, help=_reflowed(notebook.group.__doc__ or ""))
app.add_typer(prices.prices, name="prices", rich_help_panel=_LOOK, help=_reflowed(prices.group.__doc__ or ""))
app.add_typer(delivery.delivery, name="delivery", rich_help_panel=_GIT, help=_reflowed(delivery.group.__doc__ or ""))


def main() -> None:
    """The entry point of the program."""
    # Before anything starts that is to reach the local cloud, or is it.
    os.environ.update(loopback_directly(os.environ))
    app(prog_name="sagestack")
