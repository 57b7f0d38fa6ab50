"""SageMaker's channels as XGBoost trains on them: found, read once, and made to agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...contract import Paths, UserError, log
from .channel import Channel, join
from .declarations import CODE, find
from .files import some
from .loading import difference, load
from .readers import Layout
from .table import Table

__all__ = ["Channel", "Channels", "open_channels"]


@dataclass(frozen=True)
class Channels:
    """The channels of a job. Iterating gives those that hold rows: train, validation, test, as far as they are there."""

    train: Channel
    validation: Channel | None = None
    test: Channel | None = None
    code: Path | None = None

    def __iter__(self) -> Iterator[Channel]:
        return iter([channel for channel in (self.train, self.validation, self.test) if channel is not None])

    @property
    def num_features(self) -> int:
        return self.train.num_features

    def combined(self) -> Channel:
        """The rows of train and then validation: SageMaker's XGBoost cross-validates on both."""
        if self.validation is None:
            return self.train
        return join(self.train, self.validation)


def open_channels(
    paths: Paths,
    *,
    csv_weights: bool = False,
    feature_names: Sequence[str] | None = None,
    may_be_empty: bool = False,
) -> Channels:
    """Find the channels of a job and read them, each file once.

    What is there comes from `input/config/inputdataconfig.json`; where that is missing, on a laptop, from the folders and what
    their files look like. One line for each channel goes to the log.

    Args:
        csv_weights: the second column of CSV holds instance weights. A file of another channel than train may lack it.
        feature_names: names for the features, for formats that have none of their own, or other ones than theirs.
        may_be_empty: a channel without rows is no mistake: with several hosts, one may get no file.

    Raises:
        UserError: an unknown channel, no rows, or anything in a file that cannot be trained on.
    """
    found = find(paths, may_be_empty=may_be_empty)
    code = found.pop(CODE, None)
    channels: dict[str, Channel] = {}
    for name, declared in found.items():
        train = channels.get("train")
        layout = Layout(csv_weights, None if train is None or not train.rows else train.num_features)
        table = load(declared, layout)
        log(table.line(name, declared.format))
        if not table.rows.row_count and not may_be_empty:
            raise UserError(f"{name}: not one row in {some(table.files)}")
        if table.rows.row_count and not table.rows.width and not may_be_empty:
            raise UserError(f"{name}: not one feature in {some(table.files)}, only labels")
        _warn_of_columns_without_a_value(name, table)
        channels[name] = Channel(name, declared.format, table, table.names)
    _agree([channel for channel in channels.values() if channel.rows], feature_names)
    opened = Channels(**channels, code=None if code is None else code.folder)
    if opened.validation is not None and opened.validation.rows and opened.validation.sha256 == opened.train.sha256:
        log("Warning: train and validation hold the same bytes, so validation says nothing about new rows")
    return opened


def _warn_of_columns_without_a_value(name: str, table: Table) -> None:
    """In dense rows that is rarely meant: a comma at the end of each line makes such a column."""
    if table.rows.is_sparse or table.summary is None or not table.rows.row_count:
        return
    columns = tuple(str(column) for column in np.flatnonzero(table.summary.count == 0))
    if columns:
        log(f"Warning: {name}: no row has a value in feature {some(columns)}, counted from 0")


def _refuse_names(names: Sequence[str], where: str) -> None:
    """XGBoost's own rules, which it tells without saying where.

    Raises:
        UserError: a name is given twice, or has a sign in it that XGBoost's model files cannot hold.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{where}: two features are named {name!r:.60}")
        if not name or set(name) & set("[]<"):
            raise UserError(
                f"{where}: a feature is named {name!r:.60}; a name must not be empty or have [, ] or < in it"
            )
        seen.add(name)


def _agree(channels: list[Channel], names: Sequence[str] | None) -> None:
    """Give all channels one width and the same names.

    Raises:
        UserError: they do not go together.
    """
    if not channels:
        return
    first = channels[0]
    width = (
        max(channel.num_features for channel in channels if channel.is_sparse)
        if first.is_sparse
        else first.num_features
    )
    if names is not None:
        _refuse_names(names, "feature_names")
        if (len(names) < width) if first.is_sparse else (len(names) != width):
            raise UserError(f"feature_names: has {len(names)} names, the channel {first.name} has {width} features")
        width = len(names)
    elif first.feature_names is not None:
        _refuse_names(first.feature_names, first.files[0])
    for channel in channels:
        if not channel.is_sparse and channel.num_features != width:
            raise UserError(
                f"{channel.place(0)}: has {channel.num_features} features, {first.place(0)} has {width}. "
                "Channels must have the same columns"
            )
        if (
            names is None
            and channel.feature_names != first.feature_names
            and None
            not in (
                channel.feature_names,
                first.feature_names,
            )
        ):
            raise UserError(
                f"{channel.files[0]}: its columns are named otherwise than those of {first.files[0]}: "
                f"{difference(channel.feature_names or (), first.feature_names or ())}"
            )
        channel.widen(width)
        channel.feature_names = first.feature_names if names is None else tuple(names)
