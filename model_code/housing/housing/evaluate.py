"""Scores the held-out rows with the trained model and reports how well it did."""

from __future__ import annotations

import numpy as np

from . import artifact
from .columns import FEATURES, TARGET_FIRST
from .contract import InputError, Paths, as_json, csv_files, log, write_together
from .metrics import with_standard_deviation
from .table import read_numbers


def evaluate(paths: Paths) -> None:
    """The step: `processing/input/{model/model.tar.gz,test/*.csv}` to `processing/output/evaluation/evaluation.json`.

    Raises:
        InputError: the archive holds no such model, or the test rows do not fit it.
    """
    model = artifact.from_archive(paths.processing_input / "model" / "model.tar.gz")
    if model.feature_names != list(FEATURES):
        raise InputError(f"the model has the features {model.feature_names}, the test rows have {list(FEATURES)}")
    table = np.asarray(
        read_numbers(csv_files(paths.processing_input / "test", "evaluate"), TARGET_FIRST), dtype=np.float64
    )
    truth, features = table[:, 0], table[:, 1:]
    metrics = with_standard_deviation(truth, model.predict(features).astype(np.float64))
    report = {"dataset": {"item_count": len(truth)}, "regression_metrics": metrics}
    write_together({paths.processing_output / "evaluation" / "evaluation.json": as_json(report)})
    for name, metric in metrics.items():
        log(f"test-{name}:{metric['value']:.5f} (standard deviation {metric['standard_deviation']:.5f})")
