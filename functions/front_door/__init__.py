"""Answers HTTP requests with an endpoint's predictions."""
