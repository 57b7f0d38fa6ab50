"""Asynchronous endpoints: a queue in front of instances, answers in S3."""
