"""Scores the held-out rows with the trained model and reports how well it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import archive
from ..contract import Paths, UserError, as_json, log, write_together
from ..formats.sparse import Sparse
from ..serving.model import Model
from ..training.declarations import of_folder
from ..training.loading import Table, load
from ..training.readers import Layout
from . import classification, regression
from .bootstrap import with_standard_deviation

Numbers = NDArray[np.float64]


def evaluate(paths: Paths) -> None:
    """The step: `processing/input/{model/model.tar.gz,test/}` to `processing/output/evaluation/evaluation.json`.

    The test rows have the label first, as in training, in any format of training; their names or how they begin tell
    which. The report has the form of SageMaker's model quality reports: `regression_metrics`,
    `binary_classification_metrics` or `multiclass_classification_metrics`, by the model's objective.

    Raises:
        UserError: the archive holds no model that can be scored, the test rows do not fit it, or the objective has
            no metrics here.
    """
    model = archive.load(paths.processing_input / "model" / "model.tar.gz")
    table = load(of_folder("test", paths.processing_input / "test"), Layout(num_features=model.schema.num_features))
    _check_columns(model, table)
    truth = table.labels.astype(np.float64)
    kind, metrics = _measured(model, table, truth)
    report = {"dataset": {"item_count": len(truth)}, kind: metrics}
    write_together({paths.processing_output / "evaluation" / "evaluation.json": as_json(report)})
    for name, metric in metrics.items():
        if "value" in metric:
            log(f"test-{name}:{metric['value']:.5f} (standard deviation {metric['standard_deviation']:.5f})")


def _check_columns(model: Model, table: Table) -> None:
    if not len(table.labels):
        raise UserError("test: no rows, so there is nothing to score")
    width = model.schema.num_features
    if table.rows.width > width or (table.rows.width < width and not table.rows.is_sparse):
        raise UserError(f"{table.place(0)}: has {table.rows.width} features, the model has {width}")
    if None not in (table.names, model.schema.feature_names) and table.names != model.schema.feature_names:
        raise UserError(f"{table.files[0]}: has the features {table.names}, the model {model.schema.feature_names}")


def _scores(score: Callable[[NDArray[np.float32]], NDArray[np.float32]], width: int, table: Table) -> Numbers:
    blocks = (block.dense(width) if isinstance(block, Sparse) else block for block in table.rows)
    return np.concatenate([score(block) for block in blocks]).astype(np.float64)


def _measured(model: Model, table: Table, truth: Numbers) -> tuple[str, dict[str, dict[str, Any]]]:
    """The name of the group of metrics that belongs to the objective, and its metrics."""
    objective, width = model.objective, model.schema.num_features
    match objective.partition(":")[0]:
        case "binary":
            # From the margin, because two of the three objectives do not predict a probability. A hinge's margin is no
            # log-odds, but it crosses 0 where that crosses one half.
            probability = _probability(_scores(model.margin, width, table))
            measured = with_standard_deviation(classification.binary, truth, probability)
            if objective == "binary:hinge":
                del measured["log_loss"]
            confusion = classification.confusion(truth, (probability > classification.THRESHOLD).astype(np.float64), 2)
            return "binary_classification_metrics", {"confusion_matrix": _as_objects(confusion), **measured}
        case "multi":
            raw = _scores(model.margin, width, table)
            probabilities = np.exp(raw - raw.max(axis=1, keepdims=True))
            probabilities /= probabilities.sum(axis=1, keepdims=True)
            confusion = classification.confusion(truth, raw.argmax(axis=1).astype(np.float64), raw.shape[1])
            measured = with_standard_deviation(classification.multiclass, truth, probabilities)
            return "multiclass_classification_metrics", {"confusion_matrix": _as_objects(confusion), **measured}
        case "reg" | "count" if objective != "reg:quantileerror":
            predicted = _scores(model.predict, width, table)
            return "regression_metrics", with_standard_deviation(regression.metrics, truth, predicted)
    raise UserError(
        f"evaluate has no metrics for the objective {objective}: write them in the model's own package, "
        "model/evaluate.py with a function evaluate(paths)"
    )


def _probability(margin: Numbers) -> Numbers:
    # The form that does not overflow for large negative margins.
    return np.asarray(np.where(margin >= 0, 1 / (1 + np.exp(-np.abs(margin))), 1 - 1 / (1 + np.exp(-np.abs(margin)))))


def _as_objects(matrix: NDArray[np.int64]) -> dict[str, Any]:
    """`{"0": {"0": 31, "1": 2}, ...}`: the true class, then the predicted one."""
    return {str(there): {str(said): int(count) for said, count in enumerate(row)} for there, row in enumerate(matrix)}
