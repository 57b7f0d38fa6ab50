"""Measures how much the test RMSE depends on the split: where the quality bound in model.yaml comes from.

    python -m housing.measure_quality

Not part of the image. It splits, trains and scores as the steps do, once per seed of the split, and never
looks for a seed that scores well: the default seed is 0.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np

from .hyperparameters import Hyperparameters
from .metrics import regression_metrics
from .preprocess import Row, read_rows, split
from .train import Channel, fit

DATA = Path(__file__).parents[1] / "data" / "housing.csv"


def score(seed: int) -> dict[str, float]:
    """The metrics on the test rows of one split, with the default hyperparameters."""
    parts = split(read_rows([DATA]), seed)
    with contextlib.redirect_stdout(io.StringIO()):  # the line per round
        booster, _ = fit(_channel(parts["train"]), _channel(parts["validation"]), Hyperparameters())
    test = _channel(parts["test"])
    return regression_metrics(test.target, booster.predict(test.matrix()).astype(np.float64))


def _channel(rows: list[Row]) -> Channel:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.csv")
        file.write_text("".join(",".join(row.cells) + "\n" for row in rows))
        return Channel.read([file])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=60, help="how many splits (default 60)")
    seeds = parser.parse_args().seeds
    print("seed   rmse    mae     r2")
    scores = []
    for seed in range(seeds):
        scores.append(score(seed))
        print(f"{seed:4d}  {scores[-1]['rmse']:5.3f}  {scores[-1]['mae']:5.3f}  {scores[-1]['r2']:5.3f}")
    for name in ("rmse", "mae", "r2"):
        values = np.array([item[name] for item in scores])
        print(
            f"{name:4s}  mean {values.mean():.3f}  standard deviation {values.std():.3f}"
            f"  lowest {values.min():.3f}  median {np.median(values):.3f}  highest {values.max():.3f}"
        )


if __name__ == "__main__":
    main()
