"""`make bench`: what docs/benchmarks.md states, measured."""

import sys
from pathlib import Path

# Where pytest, too, looks for the program of the XGBoost image (pyproject.toml).
sys.path.insert(0, str(Path(__file__).parents[2] / "model_code/images/xgboost"))
