"""The model as training leaves it in /opt/ml/model: boosters as data, and what is known about them. Never a pickle."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from . import without_scipy  # noqa: F401  (before XGBoost)
from .model_info import FORMAT, INFO_FILE, Info, ModelFile, Sample, parse_info, read_info
from .prediction.ensemble import combined

import xgboost  # isort: skip

__all__ = [
    "INFO_FILE",
    "MODEL_FILE",
    "SUMMARY_FILE",
    "Info",
    "ModelFile",
    "Sample",
    "as_files",
    "model_files",
    "parse_info",
    "read_info",
]

MODEL_FILE = "xgboost-model"
"""The name that SageMaker's own container gives a model, and looks for."""
SUMMARY_FILE = "data-summary.json"


def model_files(count: int) -> list[str]:
    """The names of so many boosters: one is `xgboost-model`, the k of k-fold are `xgboost-model-0` to `-k-1`."""
    return [MODEL_FILE] if count == 1 else [f"{MODEL_FILE}-{index}" for index in range(count)]


def as_files(
    boosters: Sequence[xgboost.Booster],
    *,
    sample: Sequence[float | None] | NDArray[np.float32],
    hyperparameters: Mapping[str, Any],
    data: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, float]],
    rounds: Mapping[str, int],
    summary: Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> dict[str, bytes]:
    """The files of an artefact, by name. The same input gives the same bytes: no clock, no job's name.

    Args:
        boosters: one, or the k of k-fold, already cut to the rounds that are to be served.
        sample: one row of the training data, as wide as the model; None or NaN is a missing value.
        hyperparameters: as the user gave them, checked.
        data: channel to {"rows", "files", "sha256", "content_type"}.
        metrics: channel to {metric: value}. A value that is no finite number is written as null.
        rounds: {"trained": ..., "kept": ...}.
        summary: what goes into `data-summary.json`: `{"columns": [...]}`, or the list of columns.

    Raises:
        ValueError: no booster, boosters that differ in objective or columns, or a sample row of another width.
    """
    if not boosters:
        raise ValueError("an artefact needs at least one booster")
    described = [_described(booster) for booster in boosters]
    if any(other != described[0] for other in described[1:]):
        raise ValueError(f"boosters of one ensemble differ: {described}")
    width = described[0]["num_features"]
    row = np.array([[math.nan if value is None else value for value in sample]], np.float32)
    if row.shape != (1, width):
        raise ValueError(f"the sample row has {row.shape[1]} values, the model {width} features")
    contents = {
        name: bytes(booster.save_raw("ubj")) for name, booster in zip(model_files(len(boosters)), boosters, strict=True)
    }
    info = {
        "format": FORMAT,
        **described[0],
        "models": [
            {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "rounds": _rounds(booster)}
            for (name, content), booster in zip(contents.items(), boosters, strict=True)
        ],
        "hyperparameters": dict(hyperparameters),
        "data": dict(data),
        "metrics": metrics,
        "rounds": dict(rounds),
        "sample": {
            "features": row[0].tolist(),
            "prediction": _sample_prediction(boosters, row, described[0]),
        },
        "libraries": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "xgboost": xgboost.__version__,
        },
    }
    columns = summary if isinstance(summary, Mapping) else {"columns": list(summary)}
    return {**contents, INFO_FILE: _as_json(info), SUMMARY_FILE: _as_json(columns)}


def _as_json(content: Mapping[str, Any]) -> bytes:
    """By orjson, where JSON is written by `contract.as_json` elsewhere: a table may have a million columns, and what is no finite
    number becomes null."""
    return orjson.dumps(
        content,
        dict,
        orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS,
    )


def _described(booster: xgboost.Booster) -> dict[str, Any]:
    learner = json.loads(booster.save_config())["learner"]
    return {
        "objective": learner["objective"]["name"],
        "num_class": int(learner["learner_model_param"]["num_class"]),
        "num_features": booster.num_features(),
        "feature_names": booster.feature_names,
        "feature_types": booster.feature_types,
    }


def _rounds(booster: xgboost.Booster) -> int:
    return booster.num_boosted_rounds()


def _sample_prediction(
    boosters: Sequence[xgboost.Booster], row: NDArray[np.float32], described: Mapping[str, Any]
) -> float | list[float]:
    data = xgboost.DMatrix(
        row,
        feature_names=described["feature_names"],
        feature_types=described["feature_types"],
        enable_categorical=True,
        nthread=1,
    )
    prediction = combined([np.asarray(booster.predict(data)) for booster in boosters], described["objective"])[0]
    if not np.isfinite(prediction).all():
        raise ValueError(f"the model scores its sample row {prediction}, which is no finite number")
    return prediction.tolist()  # type: ignore[no-any-return]
