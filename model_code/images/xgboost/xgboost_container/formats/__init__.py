"""Bytes to numbers and back, for training and serving alike: one module per format."""
