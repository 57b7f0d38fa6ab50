"""Tells XGBoost's complaints apart: those about data and parameters are the user's, the rest is ours or the machine's."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xgboost

from ..contract import AlgorithmError, UserError
from .library import first_line

# Parts of what XGBoost says of data and parameters. Its checks carry no kind of their own, only words.
_OF_THE_USER = (
    "label",
    "Label",
    "num_class",
    "base_score",
    "feature_names mismatch",
    "feature_types",
    "categor",
    "Categor",
    "constraint",
    "Invalid Input",
    "should be greater",
    "should be less",
    "must be",
    "not supported",
    "not yet supported",
    "not yet implemented",
    "Unknown ",
    "AUC",
    "max_bin",
    "weight",
    "group",
    "Input data contains",
    "at least 1 column",
    "quantile",
    "alpha",
)
_OF_MEMORY = (
    "bad_alloc",
    "bad_malloc",
    "Failed to allocate",
    "Memory allocation",
    "Cannot allocate memory",
    "out of memory",
    "bad allocation",
)


@contextmanager
def told_apart(doing: str) -> Iterator[None]:
    """Raise what XGBoost says as UserError or AlgorithmError, with its first line and without its native stack.

    Args:
        doing: what was being done, to begin the message with: `training`.
    """
    try:
        yield
    except MemoryError as error:
        raise AlgorithmError(f"{doing}: {_more_memory(str(error) or 'out of memory')}") from error
    except xgboost.core.XGBoostError as error:
        said = first_line(error)
        if any(part in said for part in _OF_MEMORY):
            raise AlgorithmError(f"{doing}: {_more_memory(said)}") from error
        if any(part in said for part in _OF_THE_USER):
            raise UserError(f"{doing}: XGBoost says: {said}") from error
        raise AlgorithmError(f"{doing}: XGBoost says: {said}") from error


@contextmanager
def saving_to(folder: Path) -> Iterator[None]:
    """Raise a full disk as an AlgorithmError that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise AlgorithmError(
            f"{error.filename or folder}: {error.strerror}. Give the job a larger VolumeSizeInGB"
        ) from error


def _more_memory(said: str) -> str:
    return f"{said}. Choose an instance type with more memory, or a smaller max_bin or max_depth"
