"""What training may be told, with bounds. The API sends every value as a string."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .contract import InputError
from .table import number, shown

# Keys that SageMaker's tuning and its toolkits add for themselves.
_RESERVED = ("_tuning_", "sagemaker_")


@dataclass(frozen=True)
class Hyperparameters:
    """Names as SageMaker's built-in XGBoost has them. The defaults are a usual start, not the result of tuning.

    `num_round` is an upper limit: training ends when `early_stopping_rounds` rounds in a row did not
    lower the RMSE on the validation channel, and the model keeps the trees up to the best round.
    """

    max_depth: int = 5
    eta: float = 0.2
    gamma: float = 4.0
    min_child_weight: float = 6.0
    subsample: float = 0.8
    num_round: int = 200
    early_stopping_rounds: int = 10
    seed: int = 0


# (smallest, largest, is the smallest itself allowed)
_BOUNDS: dict[str, tuple[float, float, bool]] = {
    "max_depth": (1, 32, True),
    "eta": (0, 1, False),
    "gamma": (0, 1e9, True),
    "min_child_weight": (0, 1e9, True),
    "subsample": (0, 1, False),
    "num_round": (1, 100_000, True),
    "early_stopping_rounds": (1, 100_000, True),
    "seed": (0, 2**31 - 1, True),
}


def parse(given: Mapping[str, Any], source: str = "hyperparameters.json") -> Hyperparameters:
    """The hyperparameters, defaults where none is given.

    Raises:
        InputError: an unknown name, a value that is no number, or one out of bounds; all of them at once.
    """
    kinds = {field.name: type(field.default) for field in fields(Hyperparameters)}
    values: dict[str, Any] = {}
    problems = []
    for name, value in given.items():
        if name.startswith(_RESERVED):
            continue
        if name not in kinds:
            problems.append(f"{name}: unknown, allowed are {', '.join(kinds)}")
            continue
        try:
            values[name] = _value(name, kinds[name], str(value))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise InputError(f"{source}: {'; '.join(problems)}")
    return Hyperparameters(**values)


def _value(name: str, kind: type, text: str) -> float:
    smallest, largest, inclusive = _BOUNDS[name]
    value = number(text)
    if kind is int and not value.is_integer():
        raise ValueError(f"{shown(text)} is not a whole number")
    if not (smallest <= value <= largest) or (value == smallest and not inclusive):
        above = f"from {smallest:g}" if inclusive else f"more than {smallest:g}"
        raise ValueError(f"must be {above} up to {largest:.10g}, got {shown(text)}")
    return int(value) if kind is int else value
