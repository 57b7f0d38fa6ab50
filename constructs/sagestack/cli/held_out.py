"""The rows that a pipeline kept away from training: what an endpoint is honestly asked with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagestack.cli import endpoint, pipeline_runs, step_outputs
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session

OUTPUT = "test"
"""The output of a Processing step that holds the test split: CSV without a header, the label first."""
ROWS_PER_REQUEST = 500
"""A real-time endpoint takes 6 MB and 60 s per request; this many rows stay far below both."""


@dataclass(frozen=True)
class Rows:
    """The test split: what is known, and what the model is asked with."""

    labels: tuple[float, ...]
    features: tuple[str, ...]
    """One CSV line per row, without the label."""
    uri: str

    def head(self, count: int) -> Rows:
        return Rows(self.labels[:count], self.features[:count], self.uri)


def load(session: Session, execution_arn: str) -> Rows:
    """The test split of an execution.

    Raises:
        CliError: no step of it wrote one, or it is not rows of numbers.
    """
    for step in pipeline_runs.describe(session, execution_arn).steps:
        if step.job is not None and step.job.kind == "processing":
            uri = step_outputs.processing_outputs(session, step.job.name).get(OUTPUT)
            if uri:
                return _read(session, uri)
    raise CliError(
        f"No step of {execution_arn} has an output {OUTPUT!r}, so there are no held-out rows to ask with.",
        hint="Give rows with --data FILE.",
        code="not-found",
    )


def latest(session: Session, pipeline: str) -> Rows:
    """The test split of the newest execution that succeeded.

    Raises:
        CliError: none has.
    """
    for execution in pipeline_runs.latest(session, pipeline, 20):
        if execution.status == "Succeeded":
            return load(session, execution.arn)
    raise CliError(
        f"No execution of pipeline {pipeline} has succeeded, so there are no held-out rows to ask with.",
        hint="Give rows with --data FILE, or run the pipeline with `sagestack run`.",
        code="not-found",
    )


def predict(session: Session, name: str, rows: Rows) -> list[float]:
    """What the endpoint predicts for each row.

    Raises:
        CliError: the model refused a request, or did not answer one number per row.
    """
    predictions: list[float] = []
    for start in range(0, len(rows.features), ROWS_PER_REQUEST):
        lines = rows.features[start : start + ROWS_PER_REQUEST]
        answer = endpoint.invoke(session, name, ("\n".join(lines) + "\n").encode(), "text/csv", "text/csv")
        try:
            numbers = [float(text) for text in answer.text.replace(",", "\n").split()]
        except ValueError as error:
            raise CliError(f"Endpoint {name} answered something else than numbers: {error}.") from error
        if len(numbers) != len(lines):
            raise CliError(f"Endpoint {name} answered {len(numbers)} predictions for {len(lines)} rows.")
        predictions += numbers
    return predictions


def rmse(labels: Sequence[float], predictions: Sequence[float]) -> float:
    """The root of the mean squared error, in the label's unit."""
    squares = [(label - prediction) ** 2 for label, prediction in zip(labels, predictions, strict=True)]
    return math.sqrt(math.fsum(squares) / len(squares))


def _read(session: Session, uri: str) -> Rows:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    # The slash keeps a prefix `.../test` from meaning `.../test-2`, too.
    pages = session.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix.rstrip("/") + "/")
    keys = sorted(item["Key"] for page in pages for item in page.get("Contents", []) if item["Key"].endswith(".csv"))
    labels: list[float] = []
    features: list[str] = []
    for key in keys:
        text = session.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode("utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            label, _, rest = line.partition(",")
            try:
                labels.append(float(label))
            except ValueError as error:
                raise CliError(f"s3://{bucket}/{key}, line {number}: the label {label!r} is not a number.") from error
            features.append(rest)
    if not labels:
        raise CliError(f"{uri} holds no rows.", code="not-found")
    return Rows(tuple(labels), tuple(features), uri)
