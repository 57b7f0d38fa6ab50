"""Where the versions of a model are kept, with what they scored and whether they were approved."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct


class ModelRegistry(cdk.Resource):
    """The versions of one model, numbered from 1.

    It has a name, as its API wants one; so a registry that was retained must be imported, or deleted, before
    a stack can create it again. SageMaker refuses to delete one that still holds versions.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        model_package_group_name: str,
        description: str,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        self.model_package_group_name = model_package_group_name
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Resource",
            model_package_group_name=model_package_group_name,
            model_package_group_description=description,
        )
        group.apply_removal_policy(removal_policy)
        self.model_package_group_arn = group.attr_model_package_group_arn

    def model_package_arn(self, version: int) -> str:
        """The ARN of one version. It is known without asking, so a pinned version needs no look-up at synth."""
        return self._arn("model-package", f"{self.model_package_group_name}/{version}")

    def grant_register(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets a pipeline add versions, and read them back."""
        return self._grant(
            grantee, "sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage", "sagemaker:AddTags"
        )

    def grant_approve(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets somebody look at the versions, and approve or reject them."""
        return self._grant(
            grantee,
            "sagemaker:DescribeModelPackage",
            "sagemaker:DescribeModelPackageGroup",
            "sagemaker:ListModelPackages",
            "sagemaker:UpdateModelPackage",
        )

    def _grant(self, grantee: iam.IGrantable, *actions: str) -> iam.Grant:
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=list(actions),
            resource_arns=[
                self._arn("model-package-group", self.model_package_group_name),
                self._arn("model-package", f"{self.model_package_group_name}/*"),
            ],
        )

    def _arn(self, resource: str, name: str) -> str:
        return cdk.Stack.of(self).format_arn(service="sagemaker", resource=resource, resource_name=name)
