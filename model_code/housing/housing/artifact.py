"""The model as data: `model.ubj` (XGBoost's own format) and `model-info.json` beside it. Never a pickle."""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from .contract import InputError, as_json

MODEL_FILE = "model.ubj"
INFO_FILE = "model-info.json"
# More than a thousand times what this model needs; keeps a hostile archive from filling the memory.
LARGEST_FILE = 256 * 1024**2


@dataclass(frozen=True)
class Model:
    """A booster that has proven itself, and what is known about it."""

    booster: xgboost.Booster
    info: dict[str, Any]

    @property
    def feature_names(self) -> list[str]:
        names: list[str] = self.info["feature_names"]
        return names

    def predict(self, rows: Sequence[Sequence[float]] | NDArray[np.float64]) -> NDArray[np.float32]:
        """A score per row; what `xgboost.Booster.predict` says. Threads may call it at the same time."""
        data = xgboost.DMatrix(np.asarray(rows, dtype=np.float32), feature_names=self.feature_names, nthread=1)
        return np.asarray(self.booster.predict(data), dtype=np.float32)

    def check(self) -> None:
        """Score the sample row that training left, and compare with what training got.

        Raises:
            InputError: the score is another one, so the two files or the library do not belong together.
        """
        sample = self.info["sample"]
        score = float(self.predict([sample["features"]])[0])
        if not abs(score - sample["score"]) <= 1e-3 * max(1.0, abs(sample["score"])):
            raise InputError(f"{MODEL_FILE}: scores the sample row {score:g}, {INFO_FILE} says {sample['score']:g}")


def as_files(booster: xgboost.Booster, info: dict[str, Any]) -> dict[str, bytes]:
    model = bytes(booster.save_raw("ubj"))
    return {MODEL_FILE: model, INFO_FILE: as_json({**info, "sha256": hashlib.sha256(model).hexdigest()})}


def from_folder(folder: Path) -> Model:
    """The model in a folder, as hosting finds it in `/opt/ml/model`."""

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except FileNotFoundError:
            raise InputError(f"{folder}: the model needs the file {name}, it is not there") from None

    return _load(read)


def from_archive(archive: Path) -> Model:
    """The model in a `model.tar.gz`.

    Nothing is extracted: the two files are read into memory, links and everything else in the archive are
    left alone, so no name in it can lead anywhere.
    """

    def read(name: str) -> bytes:
        for member in opened:
            if posixpath.normpath(member.name) == name and member.isreg():
                if member.size > LARGEST_FILE:
                    raise InputError(f"{archive.name}: {name} has {member.size} bytes, at most {LARGEST_FILE} allowed")
                handle = opened.extractfile(member)
                if handle is not None:
                    return handle.read()
        raise InputError(f"{archive.name}: the model needs the file {name}, it is not in the archive")

    try:
        with tarfile.open(archive, "r:gz") as opened:
            return _load(read)
    except FileNotFoundError:
        raise InputError(f"{archive}: the model archive is not there") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(f"{archive.name}: not a readable .tar.gz: {error}") from error


def _load(read: Callable[[str], bytes]) -> Model:
    info_bytes, model_bytes = read(INFO_FILE), read(MODEL_FILE)
    try:
        info = json.loads(info_bytes)
        names, sample, sha256 = info["feature_names"], info["sample"], info["sha256"]
        well_formed = len(sample["features"]) == len(names) > 0 and isinstance(sample["score"], float)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{INFO_FILE}: cannot be read ({type(error).__name__}: {error})") from error
    if not well_formed:
        raise InputError(f"{INFO_FILE}: the sample row does not fit the {len(names)} feature names")
    # XGBoost does not survive damaged bytes: it aborts the process or asks for all the memory there is. So it
    # only gets what training wrote. (This finds damage and mix-ups; whoever can replace both files is the owner.)
    found = hashlib.sha256(model_bytes).hexdigest()
    if found != sha256:
        raise InputError(
            f"{MODEL_FILE}: damaged, or of another training: its SHA-256 is {found[:12]}..., "
            f"{INFO_FILE} says {str(sha256)[:12]}..."
        )
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(model_bytes))
    except xgboost.core.XGBoostError as error:
        # The library's message is a long native stack; its first line is the reason.
        raise InputError(f"{MODEL_FILE}: XGBoost cannot load it: {str(error).splitlines()[0]}") from error
    if booster.feature_names != names:
        raise InputError(f"{MODEL_FILE}: has the features {booster.feature_names}, {INFO_FILE} says {names}")
    # A thread of each request scores its own few rows; a pool of OpenMP threads per request would only cost.
    booster.set_param({"nthread": 1})
    model = Model(booster, info)
    model.check()
    return model
