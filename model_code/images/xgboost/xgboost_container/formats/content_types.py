"""Which format a `ContentType` means: of a training channel, or of a request's body."""

from __future__ import annotations

import difflib
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["csv", "libsvm", "json", "jsonlines", "parquet", "recordio-protobuf"]

# The nine spellings that SageMaker's XGBoost takes for a training channel: "XGBoost algorithm with Amazon
# SageMaker AI", "Input/Output interface", in the Amazon SageMaker AI Developer Guide, and the container's own list.
TRAINING: dict[str, Format] = {
    "csv": "csv",
    "text/csv": "csv",
    "libsvm": "libsvm",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "parquet": "parquet",
    "application/x-parquet": "parquet",
    "recordio-protobuf": "recordio-protobuf",
    "application/x-recordio-protobuf": "recordio-protobuf",
}

SERVING: dict[str, Format] = {**TRAINING, "application/json": "json", "application/jsonlines": "jsonlines"}

# Parquet and RecordIO are bytes; the texts are read as UTF-8, of which ASCII is a part.
_TEXT: frozenset[Format] = frozenset(("csv", "libsvm", "json", "jsonlines"))
_CHARSETS = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_SHOWN = 80


class UnknownMediaType(ValueError):
    """A content type that is not read here. The message says which are."""


def of_media_type(text: str) -> tuple[Format, dict[str, str]]:
    """The format that a request's `Content-Type` means, and its parameters: `text/csv; label_size=1`.

    Case and spaces do not matter, as in HTTP (RFC 9110, section 8.3.1). The names and the values of the parameters
    come back in lower case, without quotes.

    Raises:
        UnknownMediaType: no format has this name, a parameter is not `name=value` or comes twice, or the text is
            in a character set other than UTF-8 and ASCII.
    """
    return _look_up(text, SERVING)


def of_training_channel(text: str | None) -> tuple[Format, dict[str, str]]:
    """The format of a training channel, as `of_media_type`, but for what only training refuses.

    None or "" is libsvm: that is what SageMaker's XGBoost takes a channel without `ContentType` for.

    Raises:
        UnknownMediaType: not one of the nine spellings (JSON cannot be trained on), or CSV whose `label_size` is
            not 1: XGBoost learns one label, the first column.
    """
    if text is None or not text.strip():
        return "libsvm", {}
    kind, parameters = _look_up(text, TRAINING)
    if kind == "csv" and parameters.get("label_size", "1") != "1":
        raise UnknownMediaType(
            f"content type {_shown(text)}: label_size must be 1 or left out, since the label is the first column"
        )
    return kind, parameters


def _look_up(text: str, formats: dict[str, Format]) -> tuple[Format, dict[str, str]]:
    name, *rest = text.split(";")
    name = name.strip().lower()
    if name not in formats:
        nearest = difflib.get_close_matches(name[:_SHOWN], formats, n=1, cutoff=0.75)
        hint = f", did you mean {nearest[0]}?" if nearest else ""
        raise UnknownMediaType(f"content type {_shown(text)} is not one of {', '.join(formats)}{hint}")
    parameters: dict[str, str] = {}
    for part in rest:
        if not part.strip():
            continue  # `text/csv;` is common, and harmless
        key, equals, value = (piece.strip().lower() for piece in part.partition("="))
        value = value.strip('"')
        if not (key and equals and value):
            raise UnknownMediaType(f"content type {_shown(text)}: the parameter {part.strip()!r:.40} is not name=value")
        if parameters.setdefault(key, value) != value:
            raise UnknownMediaType(f"content type {_shown(text)}: the parameter {key:.40} is given twice")
    charset = parameters.get("charset")
    if formats[name] in _TEXT and charset is not None and charset not in _CHARSETS:
        raise UnknownMediaType(f"content type {_shown(text)}: the character set must be utf-8")
    return formats[name], parameters


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
