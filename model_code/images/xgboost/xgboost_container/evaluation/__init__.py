"""Scores a trained model on held-out rows."""
