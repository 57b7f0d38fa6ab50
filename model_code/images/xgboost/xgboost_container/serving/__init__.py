"""Answers SageMaker hosting."""
