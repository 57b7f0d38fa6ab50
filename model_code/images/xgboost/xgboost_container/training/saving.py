"""Writes what a training leaves: the model's files to `/opt/ml/model`, the course of the metrics to `/opt/ml/output/data`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .. import artifact
from ..contract import Paths, UserError, as_json, log, write_together
from .complaints import saving_to
from .data import Data, columns_of, sample_row
from .fit import Fitted
from .hyperparameters import Hyperparameters
from .metric_lines import History

_CALM = "Lower eta or max_delta_step, or scale the label"


def save(
    paths: Paths,
    chosen: Hyperparameters,
    data: Data,
    models: Sequence[Fitted],
    metrics: Mapping[str, Mapping[str, float]],
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write the artefact, `history.json`, and what more belongs into the output data; all of it or nothing.

    Raises:
        UserError: the model's scores are not finite.
        AlgorithmError: the disk is full.
    """
    if all(math.isnan(score) for score in metrics["train"].values()):
        raise UserError(
            f"the training diverged: {', '.join(metrics['train'])} of the training rows is not a number. {_CALM}"
        )
    try:
        files = _model_files(chosen, data, models, metrics)
    except ValueError as error:
        if "finite" not in str(error):
            raise
        raise UserError(f"the training diverged: {error}. {_CALM}") from error
    output = {"history.json": as_json(_history(models)), **(more or {})}
    with saving_to(paths.model):
        _remove_earlier(paths, keep=files)
        write_together(
            {
                **{paths.model / name: content for name, content in files.items()},
                **{paths.output_data / name: content for name, content in output.items()},
            }
        )
    kept, trained = (sum(getattr(fitted, name) for fitted in models) for name in ("kept", "trained"))
    log(f"Saved {kept} of {trained} rounds to {paths.model}")


def _model_files(
    chosen: Hyperparameters, data: Data, models: Sequence[Fitted], metrics: Mapping[str, Mapping[str, float]]
) -> dict[str, bytes]:
    return artifact.as_files(
        [fitted.booster for fitted in models],
        sample=sample_row(data.summary, chosen.feature_types),
        hyperparameters={**chosen.chosen, "seed": chosen.seed, "nthread": chosen.nthread},
        data=data.about,
        metrics=metrics,
        rounds={"trained": sum(fitted.trained for fitted in models), "kept": sum(fitted.kept for fitted in models)},
        summary={"columns": columns_of(data.summary, data.train.feature_names, chosen.feature_types)},
    )


def _remove_earlier(paths: Paths, keep: Mapping[str, bytes]) -> None:
    """On a laptop, boosters of an earlier run: beside this one's they would be served as one ensemble with it."""
    for path in paths.model.glob(f"{artifact.MODEL_FILE}*"):
        if path.name not in keep and path.is_file():
            path.unlink()


def _history(models: Sequence[Fitted]) -> Mapping[str, Any]:
    """`{"train": {"rmse": [...]}}`, a number per round; with k-fold a list of such objects under `folds`."""
    if len(models) == 1:
        return _finite(models[0].history)
    return {"folds": [_finite(fitted.history) for fitted in models]}


def _finite(history: History) -> Mapping[str, Any]:
    return {
        name: {metric: [score if math.isfinite(score) else None for score in scores] for metric, scores in of.items()}
        for name, of in history.items()
    }
