"""Deleting a Studio domain leaves nothing behind that was not asked to stay."""
