"""What `model-info.json` says, checked key by key before anything relies on it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import UserError
from .schema import Schema

INFO_FILE = "model-info.json"
FORMAT = 2
LARGEST_INFO = 64 * 1024**2
"""Bytes: 10,000 columns take a hundredth of it."""


@dataclass(frozen=True)
class ModelFile:
    """One booster's file, the SHA-256 of its bytes, and how many boosting rounds it has."""

    file: str
    sha256: str
    rounds: int


@dataclass(frozen=True)
class Sample:
    """A row of the training data and the score that training got for it: the proof that a server scores alike."""

    features: tuple[float | None, ...]
    prediction: float | tuple[float, ...]

    def row(self) -> NDArray[np.float32]:
        """Shape (1, features); None is NaN."""
        return np.array([[math.nan if value is None else value for value in self.features]], np.float32)


@dataclass(frozen=True)
class Info:
    """What `model-info.json` says, checked.

    Attributes:
        content: the whole of it; `metrics`, `data`, `hyperparameters`, `libraries` are there as written.
    """

    objective: str
    num_class: int
    schema: Schema
    models: tuple[ModelFile, ...]
    sample: Sample
    content: Mapping[str, Any]


def read_info(folder: Path) -> Info | None:
    """What training wrote beside the model, or None where a model was trained elsewhere and has no such file.

    Raises:
        UserError: it cannot be read, or a key is missing or wrong; names the key.
    """
    path = folder / INFO_FILE
    try:
        if path.stat().st_size > LARGEST_INFO:
            raise UserError(f"{path}: has {path.stat().st_size} bytes, at most {LARGEST_INFO} are read")
        return parse_info(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None


def parse_info(content: bytes, where: str) -> Info:
    """The content of `model-info.json`, checked key by key.

    Raises:
        UserError: a key is missing or wrong; begins with `where` and names the key.
    """
    try:
        info = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON: {error}") from None
    if not isinstance(info, dict):
        raise UserError(f"{where}: must hold a JSON object, holds {type(info).__name__}")
    key = _Keys(info, where)
    if info.get("format") != FORMAT:
        raise key.wrong("format", f"must be {FORMAT}, the format that this image reads and writes")
    width = key.whole("num_features", 1)
    schema = Schema(width, key.texts("feature_names", width), key.texts("feature_types", width))
    sample = key.of("sample", dict)
    models = []
    for index, entry in enumerate(key.of("models", list)):
        inner = _Keys(entry if isinstance(entry, dict) else {}, where, f"models[{index}].")
        name, sha256 = inner.of("file", str), inner.of("sha256", str)
        if not name or "/" in name or name.startswith("."):
            raise inner.wrong("file", "must be the name of a file in the same folder")
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise inner.wrong("sha256", "must be 64 hexadecimal digits")
        models.append(ModelFile(name, sha256, inner.whole("rounds", 0)))
    if not models:
        raise key.wrong("models", "must name at least one model file")
    return Info(
        objective=key.of("objective", str),
        num_class=key.whole("num_class", 0),
        schema=schema,
        models=tuple(models),
        sample=_parse_sample(_Keys(sample, where, "sample."), width),
        content=info,
    )


def _parse_sample(key: _Keys, width: int) -> Sample:
    features = key.of("features", list)
    if len(features) != width or not all(value is None or _is_number(value) for value in features):
        raise key.wrong("features", f"must be a list of {width} numbers or nulls, as num_features says")
    prediction = key.content.get("prediction")
    if _is_number(prediction):
        return Sample(tuple(features), float(prediction))  # type: ignore[arg-type]
    if isinstance(prediction, list) and prediction and all(map(_is_number, prediction)):
        return Sample(tuple(features), tuple(float(value) for value in prediction))
    raise key.wrong("prediction", "must be a number or a list of numbers")


@dataclass(frozen=True)
class _Keys:
    """A JSON object whose keys are read one by one, each with its own message."""

    content: Mapping[str, Any]
    where: str
    prefix: str = ""

    def wrong(self, key: str, what: str) -> UserError:
        found = json.dumps(self.content[key]) if key in self.content else "missing"
        shown = found if len(found) <= 80 else found[:77] + "..."
        return UserError(f"{self.where}: {self.prefix}{key} {what}, it is {shown}")

    def of(self, key: str, kind: type) -> Any:
        value = self.content.get(key)
        if not isinstance(value, kind):
            raise self.wrong(key, f"must be {({'str': 'a text', 'list': 'a list'}).get(kind.__name__, 'an object')}")
        return value

    def whole(self, key: str, least: int) -> int:
        value = self.content.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(key, f"must be a whole number of at least {least}")
        return value

    def texts(self, key: str, count: int) -> tuple[str, ...] | None:
        value = self.content.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != count or not all(isinstance(text, str) for text in value):
            raise self.wrong(key, f"must be null or a list of {count} texts, as num_features says")
        return tuple(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
