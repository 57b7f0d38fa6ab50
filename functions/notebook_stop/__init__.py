"""Stops the notebooks of an environment when its budget is spent."""
