"""What the tests of the housing model share: the program, and a finished run of its jobs on this machine."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sagestack.cli.laptop import Laptop
from sagestack.settings import load_model
from xgboost_container.contract import Paths

from tests.image_environment import IMAGE_STARTUP

import xgboost  # isort: skip

FOLDER = load_model("housing").folder
DATA = load_model("housing").data_file
FEATURES = tuple(str(load_model("housing").training.hyperparameters["feature_names"]).split(","))

# A row of the data, its target left out.
ROW = [0.00632, 18, 2.31, 0, 0.538, 6.575, 65.2, 4.09, 1, 296, 15.3, 4.98]
ROW_CSV = ",".join(f"{value:g}" for value in ROW)


class _Laptop(Laptop):
    """Without what this project has installed for its tests alone."""

    def environment(self) -> dict[str, str]:
        usual = super().environment()
        return {**usual, "PYTHONPATH": os.pathsep.join([str(IMAGE_STARTUP), usual["PYTHONPATH"]])}


def laptop(base: Path) -> Laptop:
    """The housing model's jobs, with `base` in the place of /opt/ml."""
    return _Laptop(load_model("housing"), base)


def program(step: str | None, base: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a container would, but as a process."""
    command = [sys.executable, "-m", "xgboost_container", *([step] if step else [])]
    environment = {**laptop(base).environment(), **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)


@functools.cache
def finished_run() -> Paths:
    """Preprocess, train and evaluate, done once as `sagestack laptop` does. Read it, never write to it."""
    base = Path(tempfile.mkdtemp(prefix="housing-run-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    laptop(base).run(DATA, quiet=True)
    return Paths(base)


def table(file: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.loadtxt(file, delimiter=",")


def expected_scores(rows: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What XGBoost alone says of these rows: the second opinion on everything that predicts."""
    booster = xgboost.Booster(model_file=bytearray((finished_run().model / "xgboost-model").read_bytes()))
    scores: np.ndarray[Any, np.dtype[np.float32]] = booster.predict(xgboost.DMatrix(rows, feature_names=list(FEATURES)))
    return scores


def archive_of(files: Mapping[str, bytes], target: Path) -> Path:
    """A model.tar.gz with these files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(target, "w:gz") as packed:
        for name, content in files.items():
            file = Path(folder, "file")
            file.write_bytes(content)
            packed.add(file, arcname=name)
    return target
