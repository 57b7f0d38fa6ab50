"""Every AWS::SageMaker::* type that stacks can have here, and what makes each: the parts of SageMaker bring theirs."""

from __future__ import annotations

from local_cloud.sagemaker import cloudformation
from local_cloud.sagemaker.cloudformation import Provisioner, ResourceType
from local_cloud.sagemaker.notebooks import notebook_cloudformation
from local_cloud.sagemaker.studio import studio_cloudformation

RESOURCE_TYPES: dict[ResourceType, type[Provisioner]] = {
    **dict.fromkeys(cloudformation.RESOURCE_TYPES, Provisioner),
    **notebook_cloudformation.RESOURCE_TYPES,
    **studio_cloudformation.RESOURCE_TYPES,
}
"""The types, and the class of what creates, updates and deletes their resources."""
