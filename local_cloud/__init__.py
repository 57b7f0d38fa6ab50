"""The local cloud: SageMaker on top of MiniStack, for laptops and for CI.

Runs in an environment of its own (`.venv-local-cloud`), imports nothing of the CDK application, and is reached by any
AWS client over HTTPS on a loopback address.
"""
