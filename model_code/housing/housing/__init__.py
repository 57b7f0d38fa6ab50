"""The housing model: one program that SageMaker starts to preprocess, train, evaluate and serve."""
