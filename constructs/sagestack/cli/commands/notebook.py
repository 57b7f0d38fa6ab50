"""`sagestack notebook`: an environment's notebook instances, as the people who work in them need them."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from sagestack.cli.options import EnvOption, JsonOption, state_of

LOOK_AT_IT = 3
"""The exit code of a look that found something: neither done nor failed."""

notebook = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="A notebook of environments/ENV.yaml. Default: the only one.")
]


@notebook.callback()
def group() -> None:
    """List, open, start and stop the notebook instances of an environment.

    They are declared in environments/ENV.yaml below [bold]workbench[/bold], and made by [cyan]sagestack deploy[/cyan].

    Examples:
    [cyan]sagestack notebook list --env dev[/cyan]
    [cyan]sagestack notebook open explore --env dev[/cyan]
    [cyan]sagestack notebook logs explore --env dev[/cyan]
    [cyan]sagestack notebook idle --env dev[/cyan]
    """


@notebook.command("list")
def list_(context: typer.Context, environment: EnvOption = "local", json: JsonOption = False) -> None:
    """Show all notebooks of an environment, and whether they run.

    Examples:
    [cyan]sagestack notebook list --env dev[/cyan]
    """
    from rich import box
    from rich.table import Table

    from sagestack.cli import notebook_instances

    state = state_of(context)
    session = state.connect(environment)
    found = [notebook_instances.look(session, name) for name in notebook_instances.names(session)]
    if not found:
        state.output.say(
            f"Environment {environment} has no notebooks: docs/how-to/work-in-a-notebook.md shows how to declare one."
        )
    else:
        table = Table(
            "Notebook", "Status", "Runs on", "Owner", "Since", box=box.SIMPLE_HEAD, pad_edge=False, expand=False
        )
        for each in found:
            since = f"{each.changed.astimezone():%Y-%m-%d %H:%M}" if each.changed else ""
            table.add_row(each.name, each.status, each.instance_type, each.owner or "", since)
        state.output.show(table)
        for each in found:
            if each.failure_reason:
                state.output.warn(f"{each.name}: {each.failure_reason}")
    state.output.result({"environment": environment, "notebooks": [each.as_json() for each in found]})


@notebook.command("open")
def open_(
    context: typer.Context,
    name: NameArgument = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open it in the browser, too.")] = False,
    may_start: Annotated[bool, typer.Option("--start/--no-start", help="Start it where it is stopped.")] = True,
    hours: Annotated[
        int, typer.Option(metavar="N", min=1, max=12, help="How long the session lasts, at most 12 hours.")
    ] = 8,
    environment: EnvOption = "local",
    json: JsonOption = False,
) -> None:
    """Print an address that opens JupyterLab on a notebook instance.

    It opens once, within five minutes; the session that it begins lasts for --hours.

    Examples:
    [cyan]sagestack notebook open explore --env dev[/cyan]
    [cyan]sagestack notebook open --browser[/cyan]
    """
    import webbrowser

    from sagestack.cli import notebook_instances
    from sagestack.cli.errors import CliError

    state = state_of(context)
    out = state.output
    session = state.connect(environment)
    chosen = notebook_instances.choose(session, name)
    began = time.monotonic()
    before = notebook_instances.deployed(session, chosen)
    if before.status != "InService" and not may_start:
        raise CliError(
            f"{before.instance_name} is {before.status}.",
            hint=f"Start it: sagestack notebook start {chosen} --env {environment}",
            code="refused",
        )
    instance = notebook_instances.start(session, chosen, out.say)
    if before.status != "InService":
        out.say(f"{instance.instance_name} is in service ({_took(began)})")
    url = notebook_instances.presigned_url(session, instance, hours)
    # Never wrapped: it is there to be copied.
    out.console.print(url, soft_wrap=True, markup=False)
    out.say(
        "The address opens JupyterLab once, within five minutes. Make another one with the same command.", style="dim"
    )
    if browser and not webbrowser.open(url):
        out.warn("No browser could be opened here: use the address.")
    out.result({**instance.as_json(), "url": url})


@notebook.command()
def start(
    context: typer.Context, name: NameArgument = None, environment: EnvOption = "local", json: JsonOption = False
) -> None:
    """Start a notebook instance, and wait until it is in service.

    Examples:
    [cyan]sagestack notebook start explore --env dev[/cyan]
    """
    from sagestack.cli import notebook_instances

    state = state_of(context)
    session = state.connect(environment)
    began = time.monotonic()
    instance = notebook_instances.start(session, notebook_instances.choose(session, name), state.output.say)
    state.output.say(f"{instance.instance_name} is in service ({_took(began)})")
    state.output.result(instance.as_json())


@notebook.command()
def stop(
    context: typer.Context, name: NameArgument = None, environment: EnvOption = "local", json: JsonOption = False
) -> None:
    """Stop a notebook instance, and wait until it has stopped. What is on its volume stays.

    Examples:
    [cyan]sagestack notebook stop explore --env dev[/cyan]
    """
    from sagestack.cli import notebook_instances

    state = state_of(context)
    session = state.connect(environment)
    instance = notebook_instances.stop(session, notebook_instances.choose(session, name), state.output.say)
    state.output.say(f"{instance.instance_name} is {instance.status}")
    state.output.result(instance.as_json())


@notebook.command()
def idle(
    context: typer.Context,
    hours: Annotated[
        float | None,
        typer.Option(
            metavar="N", min=0, max=8760, help="From when on something unused is named. Default: idle_report's, else 4."
        ),
    ] = None,
    environment: EnvOption = "local",
    json: JsonOption = False,
) -> None:
    """Show what runs for nobody, what it costs, and what nothing would ever stop.

    It is what the idle report mails, now. Ends with 3 where there is something to look at.

    Examples:
    [cyan]sagestack notebook idle --env dev[/cyan]
    [cyan]sagestack notebook idle --hours 1[/cyan]
    """
    from sagestack.cli import idle_notebooks

    state = state_of(context)
    found = idle_notebooks.look(state.connect(environment), hours)
    state.output.say(found.text.rstrip("\n"))
    state.output.result({"environment": environment, "running": found.running, "not_seen": found.not_seen})
    if found.is_something:
        raise typer.Exit(LOOK_AT_IT)


@notebook.command()
def logs(
    context: typer.Context,
    name: NameArgument = None,
    tail: Annotated[int, typer.Option(metavar="N", min=0, help="The last N lines; 0 for all.")] = 200,
    environment: EnvOption = "local",
    json: JsonOption = False,
) -> None:
    """Show what a notebook instance's lifecycle config and Jupyter wrote.

    Examples:
    [cyan]sagestack notebook logs explore --env dev[/cyan]
    """
    from sagestack.cli import job_logs, notebook_instances

    state = state_of(context)
    out = state.output
    session = state.connect(environment)
    instance_name = session.names.notebook_instance(notebook_instances.choose(session, name))
    source = job_logs.Source(instance_name, notebook_instances.LOG_GROUP, f"{instance_name}/")
    lines = job_logs.read(session, source, tail or None)
    # An instance lives for months, and the log of each of its starts with it.
    days = {line.time.astimezone().date() for line in lines}
    form = "%H:%M:%S" if len(days) < 2 else "%Y-%m-%d %H:%M:%S"
    for line in lines:
        out.say(f"{line.time.astimezone().strftime(form)}  {line.stream.removeprefix(source.prefix)}  {line.message}")
    if not lines:
        out.say(f"(no lines in {source.group} yet)", style="dim")
    out.result(
        {
            "log_group": source.group,
            "lines": [{"time": line.time, "stream": line.stream, "message": line.message} for line in lines],
        }
    )


def _took(began: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
