"""Fits a booster as SageMaker training asks for it."""

from .. import without_scipy  # noqa: F401  (before any module here imports xgboost)
