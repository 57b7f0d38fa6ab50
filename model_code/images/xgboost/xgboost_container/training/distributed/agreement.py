"""What the hosts must agree on before they train one model: who has rows, how wide they are, which channels there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...contract import UserError


class Disagreement(UserError):
    """The hosts' data do not go together. Every host finds that out by itself, in the same words."""


@contextmanager
def found_by_all() -> Iterator[None]:
    """What is wrong in this block is wrong on every host: so none has to tell that another one failed."""
    try:
        yield
    except UserError as error:
        raise Disagreement(str(error)) from error


def check_for_hosts(chosen: Mapping[str, Any], count: int) -> None:
    """Refuse hyperparameters that several hosts cannot train with, or not to one model.

    XGBoost refuses some of them in the first round, in words about its source; with gblinear each host would train a model of
    its own rows, without a word.

    Raises:
        UserError: names the hyperparameter.
    """
    for name, values, why in _ON_ONE_HOST:
        given = chosen.get(name)
        wrong = [value for value in (given if isinstance(given, (list, tuple)) else [given]) if value in values]
        if wrong:
            raise UserError(
                f"{name} {wrong[0]} is for one host, and this job has {count}: {why}. "
                f"Set InstanceCount to 1, or choose another {name}"
            )
    if chosen.get("_kfold"):
        raise UserError(f"_kfold is for one host, and this job has {count}: set InstanceCount to 1")


_ON_ONE_HOST: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("booster", ("gblinear",), "XGBoost's linear booster does not learn across hosts"),
    ("tree_method", ("exact",), "it looks at all values of a feature at once"),
    ("updater", ("grow_colmaker",), "it looks at all values of a feature at once"),
    ("objective", ("survival:cox",), "it compares each row with all others"),
    ("eval_metric", ("cox-nloglik",), "it compares each row with all others"),
)


@dataclass(frozen=True)
class Shard:
    """What one host has of the training data.

    Attributes:
        rows: of the channel train, or any number above zero where the rows are not counted yet.
        width: the number of features.
        sparse: whether a row may name fewer features than there are (libsvm), so that a shard can be too narrow.
        content_type: as in `formats.content_types`.
        feature_names: where the format has names.
        columns: what rows have beside label and features: weight, qid.
        channels: the other channels that have rows here.
        sha256: of the channel train, to notice that every host has got all of it; empty where it is not known yet.
    """

    rows: int
    width: int
    content_type: str
    sparse: bool = False
    feature_names: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Shard:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
        }
        return cls(**fields)


@dataclass(frozen=True)
class Agreement:
    """What holds on all hosts.

    Attributes:
        hosts: those that have rows, in order. The first one writes the model.
        width: the number of features, the widest shard's.
        feature_names: where the format has names.
        warnings: for the log of one host.
    """

    hosts: tuple[str, ...]
    width: int
    feature_names: tuple[str, ...] | None
    warnings: tuple[str, ...]


def agree(shards: Mapping[str, Shard]) -> Agreement:
    """Decide by what every host has, in the hosts' order. Pure, so that all hosts come to the same decision.

    A host without rows is left out, as in SageMaker's own container: S3 hands a shard out by whole files, and there may
    be fewer files than hosts.

    Raises:
        Disagreement: the shards do not go together.
    """
    rich = {name: shard for name, shard in shards.items() if shard.rows}
    if not rich:
        raise Disagreement(f"none of the hosts {', '.join(shards)} has a row in the channel train")
    first, reference = next(iter(rich.items()))
    for name, shard in rich.items():
        if shard.content_type != reference.content_type:
            raise Disagreement(
                f"the channel train is {reference.content_type} on {first} and {shard.content_type} on {name}: "
                "give all of its files the same format"
            )
        for what, one, other in (
            ("sparse rows", reference.sparse, shard.sparse),
            *((f"a {column}", column in reference.columns, column in shard.columns) for column in ("weight", "qid")),
        ):
            if one != other:
                having, lacking = (first, name) if one else (name, first)
                raise Disagreement(
                    f"the channel train has {what} on {having} and not on {lacking}: give all of its files the same layout"
                )
        if shard.width != reference.width and not shard.sparse:
            raise Disagreement(
                f"the rows have {reference.width} features on {first} and {shard.width} on {name}: "
                "give every file of the channel train the same columns"
            )
        if shard.feature_names != reference.feature_names:
            raise Disagreement(_names_differ(first, reference, name, shard))
    return Agreement(
        hosts=tuple(rich),
        width=max(shard.width for shard in rich.values()),
        feature_names=reference.feature_names,
        warnings=(*_channels(rich), *_idle(shards, rich), *_replicated(rich)),
    )


def _names_differ(first: str, one: Shard, second: str, other: Shard) -> str:
    names, others = one.feature_names or (), other.feature_names or ()
    for number, (a, b) in enumerate(zip(names, others, strict=False), start=1):
        if a != b:
            return (
                f"feature {number} is {a!r} on {first} and {b!r} on {second}: "
                "give every file of the channel train the same columns in the same order"
            )
    return f"there are {len(names)} feature names on {first} and {len(others)} on {second}: give every file the same columns"


def _channels(rich: Mapping[str, Shard]) -> list[str]:
    """Refuse a channel that only some hosts have: each round's metric is made by all of them together."""
    for channel in sorted({channel for shard in rich.values() for channel in shard.channels}):
        without = [name for name, shard in rich.items() if channel not in shard.channels]
        if without:
            having = [name for name in rich if name not in without]
            raise Disagreement(
                f"the channel {channel} has rows on {', '.join(having)} and none on {', '.join(without)}: give it at least "
                "as many files as there are hosts, or the S3DataDistributionType FullyReplicated"
            )
    return []


def _idle(shards: Mapping[str, Shard], rich: Mapping[str, Shard]) -> list[str]:
    idle = [name for name in shards if name not in rich]
    if not idle:
        return []
    unused = sorted({channel for name in idle for channel in shards[name].channels})
    if unused:
        raise Disagreement(
            f"{', '.join(idle)} got no rows of the channel train, and rows of {', '.join(unused)} that would be left out: "
            "give train at least as many files as there are hosts, or the job fewer hosts"
        )
    return [
        f"Warning: {', '.join(idle)} got no rows of the channel train and will only wait for the others. "
        "Give the channel at least as many files as there are hosts, or the job fewer hosts."
    ]


def _replicated(rich: Mapping[str, Shard]) -> list[str]:
    fingerprints = {shard.sha256 for shard in rich.values()}
    if len(rich) < 2 or len(fingerprints) > 1 or "" in fingerprints:
        return []
    return [
        f"Warning: all {len(rich)} hosts have the same rows in the channel train, so each row counts {len(rich)} times, and the "
        "job is no faster than on one host. Set the channel's S3DataDistributionType to ShardedByS3Key."
    ]


def check_groups(groups: Mapping[str, NDArray[np.int64]]) -> None:
    """Refuse a ranking group that is split over hosts: each would rank its part alone, which is another question.

    Args:
        groups: each host's query ids, each id once.

    Raises:
        Disagreement: a group has rows on two hosts.
    """
    names = list(groups)
    everywhere = np.concatenate([groups[name] for name in names])
    where = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
    order = np.argsort(everywhere, kind="stable")
    twice = np.flatnonzero(everywhere[order][1:] == everywhere[order][:-1])
    if len(twice):
        at = int(twice[0])
        one, other = (names[where[order[position]]] for position in (at, at + 1))
        raise Disagreement(
            f"the rows of query {everywhere[order[at]]} are split over {one} and {other} ({len(twice)} queries are): keep each "
            "query's rows in one file"
        )


def combined_sha256(parts: Sequence[str]) -> str:
    """One fingerprint for what is spread over hosts: of the hosts' fingerprints in the hosts' order, or the only one."""
    return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()
