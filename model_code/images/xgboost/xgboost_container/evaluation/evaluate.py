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
from ..training.input.declarations import of_folder
from ..training.input.labels import check_present
from ..training.input.loading import difference, load
from ..training.input.readers import Layout
from ..training.input.table import Table
from . import classification, golden, regression
from .bootstrap import with_standard_deviation

Numbers = NDArray[np.float64]


def evaluate(paths: Paths) -> None:
    """The step: `processing/input/{model/model.tar.gz,test/}` to `processing/output/evaluation/evaluation.json`.

    Beside the report, `golden-records.json`: some of the rows with the answers to them, for whoever deploys the version.

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
    kind, metrics, answers = _measured(model, table)
    report = {"dataset": {"item_count": len(table.labels)}, kind: metrics}
    folder = paths.processing_output / "evaluation"
    records = golden.as_file(model, _features(table, golden.chosen(answers), model.schema.num_features))
    write_together({folder / "evaluation.json": as_json(report), folder / golden.FILE: records})
    for name, metric in metrics.items():
        if "value" in metric:
            log(f"test-{name}:{metric['value']:.5f} (standard deviation {metric['standard_deviation']:.5f})")


def _check_columns(model: Model, table: Table) -> None:
    if not len(table.labels):
        raise UserError("test: no rows, so there is nothing to score")
    width, names = model.schema.num_features, model.schema.feature_names
    if table.rows.width > width or (table.rows.width < width and not table.rows.is_sparse):
        raise UserError(f"{table.place(0)}: has {table.rows.width} features, the model has {width}")
    if table.names is not None and names is not None and table.names != names:
        raise UserError(
            f"{table.files[0]}: its columns are named otherwise than the model's: {difference(table.names, names)}"
        )


def _check_labels(table: Table, classes: int) -> None:
    """Refuse labels that nothing can be compared with.

    Args:
        classes: how many there are; 0 where labels are quantities.
    """
    labels = table.labels
    check_present(labels, table.place)
    wrong = (labels < 0) | (labels >= classes) | (labels != np.floor(labels))
    if classes and wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(f"{table.place(row)}: the label is {labels[row]:g}, must be a class from 0 to {classes - 1}")


def _features(table: Table, wanted: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    """Some rows of the table, by number, in ascending order."""
    found: list[NDArray[np.float32]] = []
    start = 0
    for block in table.rows:
        inside = wanted[(wanted >= start) & (wanted < start + len(block))] - start
        start += len(block)
        if len(inside):
            found.append((block.dense(width) if isinstance(block, Sparse) else block)[inside])
    return np.concatenate(found)


def _scores(score: Callable[[NDArray[np.float32]], NDArray[np.float32]], width: int, table: Table) -> Numbers:
    blocks = (block.dense(width) if isinstance(block, Sparse) else block for block in table.rows)
    return np.concatenate([score(block) for block in blocks]).astype(np.float64)


def _measured(model: Model, table: Table) -> tuple[str, dict[str, dict[str, Any]], Numbers]:
    """The group of metrics that belongs to the objective, its metrics of what an endpoint would answer, and those answers."""
    kind = model.objective.partition(":")[0]
    if kind not in ("binary", "multi", "reg", "count") or model.objective == "reg:quantileerror":
        raise UserError(
            f"evaluate has no metrics for the objective {model.objective}: write them in the model's own package, "
            "model/evaluate.py with a function evaluate(paths)"
        )
    _check_labels(table, {"binary": 2, "multi": model.num_class}.get(kind, 0))
    truth = table.labels.astype(np.float64)
    answers = _scores(model.predict, model.schema.num_features, table)
    if kind == "binary":
        return "binary_classification_metrics", _binary(model, table, truth, answers), answers
    if kind == "multi":
        return "multiclass_classification_metrics", _multiclass(model, table, truth, answers), answers
    return "regression_metrics", with_standard_deviation(regression.metrics, truth, answers), answers


def _binary(model: Model, table: Table, truth: Numbers, answers: Numbers) -> dict[str, dict[str, Any]]:
    match model.objective:
        case "binary:logistic":
            probability, said = answers, answers > classification.THRESHOLD
        case "binary:logitraw":
            probability, said = _logistic(answers), answers > 0
        case _:  # hinge: its answer is the class. The margin only orders the rows, it is no log-odds.
            margin = _scores(model.margin, model.schema.num_features, table)
            probability, said = _logistic(margin), answers == 1
    columns = np.column_stack([probability, said])
    measured = with_standard_deviation(
        lambda truth, columns: classification.binary(truth, columns[:, 0], columns[:, 1]), truth, columns
    )
    if model.objective == "binary:hinge":
        del measured["log_loss"]
    return {"confusion_matrix": _as_objects(classification.confusion(truth, columns[:, 1], 2)), **measured}


def _multiclass(model: Model, table: Table, truth: Numbers, answers: Numbers) -> dict[str, dict[str, Any]]:
    if answers.ndim == 2:
        probabilities, said = answers, answers.argmax(axis=1)
    else:  # softmax: its answer is the class, of an ensemble the one that most of it name
        margin = _scores(model.margin, model.schema.num_features, table)
        probabilities = np.exp(margin - margin.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        said = answers.astype(np.int64)
    columns = np.column_stack([probabilities, said])
    measured = with_standard_deviation(
        lambda truth, columns: classification.multiclass(truth, columns[:, :-1], columns[:, -1]), truth, columns
    )
    confusion = classification.confusion(truth, columns[:, -1], model.num_class)
    return {"confusion_matrix": _as_objects(confusion), **measured}


def _logistic(margin: Numbers) -> Numbers:
    # The form that does not overflow for large negative margins.
    return np.asarray(np.where(margin >= 0, 1 / (1 + np.exp(-np.abs(margin))), 1 - 1 / (1 + np.exp(-np.abs(margin)))))


def _as_objects(matrix: NDArray[np.int64]) -> dict[str, Any]:
    """`{"0": {"0": 31, "1": 2}, ...}`: the true class, then the predicted one."""
    return {str(there): {str(said): int(count) for said, count in enumerate(row)} for there, row in enumerate(matrix)}
