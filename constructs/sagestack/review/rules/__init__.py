"""Which rules a change breaks: those of cdk-nag, cfn-lint and CDK's validation, and our own."""

from sagestack.review.rules.check import CheckFailed, check
from sagestack.review.rules.compare import compare, no_longer_needed
from sagestack.review.rules.found import Checked, Found

__all__ = ["CheckFailed", "Checked", "Found", "check", "compare", "no_longer_needed"]
