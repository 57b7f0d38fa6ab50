"""What the server reads and writes: rows out of CSV or JSON, scores into CSV or JSON. Knows nothing of HTTP's wire."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from .contract import InputError
from .table import in_range, row_of_numbers, shown

CSV = "text/csv"
JSON = "application/json"
SUPPORTED = (CSV, JSON)


class RequestError(Exception):
    """A request that cannot be answered, with the HTTP status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def request_type(header: str | None) -> str:
    """The media type of a request's body.

    Raises:
        RequestError: 415, the header is missing, or names a type or a character set that the server does not read.
    """
    kind, *parameters = [part.strip().lower() for part in (header or "").split(";")]
    if kind not in SUPPORTED:
        raise RequestError(
            415, f"Content-Type is {shown(header) if header else 'missing'}, must be {' or '.join(SUPPORTED)}"
        )
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(" \"'") not in ("utf-8", "utf8", "us-ascii"):
            raise RequestError(415, f"Content-Type is {shown(header or '')}, the character set must be utf-8")
    return kind


def response_type(header: str | None, preferred: str) -> str:
    """The media type to answer in: the best of what `Accept` allows, and `preferred` where it leaves the choice.

    Raises:
        RequestError: 406, it allows neither CSV nor JSON.
    """
    ranges: dict[str, float] = {}
    for item in (header or "*/*").split(","):
        kind, *parameters = [part.strip().lower() for part in item.split(";")]
        if kind:
            ranges[kind] = _quality(parameters)
    best = max([preferred, *SUPPORTED], key=lambda kind: _allowed(kind, ranges))  # max takes the first of equals
    if _allowed(best, ranges) <= 0:
        raise RequestError(406, f"Accept is {shown(header or '')}, this server answers {' or '.join(SUPPORTED)}")
    return best


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _allowed(kind: str, ranges: dict[str, float]) -> float:
    # The most specific range decides.
    for candidate in (kind, kind.split("/")[0] + "/*", "*/*"):
        if candidate in ranges:
            return ranges[candidate]
    return 0.0


def rows_of(body: bytes, kind: str, columns: Sequence[str]) -> list[list[float]]:
    """The rows to score, one or more.

    Raises:
        RequestError: 400, with the row (from 1) and the column that cannot be scored.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the body is not UTF-8 text (byte {error.start})") from error
    try:
        return _csv_rows(text, columns) if kind == CSV else _json_rows(text, columns)
    except InputError as error:
        raise RequestError(400, str(error)) from error


def body_of(scores: Iterable[float], kind: str) -> bytes:
    """The answer: CSV with a score per line, or `{"predictions": [{"score": ...}, ...]}`.

    Every digit is written, so that a reader gets back exactly the number that the model gave.
    """
    if kind == CSV:
        return "".join(f"{float(score)!r}\n" for score in scores).encode()
    return json.dumps({"predictions": [{"score": float(score)} for score in scores]}).encode()


def _csv_rows(text: str, columns: Sequence[str]) -> list[list[float]]:
    # Blank lines at the end are a matter of taste. Between rows they are an error, because the caller
    # matches answers to rows by position.
    try:
        table = list(csv.reader(io.StringIO(text.rstrip(), newline=""), strict=True))
    except csv.Error as error:
        raise InputError(f"the body is not valid CSV: {error}") from error
    return [row_of_numbers(cells, columns, f"row {row}") for row, cells in enumerate(table, start=1)]


def _json_rows(text: str, columns: Sequence[str]) -> list[list[float]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not valid JSON: {error}") from error
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, list) or not instances or len(content) != 1:
        raise InputError('the body must be {"instances": [...]} with at least one row')
    return [_json_row(instance, columns, f"row {row}") for row, instance in enumerate(instances, start=1)]


def _json_row(instance: Any, columns: Sequence[str], place: str) -> list[float]:
    """A row is a list of numbers, `{"features": [numbers]}`, or a record `{"CRIM": 0.1, ...}`."""
    values = instance.get("features") if isinstance(instance, dict) and set(instance) == {"features"} else instance
    if isinstance(values, dict):
        missing = [column for column in columns if column not in values]
        unknown = [name for name in values if name not in columns]
        if missing or unknown:
            problems = [
                *([f"missing column {', '.join(missing)}"] if missing else []),
                *([f"unknown column {', '.join(shown(name) for name in unknown[:5])}"] if unknown else []),
            ]
            raise InputError(f"{place}: {'; '.join(problems)}")
        values = [values[column] for column in columns]
    if not isinstance(values, list):
        raise InputError(f'{place}: must be a list of numbers, {{"features": [...]}} or a record by column name')
    if len(values) != len(columns):
        raise InputError(f"{place}: {len(values)} values, expected {len(columns)} ({', '.join(columns)})")
    numbers = []
    for column, value in zip(columns, values, strict=True):
        # In Python true is an int and NaN a float; neither is a measurement.
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise InputError(f"{place}, column {column}: {shown(json.dumps(value))} is not a number")
        try:
            numbers.append(in_range(float(value), str(value)))
        except (ValueError, OverflowError):
            raise InputError(
                f"{place}, column {column}: {shown(json.dumps(value))} does not fit a 32-bit float"
            ) from None
    return numbers
