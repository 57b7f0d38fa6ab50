"""`sagestack run` and `stop`: executions of a model's pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagestack.cli import pipeline_parameters, pipeline_runs, step_outputs
from sagestack.cli.errors import INTERRUPTED, CliError
from sagestack.cli.options import EnvOption, JsonOption, ModelOption, state_of
from sagestack.cli.output import Output
from sagestack.cli.pipeline_execution import Execution

if TYPE_CHECKING:
    from sagestack.cli.session import Session


def run(
    context: typer.Context,
    environment: EnvOption = "local",
    model: ModelOption = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Train on this file: it replaces the data that is there (the bucket keeps versions)."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A parameter of the pipeline; may be given several times."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Watch it until it ends.")] = True,
    stop_on_interrupt: Annotated[
        bool, typer.Option("--stop-on-interrupt", help="Ctrl-C stops the execution, too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run a model's pipeline and watch its steps.

    Uploads the sample data of model.yaml where there is none yet, or an older sample. Ends with exit code 1 if the
    execution does not succeed. Ctrl-C ends the watching; the execution goes on.

    Examples:
    [cyan]sagestack run[/cyan]
    [cyan]sagestack run --param QualityThreshold=4.5[/cyan]
    [cyan]sagestack run --env dev --data new.csv --no-wait[/cyan]
    """
    state = state_of(context)
    name = state.model(model)
    parameters = pipeline_parameters.parse_parameters(param or [])
    session = state.connect(environment)
    arn = start(session, name, data, parameters, state.output)
    if not wait:
        state.output.say(f"To watch: {session.command('status')}")
        state.output.result({"execution": pipeline_runs.describe(session, arn).as_json()})
        return
    execution = watch(session, name, arn, state.output, stop_on_interrupt)
    result = outcome(session, name, execution, state.output)
    if result["version"] is not None:
        approve = session.command(f"approve {result['version']}", name)
        state.output.say(f"To approve it: {approve}")
    state.output.result(result)


def stop(
    context: typer.Context,
    execution: Annotated[
        str | None, typer.Argument(metavar="EXECUTION", help="Its id or ARN. Default: the newest.")
    ] = None,
    environment: EnvOption = "local",
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Stop an execution of a model's pipeline.

    Its running job is asked to stop and gets two minutes to save what it has.

    Examples:
    [cyan]sagestack stop[/cyan]
    [cyan]sagestack stop abcdefghijkl --env dev[/cyan]
    """
    state = state_of(context)
    name = state.model(model)
    session = state.connect(environment)
    arn = pipeline_runs.choose(session, pipeline_runs.pipeline_name(session, name), execution)
    is_stopping = pipeline_runs.stop(session, arn)
    short = arn.rsplit("/", 1)[1]
    state.output.say(f"Stopping execution {short}." if is_stopping else f"Execution {short} has ended already.")
    state.output.result({"stopping": is_stopping, "execution": pipeline_runs.describe(session, arn).as_json()})


def start(session: Session, model: str, data: Path | None, parameters: Mapping[str, str], out: Output) -> str:
    """Brings the data and starts an execution; returns its ARN."""
    from sagestack.cli import training_data
    from sagestack.settings import load_model

    pipeline = pipeline_runs.pipeline_name(session, model)
    pipeline_parameters.check_parameters(session, pipeline, parameters)
    if "InputDataUri" in parameters and data is None:
        out.say(f"Data: {parameters['InputDataUri']}")
    else:
        upload = training_data.upload(session, load_model(model, session.root), data)
        out.say(f"Data: {upload.explanation}")
        if upload.others:
            out.say(f"The pipeline reads these beside it: {', '.join(upload.others)}")
    arn = pipeline_runs.start(session, pipeline, parameters)
    out.say(f"Started {pipeline}, execution {arn.rsplit('/', 1)[1]}")
    return arn


def watch(session: Session, model: str, arn: str, out: Output, stop_on_interrupt: bool = False) -> Execution:
    """Shows an execution until it has ended.

    Raises:
        CliError: Ctrl-C; says what goes on and how to end it.
    """
    execution: Execution | None = None
    try:
        # Within the try: whoever is impatient presses Ctrl-C before the first picture.
        from sagestack.cli.report import RunView

        with RunView(out) as view:
            for execution in pipeline_runs.watch(session, arn):
                view.update(execution)
    except KeyboardInterrupt:
        raise _interrupted(session, model, arn, stop_on_interrupt) from None
    assert execution is not None  # watch() yields at least once
    return execution


def outcome(session: Session, model: str, execution: Execution, out: Output) -> dict[str, Any]:
    """Says what an execution came to, and returns it for scripts.

    Raises:
        CliError: it did not succeed; says which step and why.
    """
    from sagestack.cli import registry
    from sagestack.cli.report import metrics_line

    metrics = step_outputs.metrics(session, execution)
    if execution.status != "Succeeded":
        raise _failed(session, model, execution, metrics)
    arn = execution.model_package_arn
    version = registry.number_of(arn) if arn else None
    if metrics:
        out.say(f"Metrics: {metrics_line(metrics)}")
    if version is not None:
        out.say(f"Registered version {version}")
    return {
        "execution": execution.as_json(),
        "metrics": metrics,
        "model_package_arn": arn,
        "version": version,
    }


def _failed(session: Session, model: str, execution: Execution, metrics: Mapping[str, float]) -> CliError:
    from sagestack.cli.report import metrics_line

    step = execution.failed_step
    details = {"execution": execution.as_json(), "metrics": dict(metrics)}
    if execution.status == "Stopped":
        return CliError(f"Execution {execution.id} was stopped.", code="run-failed", details=details)
    if step is None:
        reason = execution.failure_reason or "it gives no reason"
        return CliError(f"Execution {execution.id} failed: {reason}.", code="run-failed", details=details)
    reason = step.failure_reason or step.detail or "it gives no reason"
    hint = f"Metrics: {metrics_line(metrics)}" if metrics else None
    if step.job is not None:
        hint = f"Its log: {session.command(f'logs --step {step.name}', model)}"
    return CliError(f"Step {step.name} failed: {reason}", hint=hint, code="run-failed", details=details)


def _interrupted(session: Session, model: str, arn: str, stop_on_interrupt: bool) -> CliError:
    short = arn.rsplit("/", 1)[1]
    if stop_on_interrupt:
        pipeline_runs.stop(session, arn)
        what, hint = f"Interrupted; execution {short} is being stopped.", None
    else:
        what = f"Interrupted; execution {short} goes on in the cloud."
        hint = f"To look: {session.command('status')}. To stop it: {session.command(f'stop {short}', model)}"
    return CliError(what, hint=hint, code="interrupted", details={"execution_arn": arn}, exit_code=INTERRUPTED)
