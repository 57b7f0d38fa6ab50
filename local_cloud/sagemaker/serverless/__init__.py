"""Serverless endpoints: processes that start with a request and end when nobody asks."""
