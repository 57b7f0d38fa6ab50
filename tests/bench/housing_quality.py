"""Measures how much the test RMSE depends on the split: where the quality bound in model.yaml comes from.

It runs the jobs' own functions, once per seed of the split, and never looks for a seed that scores
well: the default seed is 0.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sagestack.cli.laptop import Laptop
from sagestack.settings import load_model
from xgboost_container.contract import Paths
from xgboost_container.evaluation.evaluate import evaluate
from xgboost_container.training.train import train

from model_code.housing.model.preprocess import preprocess
from tests.bench.figures import Row

SEEDS = 60


def score(seed: int) -> dict[str, float]:
    """The metrics on the test rows of one split, with the hyperparameters of model.yaml."""
    housing = load_model("housing")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):  # the line per round
        paths = Paths(Path(folder))
        _put(housing.data_file, paths.processing_input / "data" / "housing.csv")
        preprocess(paths, seed)
        for channel in ("train", "validation"):
            _put(paths.processing_output / channel / f"{channel}.csv", paths.channel(channel) / f"{channel}.csv")
        Laptop(housing, paths.base).configure()
        train(paths)
        _put(paths.processing_output / "test" / "test.csv", paths.processing_input / "test" / "test.csv")
        (paths.processing_input / "model").mkdir()
        with tarfile.open(paths.processing_input / "model" / "model.tar.gz", "w:gz") as packed:
            packed.add(paths.model, arcname=".")
        evaluate(paths)
        report = json.loads((paths.processing_output / "evaluation" / "evaluation.json").read_text())
    return {name: metric["value"] for name, metric in report["regression_metrics"].items()}


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def housing() -> Iterator[Row]:
    """Over many splits: what the gate in model.yaml is made of."""
    scores = [score(seed) for seed in range(SEEDS)]
    for name in ("rmse", "mae", "r2"):
        values = np.array([item[name] for item in scores])
        figure = (
            f"mean {values.mean():.3f}, standard deviation {values.std():.3f}, "
            f"lowest {values.min():.3f}, highest {values.max():.3f}"
        )
        yield f"{name} over {SEEDS} splits", figure, ""
    gate = load_model("housing").quality.threshold
    passed = sum(item["rmse"] <= gate for item in scores)
    yield f"splits that pass the gate, an RMSE of {gate}", f"{passed} of {SEEDS}", ""
