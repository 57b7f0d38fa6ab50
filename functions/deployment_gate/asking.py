"""Sends golden records to an endpoint, through what passes: a cold start, a throttled moment, a lost connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore import exceptions

from .answers import is_same, shown
from .golden_records import GoldenRecords, Record
from .problems import Problem

INFERENCE_ID = "sagestack-golden-record"
"""Every request of ours carries it, and so does what data capture keeps of it: monitoring can leave them out."""
PAUSE_S = 1.0
MODEL_ATTEMPTS = 3
"""A container may answer its first request with an error, and a wrong one does so again."""
_PASSING = (
    "ThrottlingException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalFailure",
    "InternalServerException",
    "InternalDependencyException",
    "ModelNotReadyException",
)


class Wrong(Problem):
    """An answer is not the recorded one, or there is none; the message says which, expected and got."""


@dataclass(frozen=True)
class Target:
    """Whom a record is for.

    Attributes:
        endpoint: its name.
        what: how messages name it.
        addressed: the members of InvokeEndpoint that pick a part of the endpoint, such as TargetVariant.
    """

    endpoint: str
    what: str
    addressed: Mapping[str, str]


def ask_all(
    runtime: Any,
    target: Target,
    golden: GoldenRecords,
    *,
    until: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send all records, and compare the answers with the recorded ones.

    Args:
        runtime: a client of sagemaker-runtime.
        target: whom to ask.
        golden: the records.
        until: the time of `clock` at which a service that is not ready is no longer waited for.
        clock: seconds.
        sleep: waits seconds.

    Raises:
        Wrong: at the first answer that differs or that does not come.
    """
    for number, record in enumerate(golden.records, start=1):
        got = _answer(runtime, target, number, record, until, clock, sleep)
        refuse_difference(target.what, number, golden, got)


def refuse_difference(what: str, number: int, golden: GoldenRecords, got: bytes) -> None:
    """Raises `Wrong` where the answer to a record, by its number from 1, is not the recorded one."""
    record = golden.records[number - 1]
    if not is_same(record.answer, got, record.accept, golden.tolerance):
        raise Wrong(
            f"Golden record {number} of {len(golden.records)}: {what} answers {shown(got)}, and {shown(record.answer)} was"
            f" recorded when the version was evaluated (relative tolerance {golden.tolerance.relative:g})."
            f" The request was {shown(record.body)}"
        )


def ask(runtime: Any, target: Target, record: Record) -> bytes:
    """The answer to one record."""
    answer = runtime.invoke_endpoint(
        EndpointName=target.endpoint,
        Body=record.body,
        ContentType=record.content_type,
        Accept=record.accept,
        InferenceId=INFERENCE_ID,
        **target.addressed,
    )
    return bytes(answer["Body"].read())


def _answer(
    runtime: Any,
    target: Target,
    number: int,
    record: Record,
    until: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> bytes:
    failures = 0
    while True:
        try:
            return ask(runtime, target, record)
        except exceptions.ClientError as error:
            code, message = error.response["Error"].get("Code", ""), str(error)
            if code == "ModelError":
                failures += 1
                message = f"status {error.response.get('OriginalStatusCode')}: {error.response['Error'].get('Message')}"
            if failures >= MODEL_ATTEMPTS or code not in (*_PASSING, "ModelError"):
                raise Wrong(
                    f"Golden record {number}: {target.what} does not answer: {message} The request was {shown(record.body)}"
                ) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            message = str(error)
        if clock() >= until:
            raise Wrong(f"Golden record {number}: {target.what} did not answer in time: {message}")
        sleep(PAUSE_S)
