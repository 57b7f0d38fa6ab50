"""A SageMaker Studio domain that belongs to its stack: with its people, spaces, scripts and images, and gone when it goes."""
