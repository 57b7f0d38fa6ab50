"""What CloudFormation will do to each resource, and what that costs in data and in time that callers wait."""

from sagestack.review.changes.comparison import change_notes, resource_changes

__all__ = ["change_notes", "resource_changes"]
