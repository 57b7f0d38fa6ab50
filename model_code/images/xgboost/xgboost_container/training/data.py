"""The channels of this host, agreed with the other hosts and checked against the hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from ..contract import Paths, UserError, log
from . import metrics
from .complaints import told_apart
from .distributed.agreement import Disagreement, Shard, combined_sha256, found_by_all
from .distributed.collective import Group
from .hyperparameters import Hyperparameters
from .input.channels import Channel, open_channels
from .input.labels import LabelFacts
from .input.summary import Summary


@dataclass(frozen=True)
class Data:
    """What is trained on, by channel name: `train`, and where they are there `validation` and `test`.

    Attributes:
        about: channel to {"rows", "files", "sha256", "content_type"}, over all hosts.
        summary: of the training rows, over all hosts.
    """

    channels: dict[str, Channel]
    about: dict[str, dict[str, Any]]
    summary: Summary

    @property
    def train(self) -> Channel:
        return self.channels["train"]

    @property
    def fingerprint(self) -> dict[str, str]:
        return {name: of["sha256"] for name, of in self.about.items()}


def read_data(paths: Paths, chosen: Hyperparameters, group: Group) -> Data | None:
    """The data of this host, or None when it has none and leaves the group.

    Raises:
        UserError: the data cannot be trained on with these hyperparameters.
    """
    opened = open_channels(
        paths,
        csv_weights=chosen.csv_weights,
        feature_names=chosen.feature_names,
        may_be_empty=group.size > 1,
    )
    channels = {channel.name: channel for channel in opened if channel.rows}
    train = opened.train
    agreement = group.agree(
        Shard(
            rows=train.rows,
            width=train.num_features,
            content_type=train.content_type,
            sparse=train.is_sparse,
            feature_names=train.feature_names,
            columns=tuple(
                name for name, values in (("weight", train.weights()), ("qid", train.qids())) if values is not None
            ),
            channels=tuple(name for name in channels if name != "train"),
            sha256=train.sha256,
        )
    )
    if not group.has_rows:
        return None
    if chosen.early_stopping_rounds and "validation" not in channels and not chosen.kfold:
        raise Disagreement(
            "early_stopping_rounds needs the channel validation, whose metric says when to stop: add the channel, or leave "
            "early_stopping_rounds out"
        )
    if chosen.kfold:
        # SageMaker's algorithm validates across the rows of both channels.
        channels = {"train": opened.combined(), **{name: channels[name] for name in channels if name == "test"}}
    for channel in channels.values():
        channel.widen(agreement.width)
        if channel.qids() is None and chosen.objective.startswith("rank:") and group.size > 1:
            raise UserError(f"{channel.name}: {chosen.objective} on several hosts needs the query of each row (qid)")
        channel.check(chosen.objective, num_class=chosen.num_class)
        if any(metrics.counts_classes(metric) for metric in chosen.eval_metrics):
            channel.check_whole_labels()
    if train.qids() is None and chosen.objective.startswith("rank:"):
        log(
            f"Warning: train has no queries (qid), so {chosen.objective} ranks all of its {train.rows} rows as one query. "
            "libsvm has a place for them: `label qid:7 1:0.5`"
        )
    train = channels["train"]
    with found_by_all():
        chosen.check_features(train.num_features, train.feature_names)
    facts = [LabelFacts.from_array(np.array(part)) for part in group.gather(train.label_facts.as_array().tolist())]
    total = facts[0]
    for other in facts[1:]:
        total = total.merge(other)
    with found_by_all():
        total.check("train")
    group.check_groups(train.qids())
    return Data(channels, {name: _about(channel, group) for name, channel in channels.items()}, _summary(train, group))


def training_matrix(channel: Channel, chosen: Hyperparameters) -> xgboost.DMatrix:
    """The matrix to train on: quantised for `hist`, plain for the methods that read the values themselves."""
    if chosen.needs_plain_matrix:
        return evaluation_matrix(channel, chosen)
    with told_apart(channel.name):
        return channel.matrix(
            max_bin=chosen.max_bin,
            nthread=chosen.nthread,
            feature_types=chosen.feature_types,
            objective=chosen.objective,
        )


def evaluation_matrix(channel: Channel, chosen: Hyperparameters) -> xgboost.DMatrix:
    """The values themselves, so that a metric is that of the model on rows that had no part in the bins."""
    with told_apart(channel.name):
        return channel.dmatrix(nthread=chosen.nthread, feature_types=chosen.feature_types, objective=chosen.objective)


def sample_row(summary: Summary, feature_types: tuple[str, ...] | None) -> list[float | None]:
    """A row that a server can score to prove that it works: the mean of each column, or of categories the lowest code."""
    row: list[float | None] = []
    for column, count in enumerate(summary.count):
        is_code = feature_types is not None and feature_types[column] != "q" and feature_types[column] != "float"
        value = summary.lowest[column] if is_code else summary.mean[column]
        row.append(float(value) if count else None)
    return row


def columns_of(
    summary: Summary, names: tuple[str, ...] | None, types: tuple[str, ...] | None
) -> list[Mapping[str, Any]]:
    """A description of every column, for `data-summary.json`."""
    numbers = np.stack([summary.mean, summary.standard_deviation, summary.lowest, summary.highest], axis=1)
    counts = zip(summary.count.tolist(), summary.missing.tolist(), numbers.tolist(), strict=True)
    return [
        {
            "name": names[column] if names else f"f{column}",
            "type": types[column] if types else "float",
            "count": int(count),
            "missing": int(missing),
            "mean": mean if count else None,
            "standard_deviation": deviation if count else None,
            "min": lowest if count else None,
            "max": highest if count else None,
        }
        for column, (count, missing, (mean, deviation, lowest, highest)) in enumerate(counts)
    ]


def _about(channel: Channel, group: Group) -> dict[str, Any]:
    parts = group.gather({"rows": channel.rows, "files": len(channel.files), "sha256": channel.sha256})
    return {
        "rows": sum(part["rows"] for part in parts),
        "files": sum(part["files"] for part in parts),
        "sha256": combined_sha256([part["sha256"] for part in parts]),
        "content_type": channel.content_type,
    }


def _summary(channel: Channel, group: Group) -> Summary:
    if group.size == 1:
        return channel.summary
    content = channel.summary.as_array()
    parts = [np.frombuffer(part).reshape(content.shape) for part in group.gather_bytes(content.tobytes())]
    total = Summary.from_array(parts[0])
    for part in parts[1:]:
        total = total.merge(Summary.from_array(part))
    return total
