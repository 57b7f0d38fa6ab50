"""What is deployed together: one file per stack."""

from stacks.foundation import FoundationStack
from stacks.serving import ServingStack
from stacks.training import TrainingStack

__all__ = ["FoundationStack", "ServingStack", "TrainingStack"]
