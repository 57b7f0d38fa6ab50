"""How far numbers are from the truth, in the label's own unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def metrics(truth: Numbers, predicted: Numbers) -> dict[str, float]:
    """Mean absolute error, mean squared error, its root, and the coefficient of determination.

    R2 is 1 for perfect predictions and 0 for always answering the mean of `truth`. Where `truth` does not
    vary it is undefined; then it is 1 for perfect predictions and 0 otherwise, as scikit-learn has it.
    """
    error = predicted - truth
    mse = float(np.mean(error**2))
    spread = float(np.mean((truth - truth.mean()) ** 2))
    r2 = 1 - mse / spread if spread else float(mse == 0)
    return {"mae": float(np.mean(np.abs(error))), "mse": mse, "rmse": mse**0.5, "r2": r2}
