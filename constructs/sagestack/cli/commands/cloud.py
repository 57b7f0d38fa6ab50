"""`sagestack up`, `down` and `env`: the local cloud itself."""

from __future__ import annotations

import os
import shlex
from typing import Annotated

import typer

from sagestack.cli import local_cloud
from sagestack.cli.options import ClockFactorOption, JsonOption, PortOption, state_of
from sagestack.cli.proxies import loopback_directly


def up(
    context: typer.Context,
    port: PortOption = None,
    clock_factor: ClockFactorOption = None,
    json: JsonOption = False,
) -> None:
    """Start the local cloud and wait until it answers.

    It goes on in the background, keeps its state in [bold].local-cloud/[/bold] and listens on this machine only.
    If it runs already, nothing happens.

    Examples:
    [cyan]sagestack up[/cyan]
    [cyan]sagestack up --port 4567[/cyan]
    [cyan]sagestack up --clock-factor 1[/cyan]
    """
    state = state_of(context)
    out = state.output
    cloud, is_new = local_cloud.start(
        state.root, port, lambda: out.say("Starting the local cloud"), clock_factor=clock_factor
    )
    what = "The local cloud answers" if is_new else f"The local cloud already runs (process {cloud.pid})"
    out.say(f"{what} at {cloud.endpoint_url}; jobs run as {runner_words(cloud)}.")
    if is_new:
        out.say('For any AWS client: eval "$(sagestack env)". To stop it: make down')
    out.result({**_described(cloud), "started": is_new})


def down(
    context: typer.Context,
    forget: Annotated[
        bool, typer.Option("--forget", "--wipe", help="Delete its state, too: models, data, stacks, logs, local pins.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Stop the local cloud; its state is kept.

    Jobs that run are stopped, and what they had written is saved. If nothing runs, nothing happens.

    Examples:
    [cyan]sagestack down[/cyan]
    [cyan]sagestack down --forget[/cyan]
    """
    state = state_of(context)
    out = state.output
    runs = _executing(local_cloud.find(state.root))
    if runs:
        word = "execution" if len(runs) == 1 else "executions"
        out.say(f"{len(runs)} pipeline {word} will be interrupted: {', '.join(run.rsplit('/', 1)[1] for run in runs)}")
    pid = local_cloud.stop(state.root)
    if pid is None:
        out.say("The local cloud is not running.")
    else:
        out.say(f"Stopped the local cloud (process {pid}).")
    was_there = forget and local_cloud.forget(state.root)
    if forget:
        out.say("Deleted its state." if was_there else "There was no state to delete.")
    elif pid is not None:
        out.say("Its state is kept; `make up` brings it back.")
    out.result({"stopped": pid is not None, "pid": pid, "interrupted_executions": runs, "forgotten": was_there})


def env(
    context: typer.Context,
    unset: Annotated[bool, typer.Option("--unset", help="Print what undoes it.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the variables with which any AWS client reaches the local cloud.

    Examples:
    [cyan]eval "$(sagestack env)"[/cyan]
    [cyan]aws s3 ls[/cyan]
    [cyan]cdk diff[/cyan]
    [cyan]eval "$(sagestack env --unset)"[/cyan]
    """
    state = state_of(context)
    if unset:
        variables: dict[str, str] = {}
        removed = list(local_cloud.VARIABLES)
    else:
        variables = local_cloud.require(state.root).variables() | loopback_directly(os.environ)
        removed = list(local_cloud.UNSET)
    state.output.result({"set": variables, "unset": removed})
    if not json:
        # Plain print: this is read by a shell, and must not be wrapped or coloured.
        typer.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()), nl=not unset)
        typer.echo(f"unset {' '.join(removed)}")


def runner_words(cloud: local_cloud.LocalCloud) -> str:
    """How jobs run, in words."""
    return "containers of Docker" if cloud.runner == "docker" else "processes (no container engine answers)"


def _described(cloud: local_cloud.LocalCloud) -> dict[str, object]:
    return {
        "pid": cloud.pid,
        "port": cloud.port,
        "endpoint_url": cloud.endpoint_url,
        "runner": cloud.runner,
        "started_at": cloud.started_at,
        "clock_factor": cloud.clock_factor,
    }


def _executing(cloud: local_cloud.LocalCloud | None) -> list[str]:
    """What runs in it, for the message alone: a cloud that no longer answers must be stoppable, too."""
    if cloud is None:
        return []
    from sagestack.cli.session import local_client

    found: list[str] = []
    try:
        client = local_client(cloud, "sagemaker")
        for pipeline in client.list_pipelines()["PipelineSummaries"]:
            runs = client.list_pipeline_executions(
                PipelineName=pipeline["PipelineName"], SortBy="CreationTime", SortOrder="Descending", MaxResults=10
            )
            found += [
                run["PipelineExecutionArn"]
                for run in runs["PipelineExecutionSummaries"]
                if run["PipelineExecutionStatus"] == "Executing"
            ]
    except Exception:
        # Whatever it is: the local cloud is about to be stopped.
        return found
    return found
