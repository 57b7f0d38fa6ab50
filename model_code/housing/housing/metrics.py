"""How far predictions are from the truth, in thousands of dollars, and how sure that number is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

RESAMPLES = 1000


def regression_metrics(truth: Numbers, predicted: Numbers) -> dict[str, float]:
    """Mean absolute error, mean squared error, its root, and the coefficient of determination.

    R2 is 1 for perfect predictions and 0 for always answering the mean of `truth`. Where `truth` does not
    vary it is undefined; then it is 1 for perfect predictions and 0 otherwise, as scikit-learn has it.
    """
    error = predicted - truth
    mse = float(np.mean(error**2))
    spread = float(np.mean((truth - truth.mean()) ** 2))
    r2 = 1 - mse / spread if spread else float(mse == 0)
    return {"mae": float(np.mean(np.abs(error))), "mse": mse, "rmse": mse**0.5, "r2": r2}


def with_standard_deviation(truth: Numbers, predicted: Numbers) -> dict[str, dict[str, float]]:
    """The metrics in the form of SageMaker's model quality reports: each with a value and a standard deviation.

    The deviation is that of 1,000 bootstrap samples of the rows, drawn with a fixed seed. (SageMaker Model
    Monitor takes five samples of 80 % each, and none below 200 rows: too rough for a test set of about 76.)
    """
    values = regression_metrics(truth, predicted)
    generator = np.random.default_rng(0)
    rows = len(truth)
    samples = [
        regression_metrics(truth[chosen], predicted[chosen])
        for chosen in (generator.integers(0, rows, rows) for _ in range(RESAMPLES))
    ]
    return {
        name: {"value": value, "standard_deviation": float(np.std([sample[name] for sample in samples]))}
        for name, value in values.items()
    }
