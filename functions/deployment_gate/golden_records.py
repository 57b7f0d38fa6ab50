"""Golden records: requests with the answers that one version of a model gives, as they travel with the version.

The format is described in docs/reference/golden-records.md. Reading is strict: a file that does not say what it means
would let a deployment pass that nobody checked.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .answers import Tolerance, numbers

FORMAT = "sagestack-golden-records-1"
METADATA_KEY = "golden-records"
"""The key in a model package's CustomerMetadataProperties that says where in S3 the file is."""
MOST_RECORDS = 100
"""Each is a request within one call of a function, and twenty show a wrong model as well as a thousand."""
DEFAULT_TOLERANCE = 1e-5
"""Of each number. Processors of other kinds sum the same 32-bit floats in another order, which costs about 1e-6; a model
that was trained again differs from the second digit on."""
LARGEST_TOLERANCE = 0.1
"""Beyond, the answers of two versions would pass for each other."""


class InvalidRecords(Exception):
    """The file is not what it must be; the message says where."""


@dataclass(frozen=True)
class Record:
    """One request and the answer to it.

    Attributes:
        content_type: of the body.
        accept: the media type of the answer, by which the two answers are compared.
        body: as a client sends it.
        answer: as the version gave it.
    """

    content_type: str
    accept: str
    body: bytes
    answer: bytes

    @property
    def request(self) -> tuple[str, str, bytes]:
        """What makes two records the same question."""
        return self.content_type, self.accept, self.body


@dataclass(frozen=True)
class GoldenRecords:
    """The records of one version, and how far an answer may be from the recorded one."""

    records: tuple[Record, ...]
    tolerance: Tolerance


def parse(content: bytes, where: str) -> GoldenRecords:
    """The records of a file.

    Args:
        content: the file.
        where: its address, for messages.

    Raises:
        InvalidRecords: it is not JSON, or not of this format, or has no record.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidRecords(f"{where} is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise InvalidRecords(f'{where}: must be an object with "format": "{FORMAT}", found {found!r}')
    _refuse_unknown(document, {"format", "relative_tolerance", "records"}, where)
    entries = document.get("records")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_RECORDS:
        found = f"{len(entries)}" if isinstance(entries, list) else repr(entries)
        raise InvalidRecords(f'{where}: "records" must be a list of 1 to {MOST_RECORDS} records, found {found}')
    records = tuple(_record(entry, f"{where}: record {number}") for number, entry in enumerate(entries, start=1))
    relative = _tolerance(document.get("relative_tolerance", DEFAULT_TOLERANCE), where)
    return GoldenRecords(records, Tolerance.of(relative, [n for record in records for n in numbers(record.answer)]))


def _record(entry: object, where: str) -> Record:
    if not isinstance(entry, dict):
        raise InvalidRecords(f"{where} must be an object, is {type(entry).__name__}")
    _refuse_unknown(entry, {"content_type", "accept", "body", "body_base64", "answer", "answer_base64"}, where)
    for key in ("content_type", "accept"):
        if not isinstance(entry.get(key), str) or "/" not in entry[key]:
            raise InvalidRecords(f'{where}: "{key}" must be a media type like text/csv, is {entry.get(key)!r}')
    return Record(entry["content_type"], entry["accept"], _bytes(entry, "body", where), _bytes(entry, "answer", where))


def _bytes(entry: Mapping[str, Any], key: str, where: str) -> bytes:
    text, encoded = entry.get(key), entry.get(f"{key}_base64")
    if (text is None) == (encoded is None):
        raise InvalidRecords(f'{where}: needs one of "{key}" (text) and "{key}_base64" (anything else)')
    value = text if encoded is None else encoded
    if not isinstance(value, str) or not value:
        raise InvalidRecords(f'{where}: "{key}" must be text that is not empty, is {value!r}')
    if encoded is None:
        return value.encode()
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise InvalidRecords(f'{where}: "{key}_base64" is not base64: {error}') from error


def _tolerance(value: object, where: str) -> float:
    # Not bool, which is an int in Python.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST_TOLERANCE:
        return float(value)
    raise InvalidRecords(f'{where}: "relative_tolerance" must be a number from 0 to {LARGEST_TOLERANCE}, is {value!r}')


def _refuse_unknown(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(entry) - known):
        raise InvalidRecords(f"{where}: unknown {', '.join(map(repr, unknown))} (known: {', '.join(sorted(known))})")
