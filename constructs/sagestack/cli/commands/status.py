"""`sagestack status`: what is there, in one look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagestack.cli import endpoint, local_cloud, pipeline_runs, registry
from sagestack.cli.commands.cloud import runner_words
from sagestack.cli.options import EnvOption, JsonOption, state_of
from sagestack.cli.output import Output

if TYPE_CHECKING:
    from sagestack.cli.session import Session

SHOWN_VERSIONS = 5


def status(
    context: typer.Context,
    environment: EnvOption = "local",
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="NAME", help="Only this one: a folder of model_code/. Default: all."),
    ] = None,
    executions: Annotated[int, typer.Option(metavar="N", min=1, max=20, help="How many executions.")] = 3,
    json: JsonOption = False,
) -> None:
    """Show an environment: its stacks, executions, versions and endpoints.

    Examples:
    [cyan]sagestack status[/cyan]
    [cyan]sagestack status --env prod --json[/cyan]
    """
    from sagestack.settings import model_folders

    state = state_of(context)
    out = state.output
    names = [state.model(model)] if model else model_folders(state.root)
    session = state.connect(environment)
    document: dict[str, Any] = {
        "environment": environment,
        "account": session.environment.account,
        "region": session.environment.region,
        "cloud": _show_cloud(session, out),
        "stacks": _show_stacks(session, names, out),
        "models": {name: _show_model(session, name, executions, out) for name in names},
    }
    out.result(document)


def _show_cloud(session: Session, out: Output) -> dict[str, Any]:
    cloud = session.cloud
    if cloud is None:
        out.say(f"AWS account {session.environment.account}, {session.environment.region}")
        return {"kind": "aws"}
    from sagestack.cli.report import duration

    running = duration(local_cloud.age(cloud))
    out.say(f"Local cloud at {cloud.endpoint_url}, up for {running}; jobs run as {runner_words(cloud)}")
    return {"kind": "local", "endpoint_url": cloud.endpoint_url, "runner": cloud.runner, "pid": cloud.pid}


def _show_stacks(session: Session, models: list[str], out: Output) -> list[dict[str, Any]]:
    from botocore.exceptions import ClientError

    from sagestack.cli.report import moment, plain_table, status_text

    names = [session.names.foundation_stack]
    for model in models:
        of_model = session.names.model(model)
        names += [of_model.training_stack, of_model.serving_stack]
    if session.environment.workbench is not None:
        names.append(session.names.workbench_stack)
    table = plain_table("Stack", "Status", "Changed")
    found: list[dict[str, Any]] = []
    for name in names:
        try:
            stack = session.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            # CloudFormation's answer to the name of a stack that is not there.
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            table.add_row(name, "not deployed", "", style="dim")
            found.append({"name": name, "status": None, "changed": None})
            continue
        changed = stack.get("LastUpdatedTime", stack["CreationTime"])
        table.add_row(name, status_text(stack["StackStatus"]), moment(changed))
        found.append({"name": name, "status": stack["StackStatus"], "changed": changed})
    out.say("")
    out.show(table)
    return found


def _show_model(session: Session, model: str, executions: int, out: Output) -> dict[str, Any]:
    from rich.text import Text

    from sagestack.cli.report import duration, moment, status_text, steps_table, versions_table

    names = session.names.model(model)
    pinned = session.environment.models[model].served_version
    out.say("")
    out.say(f"Model {model}", style="bold")
    document: dict[str, Any] = {"pinned_version": pinned, "executions": [], "versions": [], "endpoint": None}
    pipeline = session.find_parameter(names.pipeline_name_parameter)
    if pipeline is None:
        out.say(f"Not deployed. To deploy: sagestack deploy --env {session.environment.name}")
        return document

    for position, summary in enumerate(pipeline_runs.latest(session, pipeline, executions)):
        execution = pipeline_runs.describe(session, summary.arn)
        took = (execution.ended - execution.started).total_seconds() if execution.ended and execution.started else None
        heading = Text.assemble(f"Execution {execution.id}  ", status_text(execution.status))
        heading.append(f"  {moment(execution.started)}  {duration(took)}")
        out.show(heading)
        # The steps of the newest are news; those of older ones are a `--json` away.
        if position == 0:
            out.show(steps_table(execution))
        document["executions"].append(execution.as_json())
    if not document["executions"]:
        out.say(f"No execution yet. To train: {session.command('run', model)}")

    group = registry.group_name(session, model)
    versions = [(v, registry.metrics(session, v)) for v in registry.versions(session, group)[:SHOWN_VERSIONS]]
    document["versions"] = [version.as_json(metrics) for version, metrics in versions]
    if versions:
        out.say("")
        out.show(versions_table(versions, pinned))

    out.say("")
    name = endpoint.find_name(session, model)
    if name is None:
        out.say("No endpoint" + (f"; version {pinned} is pinned but not deployed" if pinned else ""))
        return document
    now = endpoint.describe(session, name)
    document["endpoint"] = now.as_json()
    served = ", ".join(map(str, now.versions or ())) or "unknown"
    line = Text.assemble(f"Endpoint {now.name}  ", status_text(now.status), f"  serves version {served}")
    out.show(line)
    if now.failure_reason:
        out.say(now.failure_reason, style="red")
    if now.denied:
        out.say(
            f"Which version it serves is not for your role to see ({now.denied})"
            + (f"; {pinned} is pinned" if pinned else ""),
            style="dim",
        )
    if pinned is not None and now.versions is not None and pinned not in now.versions:
        out.say(f"Version {pinned} is pinned but not served: sagestack deploy --env {session.environment.name}")
    return document
