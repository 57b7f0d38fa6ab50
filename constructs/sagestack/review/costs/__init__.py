"""What an environment costs in a month, from its templates: what is paid while it idles, and what comes with the stated load."""

from sagestack.review.costs.estimate import estimate
from sagestack.review.costs.expected import expected_load

__all__ = ["estimate", "expected_load"]
