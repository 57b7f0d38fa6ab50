"""Application Auto Scaling of the local cloud, for what SageMaker lets it scale; MiniStack has none."""
