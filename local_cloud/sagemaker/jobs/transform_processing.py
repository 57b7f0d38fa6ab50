"""What a transform job does to records on their way: filters the input, joins the answer to it, filters what is kept."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local_cloud.sagemaker.jobs.json_path import JsonPath, NotThere

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
FORMATS = (CSV, JSON, JSON_LINES)
"""The formats of which records can be filtered and joined (developer guide, "Associate Prediction Results with Input
Records")."""
DEFAULTS = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
SHOWN = 200
"""Characters of a line that a message shows."""


class BadData(Exception):
    """A record or an answer is not what the request says; the message is the data log's."""


@dataclass(frozen=True)
class Processing:
    """The DataProcessing of a request.

    Attributes:
        input_filter: what of a record the model gets.
        joins: whether an answer is put beside its record.
        output_filter: what is kept of it.
        content_type: of the records, without parameters.
        accept: of the answers, likewise.
        by_line: whether records are lines.
    """

    input_filter: JsonPath
    joins: bool
    output_filter: JsonPath
    content_type: str
    accept: str
    by_line: bool

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Processing:
        """From a request.

        Raises:
            BadPath: a filter is no path.
        """
        given = {**DEFAULTS, **request.get("DataProcessing", {})}
        return cls(
            input_filter=JsonPath.parse(given["InputFilter"]),
            joins=given["JoinSource"] == "Input",
            output_filter=JsonPath.parse(given["OutputFilter"]),
            content_type=without_parameters(request["TransformInput"].get("ContentType", "")),
            accept=without_parameters(request["TransformOutput"].get("Accept", "")),
            by_line=request["TransformInput"].get("SplitType", "None") == "Line",
        )

    @property
    def changes_anything(self) -> bool:
        """Whether records or answers have to be read at all."""
        return self.joins or not (self.input_filter.is_whole and self.output_filter.is_whole)

    def filtered(self, records: Sequence[bytes], body: bytes) -> bytes:
        """What the model gets of the records of a request.

        Args:
            records: each of them.
            body: all of them, as they would be sent.

        Raises:
            BadData: one is not in its format, or has not what the filter asks for.
        """
        if self.input_filter.is_whole:
            return body
        values = [_take(self.input_filter, _parsed(record, self.content_type)) for record in records]
        lines = [_written(value, self.content_type) for value in values]
        return b"\n".join(lines) + (b"\n" if len(lines) > 1 else b"")

    def kept(self, records: Sequence[bytes], answer: bytes) -> bytes:
        """What is kept of the answer to these records.

        Raises:
            BadData: the answer is not in its format, has another number of records, or not what the filter asks for.
        """
        if not self.joins and self.output_filter.is_whole:
            return answer
        answers = self._answers(answer)
        if self.joins:
            if len(answers) != len(records):
                raise BadData(
                    f"Fail to join data: mismatched line count between the input ({len(records)}) and the output "
                    f"({len(answers)})"
                )
            pairs = zip(records, answers, strict=True)
            answers = [_joined(_parsed(record, self.content_type), value, self.content_type) for record, value in pairs]
        values = [_take(self.output_filter, value) for value in answers]
        return b"\n".join(_written(value, self.accept) for value in values)

    def _answers(self, answer: bytes) -> list[Any]:
        if self.accept == JSON and not self.by_line:
            return [_parsed(answer, JSON, "output from the algorithm")]
        lines = [line for line in answer.splitlines() if line.strip()]
        return [_parsed(line, self.accept, "output from the algorithm") for line in lines]


def without_parameters(content_type: str) -> str:
    """A media type in lower case, without `; charset=...`."""
    return content_type.partition(";")[0].strip().lower()


def _parsed(record: bytes, content_type: str, what: str = "") -> Any:
    kind = "CSV" if content_type == CSV else "JSON"
    try:
        text = record.decode()
        if kind == "JSON":
            return json.loads(text)
        (row,) = csv.reader([text], strict=True)
        return row
    except (ValueError, csv.Error) as error:
        shown = record[:SHOWN].decode(errors="replace")
        raise BadData(f"Failed to parse {what or 'line'}: '{shown}' as {kind}: {error}") from error


def _written(value: Any, content_type: str) -> bytes:
    if content_type != CSV:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(value if isinstance(value, list) else [value])
    return row.getvalue().encode()


def _joined(record: Any, answer: Any, content_type: str) -> Any:
    if content_type == CSV:
        return [*record, *answer]
    if isinstance(record, dict):
        return {**record, "SageMakerOutput": answer}
    return {"SageMakerInput": record, "SageMakerOutput": answer}


def _take(path: JsonPath, value: Any) -> Any:
    try:
        return path.of(value)
    except NotThere as error:
        raise BadData(f"unable to evaluate payload provided: {error}") from error
