"""Fits XGBoost to the channel `train`, stops early by the channel `validation`, and saves the model as data."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from . import artifact, hyperparameters
from .columns import FEATURES, TARGET, TARGET_FIRST
from .contract import InputError, Paths, as_json, csv_files, log, read_config, write_together
from .hyperparameters import Hyperparameters
from .metrics import regression_metrics
from .table import read_numbers

CHANNELS = ("train", "validation")


@dataclass(frozen=True)
class Channel:
    """A channel's rows, and the fingerprint of the bytes that they came from."""

    features: NDArray[np.float64]
    target: NDArray[np.float64]
    sha256: str

    @classmethod
    def read(cls, files: Sequence[Path]) -> Channel:
        table = np.asarray(read_numbers(files, TARGET_FIRST), dtype=np.float64)
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
        return cls(features=table[:, 1:], target=table[:, 0], sha256=digest.hexdigest())

    def matrix(self) -> xgboost.DMatrix:
        return xgboost.DMatrix(self.features, label=self.target, feature_names=list(FEATURES), nthread=1)


def train(paths: Paths) -> None:
    """The step: the channels to `/opt/ml/model`, and the course of the errors to `/opt/ml/output/data`.

    Raises:
        InputError: a config file or a channel is not what this training can work with.
    """
    _check_hosts(read_config(paths.config / "resourceconfig.json"))
    _check_channels(read_config(paths.config / "inputdataconfig.json"))
    chosen = hyperparameters.parse(read_config(paths.config / "hyperparameters.json") or {})
    channels = {name: Channel.read(csv_files(paths.channel(name), f"the channel {name}")) for name in CHANNELS}
    log(f"Training on {len(channels['train'].target)} rows with {asdict(chosen)}")

    booster, history = fit(channels["train"], channels["validation"], chosen)
    info = describe(booster, history, channels, chosen)
    files = {paths.model / name: content for name, content in artifact.as_files(booster, info).items()}
    write_together({**files, paths.output_data / "history.json": as_json(history)})
    log(f"Saved {info['rounds']['kept']} of {info['rounds']['trained']} rounds to {paths.model}")


def fit(
    train: Channel, validation: Channel, chosen: Hyperparameters
) -> tuple[xgboost.Booster, dict[str, dict[str, list[float]]]]:
    """The booster up to its best round, and the RMSE of every round that was trained.

    One thread and a fixed seed: sums of floats depend on how threads share the rows, so this is what makes
    the same data give the same bytes. At this size more threads would be slower anyway.
    """
    history: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        {
            "objective": "reg:squarederror",
            "eval_metric": "rmse",
            "tree_method": "hist",
            "nthread": 1,
            "max_depth": chosen.max_depth,
            "eta": chosen.eta,
            "gamma": chosen.gamma,
            "min_child_weight": chosen.min_child_weight,
            "subsample": chosen.subsample,
            "seed": chosen.seed,
        },
        train.matrix(),
        num_boost_round=chosen.num_round,
        evals=[(train.matrix(), "train"), (validation.matrix(), "validation")],
        evals_result=history,
        verbose_eval=False,
        # The lines first: XGBoost calls no further callback once one has asked to stop.
        callbacks=[_MetricLines(), xgboost.callback.EarlyStopping(rounds=chosen.early_stopping_rounds, save_best=True)],
    )
    return booster, history


def describe(
    booster: xgboost.Booster,
    history: Mapping[str, Mapping[str, Sequence[float]]],
    channels: Mapping[str, Channel],
    chosen: Hyperparameters,
) -> dict[str, Any]:
    """What stands beside the model. No clock and no job name: the same data gives the same bytes."""
    typical = np.median(channels["train"].features, axis=0)
    sample = xgboost.DMatrix(typical.reshape(1, -1), feature_names=list(FEATURES), nthread=1)
    metrics = {
        name: regression_metrics(channel.target, booster.predict(channel.matrix()).astype(np.float64))
        for name, channel in channels.items()
    }
    for name, values in metrics.items():
        log(" ".join([f"final {name}:", *(f"{name}-{metric}:{value:.5f}" for metric, value in values.items())]))
    return {
        "format": 1,
        "target": TARGET,
        "feature_names": list(FEATURES),
        "rounds": {"trained": len(history["validation"]["rmse"]), "kept": booster.num_boosted_rounds()},
        "hyperparameters": asdict(chosen),
        "data": {name: {"rows": len(channel.target), "sha256": channel.sha256} for name, channel in channels.items()},
        "metrics": metrics,
        # The median of every column: a row that the server can score to prove that it works.
        "sample": {"features": typical.tolist(), "score": float(booster.predict(sample)[0])},
        "libraries": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "xgboost": xgboost.__version__,
        },
    }


class _MetricLines(xgboost.callback.TrainingCallback):
    """A line per round in XGBoost's own words, so that the usual metric definitions find the numbers in the log.

    For example the regular expression `validation-rmse:([0-9.]+)`.
    """

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        columns = [f"{name}-rmse:{values['rmse'][-1]:.5f}" for name, values in evals_log.items()]
        log("\t".join([f"[{epoch}]", *columns]))
        return False


def _check_hosts(config: Mapping[str, Any] | None) -> None:
    hosts = (config or {}).get("hosts", ["algo-1"])
    if not isinstance(hosts, list) or len(hosts) != 1:
        raise InputError(f"resourceconfig.json: hosts is {hosts}, this training runs on one: set InstanceCount to 1")


def _check_channels(config: Mapping[str, Any] | None) -> None:
    if config is None:
        return
    missing = [name for name in CHANNELS if name not in config]
    if missing:
        raise InputError(
            f"inputdataconfig.json: missing channel {', '.join(missing)}; found {', '.join(config) or 'none'}"
        )
    for name in CHANNELS:
        channel = config[name] if isinstance(config[name], dict) else {}
        content_type = str(channel.get("ContentType") or "text/csv")
        if content_type.split(";")[0].strip().lower() not in ("text/csv", "csv"):
            raise InputError(f"inputdataconfig.json: channel {name}: ContentType is {content_type}, must be text/csv")
        mode = str(channel.get("TrainingInputMode") or "File")
        if mode not in ("File", "FastFile"):
            raise InputError(
                f"inputdataconfig.json: channel {name}: TrainingInputMode is {mode}, must be File or FastFile"
            )
