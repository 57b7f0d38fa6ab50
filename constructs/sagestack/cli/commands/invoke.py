"""`sagestack invoke`: a request to the model's endpoint."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagestack.cli import endpoint
from sagestack.cli.errors import CliError
from sagestack.cli.options import EnvOption, JsonOption, ModelOption, state_of
from sagestack.cli.output import Output

if TYPE_CHECKING:
    from sagestack.cli.session import Session

SHOWN_ROWS = 5
_CONTENT_TYPES = {".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonlines"}


def invoke(
    context: typer.Context,
    data: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="The body of the request; - reads it from stdin.")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option(help="Default: by the file's suffix, else the first that model.yaml names.")
    ] = None,
    accept: Annotated[str | None, typer.Option(help="The type of the answer. Default: what the model chooses.")] = None,
    environment: EnvOption = "local",
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Ask a model's endpoint for predictions.

    Without --data it asks for five rows that the last training has not seen, and shows the known values beside the
    predictions. Ends with exit code 1 if the model refuses the request, and says why.

    Examples:
    [cyan]sagestack invoke[/cyan]
    [cyan]sagestack invoke --data rows.csv --accept application/json[/cyan]
    [cyan]echo 0.03,0,2.18,0,0.458,6.99,45.8,6.06,3,222,18.7,2.94 | sagestack invoke --data -[/cyan]
    """
    state = state_of(context)
    name = state.model(model)
    if data is None and (content_type or accept):
        raise CliError("--content-type and --accept belong to --data.", code="usage")
    session = state.connect(environment)
    target = endpoint.name(session, name)
    if data is None:
        _ask_held_out(session, name, target, state.output)
    else:
        body = _read(data)
        chosen = content_type or _content_type(session, name, data)
        answer = endpoint.invoke(session, target, body, chosen, accept)
        if json:
            state.output.result(
                {
                    "endpoint": target,
                    "variant": answer.variant,
                    "content_type": answer.content_type,
                    "body": _parsed(answer),
                }
            )
        else:
            sys.stdout.write(answer.text if answer.text.endswith("\n") else answer.text + "\n")


def _ask_held_out(session: Session, model: str, target: str, out: Output) -> None:
    from sagestack.cli import held_out, pipeline_runs
    from sagestack.cli.report import plain_table

    rows = held_out.latest(session, pipeline_runs.pipeline_name(session, model)).head(SHOWN_ROWS)
    predictions = held_out.predict(session, target, rows)
    table = plain_table("Row", "Known", "Predicted")
    for features, label, prediction in zip(rows.features, rows.labels, predictions, strict=True):
        table.add_row(features, f"{label:g}", f"{prediction:.4g}")
    out.show(table)
    out.result(
        {
            "endpoint": target,
            "rows": [
                {"features": features, "known": label, "predicted": prediction}
                for features, label, prediction in zip(rows.features, rows.labels, predictions, strict=True)
            ],
        }
    )


def _read(data: str) -> bytes:
    if data == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(data).read_bytes()
    except OSError as error:
        raise CliError(f"{data} cannot be read: {error.strerror}.", code="usage") from error


def _content_type(session: Session, model: str, data: str) -> str:
    from sagestack.settings import load_model

    by_suffix = _CONTENT_TYPES.get(Path(data).suffix.lower())
    return by_suffix or load_model(model, session.root).serving.content_types[0]


def _parsed(answer: endpoint.Answer) -> object:
    if answer.content_type.partition(";")[0].strip() == "application/json":
        try:
            return json_format.loads(answer.text)
        except ValueError:
            return answer.text
    return answer.text
