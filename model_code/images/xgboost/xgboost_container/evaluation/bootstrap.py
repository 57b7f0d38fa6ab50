"""How sure a metric is: its spread over samples of the rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

RESAMPLES = 1000
# More rows need fewer samples for the same certainty about a smaller spread, and must not take minutes.
ROWS_IN_ALL = 20_000_000
FEWEST = 20


def with_standard_deviation(
    metrics: Callable[[Numbers, Numbers], dict[str, float]], truth: Numbers, predicted: Numbers
) -> dict[str, dict[str, float]]:
    """The metrics in the form of SageMaker's model quality reports: each with a value and a standard deviation.

    The deviation is that of up to 1,000 bootstrap samples of the rows, drawn with a fixed seed: Efron, "Bootstrap
    Methods: Another Look at the Jackknife" (1979). (SageMaker Model Monitor takes five samples of 80 %, and none below
    200 rows: too rough for a small test set.)
    """
    generator = np.random.default_rng(0)
    rows = len(truth)
    samples = [
        metrics(truth[chosen], predicted[chosen])
        for chosen in (
            generator.integers(0, rows, rows) for _ in range(max(FEWEST, min(RESAMPLES, ROWS_IN_ALL // rows)))
        )
    ]
    return {
        name: {"value": value, "standard_deviation": float(np.std([sample[name] for sample in samples]))}
        for name, value in metrics(truth, predicted).items()
    }
