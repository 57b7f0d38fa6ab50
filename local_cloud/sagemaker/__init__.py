"""The SageMaker service of the local cloud: its API, its jobs, pipelines, registry and endpoints."""
