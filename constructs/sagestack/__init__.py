"""Sagestack: from a folder of model code to a served and watched SageMaker endpoint."""
