"""Inference components: copies of models that share the instances of an endpoint."""
