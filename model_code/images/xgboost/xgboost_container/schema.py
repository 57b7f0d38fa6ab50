"""What a model's rows look like: how wide they are, and what their columns are called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schema:
    """The columns of a model, in the order in which it was trained.

    Attributes:
        num_features: how many columns a row has.
        feature_names: their names, or None where training knew none (AWS's CSV has no header).
        feature_types: XGBoost's type of each (`float`, `int`, `i`, `q`, `c` for a category's code), or None.
    """

    num_features: int
    feature_names: tuple[str, ...] | None = None
    feature_types: tuple[str, ...] | None = None
