"""What the XGBoost that is installed takes: asked of the library itself, on eight made-up rows."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost

_STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\]\s+(?:WARNING:\s+)?\S+:\d+:\s*")


def first_line(error: BaseException | str) -> str:
    """XGBoost's complaint without the clock, the source file and the native stack around it."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [_STAMP.sub("", line) for line in lines[: lines.index("Stack trace:") if "Stack trace:" in lines else None]]
    return next((line for line in said if line), type(error).__name__)


@functools.cache
def objectives() -> tuple[str, ...]:
    """Every objective of the installed library, by name."""
    try:
        _one_round({"objective": "?"}, "reg:squarederror")
    except xgboost.core.XGBoostError as error:
        found = re.findall(r"Objective candidate: (\S+)", str(error))
        if found:
            return tuple(sorted(found))
    raise RuntimeError("XGBoost no longer lists its objectives when it is asked for one that it has not")


@functools.cache
def has_metric(name: str) -> bool:
    """Whether the installed library knows a metric by this name (with what sets it, as in `ndcg@5`)."""
    try:
        _one_round({"eval_metric": name}, "rank:ndcg")
    except xgboost.core.XGBoostError as error:
        # Any other complaint is about the rows, which suit one metric and not another.
        return "Unknown metric" not in str(error)
    return True


def complaint(params: Mapping[str, Any], objective: str, num_class: int) -> str | None:
    """What the installed library says against these parameters, or None when it trains with them.

    Constraints per feature are left out: they are about the data, which has not been read yet.
    """
    known = {name: value for name, value in params.items() if not name.endswith("_constraints")}
    try:
        _one_round({**known, "nthread": 1, "verbosity": 0}, objective, num_class)
    except (xgboost.core.XGBoostError, ValueError) as error:
        return first_line(error)
    return None


def _one_round(params: Mapping[str, Any], objective: str, num_class: int = 0) -> None:
    rows = _rows(objective, num_class)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        booster = xgboost.Booster({"objective": objective, "nthread": 1, "verbosity": 0, **params}, [rows])
        booster.update(rows, 0)
        booster.eval_set([(rows, "rows")], 0)


def _rows(objective: str, num_class: int) -> xgboost.DMatrix:
    values = np.arange(32, dtype=np.float32).reshape(8, 4) % 7
    labels = np.arange(8, dtype=np.float32) % 2
    if objective.startswith("multi:"):
        labels = np.arange(8, dtype=np.float32) % max(num_class, 1)
    elif objective in ("reg:gamma", "survival:cox", "survival:aft"):
        labels = labels + 1
    rows = xgboost.DMatrix(values, label=labels, nthread=1)
    if objective.startswith("rank:"):
        rows.set_info(qid=np.repeat(np.arange(2), 4))
    if objective == "survival:aft":
        rows.set_info(label_lower_bound=labels, label_upper_bound=labels)
    return rows
