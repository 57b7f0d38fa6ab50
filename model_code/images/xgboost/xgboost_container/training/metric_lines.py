"""Writes each round's metrics to the log so that SageMaker's regular expressions find the numbers.

SageMaker's metric definitions for its XGBoost algorithm are `.*\\[[0-9]+\\].*#011validation-<metric>:(\\S+)`. XGBoost puts a
tab before each metric, and what carries a container's log to CloudWatch writes a tab as the four characters `#011`; a
definition never sees a tab. We write `#011` ourselves, with a space before it: the line then matches wherever it is read,
in CloudWatch, in the container's own output and in the local cloud, and the space ends the number, so that `\\S+` takes it
alone when several metrics stand on one line (with a tab written as `#011` it would take the rest of the line).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..contract import log

History = dict[str, dict[str, list[float]]]
"""Per data set and metric, one number per round: `history["validation"]["auc"][0]`."""

_TAB = " #011"


def metric_line(number: int, latest: Mapping[str, Mapping[str, float]]) -> str:
    """`[12] #011train-rmse:0.51234 #011validation-rmse:0.61234`, with as many digits as XGBoost prints."""
    columns = [f"{name}-{metric}:{score:.5f}" for name, of in latest.items() for metric, score in of.items()]
    return _TAB.join([f"[{number}]", *columns])


def log_metrics(number: int, latest: Mapping[str, Mapping[str, float]]) -> None:
    log(metric_line(number, latest))


def at_round(history: Mapping[str, Mapping[str, Sequence[float]]], index: int) -> dict[str, dict[str, float]]:
    """Every metric as it was after one round, counted from 0 or, when negative, from the end."""
    return {name: {metric: scores[index] for metric, scores in of.items()} for name, of in history.items()}
