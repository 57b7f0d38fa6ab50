"""Drawings of a change: the stacks with what changes in them, and each training pipeline."""

from sagestack.review.pictures.drawing import pictures

__all__ = ["pictures"]
