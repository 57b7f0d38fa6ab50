"""`sagestack logs`: what containers wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sagestack.cli.errors import CliError
from sagestack.cli.options import EnvOption, JsonOption, ModelOption, state_of

if TYPE_CHECKING:
    from sagestack.cli.job_logs import Source
    from sagestack.cli.session import Session


def logs(
    context: typer.Context,
    step: Annotated[str | None, typer.Option(metavar="NAME", help="One step of the execution.")] = None,
    job: Annotated[str | None, typer.Option(metavar="NAME", help="A training, processing or transform job.")] = None,
    of_endpoint: Annotated[bool, typer.Option("--endpoint", help="The model's endpoint.")] = False,
    execution: Annotated[
        str | None, typer.Option(metavar="ID", help="An execution's id or ARN. Default: the newest.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the jobs have ended (an endpoint: until Ctrl-C).")
    ] = False,
    tail: Annotated[int, typer.Option(metavar="N", min=0, help="The last N lines of each; 0 for all.")] = 200,
    environment: EnvOption = "local",
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Show the logs of a pipeline's jobs, or of the endpoint.

    Without options: all jobs of the newest execution, a failed one first.

    Examples:
    [cyan]sagestack logs[/cyan]
    [cyan]sagestack logs --step Train --follow[/cyan]
    [cyan]sagestack logs --endpoint --env prod[/cyan]
    """
    from sagestack.cli import job_logs

    chosen = [option for option, value in (("--step", step), ("--job", job), ("--endpoint", of_endpoint)) if value]
    if len(chosen) > 1:
        raise CliError(f"{' and '.join(chosen)} exclude each other.", code="usage")
    if follow and json:
        raise CliError("--follow and --json exclude each other.", code="usage")
    state = state_of(context)
    out = state.output
    name = state.model(model)
    session = state.connect(environment)
    sources = _sources(session, name, step, job, of_endpoint, execution)
    found = []
    for source in sources:
        out.say(f"--- {source.title} ({source.group}{', ' + source.prefix if source.prefix else ''})", style="bold")
        lines = job_logs.follow(session, source) if follow else job_logs.read(session, source, tail or None)
        texts = []
        for line in lines:
            out.say(f"{line.time.astimezone():%H:%M:%S}  {line.message}")
            texts.append({"time": line.time, "stream": line.stream, "message": line.message})
        if not texts:
            out.say("(no lines)", style="dim")
        found.append({"title": source.title, "log_group": source.group, "lines": texts})
    out.result({"logs": found})


def _sources(
    session: Session, model: str, step: str | None, job: str | None, of_endpoint: bool, execution: str | None
) -> list[Source]:
    from sagestack.cli import endpoint, job_logs, pipeline_runs

    if of_endpoint:
        return [job_logs.of_endpoint(endpoint.name(session, model))]
    if job is not None:
        found = job_logs.find_job(session, job)
        if found is None:
            raise CliError(f"There is no training, processing or transform job {job!r}.", code="not-found")
        return [job_logs.of_job(found)]
    arn = pipeline_runs.choose(session, pipeline_runs.pipeline_name(session, model), execution)
    shown = pipeline_runs.describe(session, arn)
    sources = job_logs.of_execution(shown, step)
    if not sources:
        with_jobs = [s.name for s in shown.steps if s.job is not None]
        if step is None:
            raise CliError(f"Execution {shown.id} has started no job yet.", code="not-found")
        raise CliError(
            f"Execution {shown.id} has no step {step!r} with a log (it has: {', '.join(with_jobs) or 'none yet'}).",
            code="not-found",
        )
    return sources
