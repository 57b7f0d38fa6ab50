"""Pipelines: their definitions, their executions, their steps."""
