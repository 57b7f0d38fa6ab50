"""The model that a server holds: found in its folder, proven, and scored as XGBoost would score it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..artifact import INFO_FILE, MODEL_FILE, SUMMARY_FILE, Info, parse_info
from ..contract import UserError, log
from ..model_files import Files, Folder
from ..prediction.ensemble import combined
from ..prediction.model_format import format_of
from ..prediction.predictor import Predictor, reason
from ..prediction.probe import probe
from ..schema import Schema

import xgboost  # isort: skip

SAMPLE_TOLERANCE = 1e-4
"""How far the recorded score may be, relative to max(1, |score|): other processors sum alike, not the same."""

# Resident bytes for each byte of a UBJ file, measured over models of 24 kB to 6 MB: 3.5 to 4.7 with treelite, 0.5
# to 1.7 without. JSON is longer for the same model, so for it this is too much rather than too little.
_RESIDENT_FOR_A_BYTE = 5
_RESIDENT_FOR_A_BYTE_ALONE = 2
_RESIDENT_AT_LEAST = 64 * 1024


class Model:
    """One booster or an ensemble of them, ready to score. Threads may score at the same time.

    Attributes:
        schema: the columns of a row.
        objective: XGBoost's name of it.
        num_class: classes of a `multi:` objective, else 0.
        nbytes: an estimate of the resident memory that it takes, rather too much than too little.
        info: what training wrote beside it, or None.
    """

    def __init__(self, predictors: Sequence[Predictor], nbytes: int, info: Info | None) -> None:
        first = predictors[0]
        self._predictors = tuple(predictors)
        self.schema: Schema = first.schema
        self.objective: str = first.objective
        self.num_class: int = first.num_class
        self.nbytes = nbytes
        self.info = info
        # The way of every request: an ensemble of one costs nothing.
        self._only = first if len(predictors) == 1 else None

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `Booster.predict` gives: float32 of shape (n,), or (n, outputs) where a row has several.

        An ensemble gives the mean, or the class that most of its boosters name.

        Args:
            rows: shape (n, schema.num_features); NaN is a missing value.

        Raises:
            ValueError: rows of another width, or infinity in one, which `Booster.predict` refuses as well; says where.
        """
        if self._only is not None:
            return self._only.predict(rows)
        return combined([predictor.predict(rows) for predictor in self._predictors], self.objective)

    def margin(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw scores before the objective's transformation; the mean over an ensemble. Shapes and errors as `predict`."""
        if self._only is not None:
            return self._only.margin(rows)
        margins = np.stack([predictor.margin(rows) for predictor in self._predictors])
        return np.asarray(margins.mean(axis=0, dtype=np.float64), np.float32)

    def check(self) -> None:
        """Score a row: training's own sample, compared with what training got, else a row of missing values.

        Raises:
            UserError: the score is another one, so the files or the library do not belong together.
        """
        if self.info is None:
            missing = np.full((1, self.schema.num_features), np.nan, np.float32)
            for rows in (missing, np.zeros_like(missing)):
                if np.isnan(self.predict(rows)).any():
                    raise UserError(f"{MODEL_FILE}: scores a row of {rows[0, 0]} as NaN, so it is damaged")
            return
        sample = self.info.sample
        expected = np.array(sample.prediction, np.float32).reshape(-1)
        score = self.predict(sample.row()).reshape(-1)
        if score.shape != expected.shape or not np.all(
            np.abs(score - expected) <= SAMPLE_TOLERANCE * np.maximum(1, np.abs(expected))
        ):
            raise UserError(
                f"{MODEL_FILE}: scores the sample row {_shown(score)}, {INFO_FILE} says {_shown(expected)}: "
                "the files, or the versions of XGBoost, do not belong together"
            )


def load(folder: Path, *, ensemble: bool = True, nthread: int = 1) -> Model:
    """The model in a folder, as hosting finds it in `/opt/ml/model`, proven by scoring a row.

    With `model-info.json` that file names the boosters, and their SHA-256 is compared. Without it (the model comes from
    elsewhere, say from SageMaker's own container) the booster is `xgboost-model`, or the ensemble `xgboost-model-0`
    and on, or the only `*.ubj`, `*.model` or `*.json`, and a child process tries it first, which takes
    about half a second.

    Args:
        folder: where the files are; links that lead out of it are refused.
        ensemble: False scores with the first booster of an ensemble only (SAGEMAKER_INFERENCE_ENSEMBLE=false).
        nthread: threads of XGBoost for one batch. 1, because a server scores several requests at once.

    Raises:
        UserError: there is no model, there are several, or it cannot be served; one line that says what to do.
    """
    return load_files(Folder(folder), ensemble=ensemble, nthread=nthread)


def load_files(files: Files, *, ensemble: bool = True, nthread: int = 1) -> Model:
    """`load`, from wherever the files are."""
    info = parse_info(files.read(INFO_FILE), f"{files}/{INFO_FILE}") if INFO_FILE in files.names() else None
    names = [model.file for model in info.models] if info else find(files)
    absent = [name for name in names if name not in files.names()]
    if absent:
        raise UserError(f"{files}: {INFO_FILE} names {absent[0]}, and there is {_listed(files.names())}")
    if not ensemble:
        names = names[:1]
    predictors, nbytes = [], 0
    for index, name in enumerate(names):
        content = files.read(name)
        kind = format_of(content, name)
        if info is None:
            probe(content, kind, name)
        else:
            _compare_fingerprint(name, content, info.models[index].sha256)
        predictor = _predictor(name, content, is_json=kind == "json", nthread=nthread)
        factor = _RESIDENT_FOR_A_BYTE if predictor.uses_treelite else _RESIDENT_FOR_A_BYTE_ALONE
        nbytes += _RESIDENT_AT_LEAST + factor * len(content)
        predictors.append(predictor)
    _compare_boosters(names, predictors)
    if info is not None:
        _compare_info(predictors[0], info, names[0])
        if not ensemble and len(info.models) > 1:
            info = None  # the recorded score is the whole ensemble's
    model = Model(predictors, nbytes, info)
    model.check()
    return model


def find(files: Files) -> list[str]:
    """The boosters of a folder that has no `model-info.json`, by name.

    Raises:
        UserError: there is none, or it is not clear which is meant; says what was found.
    """
    found = files.names()
    numbered = sorted(
        (name for name in found if re.fullmatch(rf"{MODEL_FILE}-(0|[1-9]\d*)", name)),
        key=lambda name: int(name.rpartition("-")[2]),
    )
    named = [name for name in found if name == MODEL_FILE or name.endswith((".ubj", ".model"))]
    texts = [name for name in found if name.endswith(".json") and name not in (INFO_FILE, SUMMARY_FILE)]
    # Other JSON files lie beside models: metrics, names of columns. A model's first key is "learner" or "version".
    models = named + [name for name in texts if re.match(rb'\s*{\s*"(learner|version)"', files.read(name)[:256])]
    candidates = models or ([] if numbered else texts)
    if numbered and not candidates:
        expected = [f"{MODEL_FILE}-{index}" for index in range(len(numbered))]
        if numbered != expected:
            lacking = next(name for name in expected if name not in numbered)
            raise UserError(f"{files}: the ensemble lacks {lacking}, it has {_listed(numbered)}")
        return numbered
    if len(candidates) == 1 and not numbered:
        return candidates
    if candidates:
        raise UserError(
            f"{files}: several models, {_listed([*candidates, *numbered])}: leave one, or name the boosters "
            f"of one ensemble {MODEL_FILE}-0, {MODEL_FILE}-1 and so on"
        )
    for name in found:
        if name.endswith((".pkl", ".pickle", ".joblib", ".bin", ".onnx", ".bst", ".txt")):
            format_of(files.read(name), name)  # what it is, and how to convert it
    raise UserError(f"{files}: no model: it needs the file {MODEL_FILE}, and there is {_listed(found)}")


def _compare_fingerprint(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise UserError(
            f"{name}: damaged, or of another training: its SHA-256 is {found[:12]}..., "
            f"{INFO_FILE} says {expected[:12]}..."
        )


def _predictor(name: str, content: bytes, *, is_json: bool, nthread: int) -> Predictor:
    try:
        predictor = Predictor(content, is_json=is_json, nthread=nthread)
    except xgboost.core.XGBoostError as error:
        raise UserError(f"{name}: XGBoost cannot load it: {reason(error)}") from error
    if predictor.best_round is not None and predictor.best_round + 1 < predictor.num_rounds:
        log(
            f"{name}: its best round is {predictor.best_round} of 0 to {predictor.num_rounds - 1}, and all are used, as "
            "Booster.predict does. To serve the best only, save booster[: booster.best_iteration + 1]"
        )
    return predictor


def _compare_boosters(names: Sequence[str], predictors: Sequence[Predictor]) -> None:
    def described(predictor: Predictor) -> tuple[object, ...]:
        return predictor.objective, predictor.num_class, predictor.num_outputs, predictor.schema

    for name, predictor in zip(names, predictors, strict=True):
        for what, ours, theirs in zip(
            ("objective", "number of classes", "number of outputs", "columns"),
            described(predictor),
            described(predictors[0]),
            strict=True,
        ):
            if ours != theirs:
                raise UserError(f"{name}: has another {what} than {names[0]}: {ours}, not {theirs}")


def _compare_info(predictor: Predictor, info: Info, name: str) -> None:
    for key, found, said in (
        ("objective", predictor.objective, info.objective),
        ("num_class", predictor.num_class, info.num_class),
        ("num_features", predictor.schema.num_features, info.schema.num_features),
        ("feature_names", predictor.schema.feature_names, info.schema.feature_names),
        ("feature_types", predictor.schema.feature_types, info.schema.feature_types),
    ):
        if found != said:
            raise UserError(f"{name}: its {key} is {_short(found)}, {INFO_FILE} says {_short(said)}")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _shown(scores: NDArray[np.float32]) -> str:
    return _short(", ".join(f"{score:g}" for score in scores.tolist()))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
