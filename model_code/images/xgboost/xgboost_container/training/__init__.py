"""Fits a booster as SageMaker training asks for it."""
