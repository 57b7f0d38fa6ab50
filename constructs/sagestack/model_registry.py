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

    Attributes:
        model_package_group_name: the name as it was given.
        model_package_group_arn: a token until deployment.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        model_package_group_name: str,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        """Makes the registry.

        Args:
            model_package_group_name: 1 to 63 letters, digits and single hyphens; SageMaker refuses anything else:
                https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackageGroup.html
            removal_policy: what becomes of the versions when the stack is deleted, or the name changes. Required,
                since losing every version must be somebody's decision.
        """
        super().__init__(scope, id)
        self.model_package_group_name = model_package_group_name
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Resource",
            model_package_group_name=model_package_group_name,
            # Says nothing that can change: another text would replace the group, and fail, as its name is taken.
            # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sagemaker-modelpackagegroup.html
            model_package_group_description=f"The versions of {model_package_group_name}; each describes itself.",
        )
        group.apply_removal_policy(removal_policy)
        self.model_package_group_arn = group.attr_model_package_group_arn
        self._group = group
        self._policy = iam.PolicyDocument()

    def model_package_arn(self, version: int) -> str:
        """The ARN of one version, a number from 1; whether the registry has it shows at deployment.

        It is known without asking, so a pinned version needs no look-up at synth.
        """
        return self._arn("model-package", f"{self.model_package_group_name}/{version}")

    def grant_register(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets a pipeline add versions, in any state of approval, and read them back."""
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

    def grant_deploy_from(self, account: str) -> None:
        """Lets another account look at the versions and make models of them, as far as its own policies let it.

        The statements are those of SageMaker's documentation, without what registers, approves or deletes:
        https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy-xaccount.html
        """
        principal = iam.AccountPrincipal(account)
        self._policy.add_statements(
            iam.PolicyStatement(
                sid=f"Group{account}",
                principals=[principal],
                actions=["sagemaker:DescribeModelPackageGroup"],
                resources=[self._arn("model-package-group", self.model_package_group_name)],
            ),
            iam.PolicyStatement(
                sid=f"Versions{account}",
                principals=[principal],
                actions=["sagemaker:CreateModel", "sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"],
                resources=[self._arn("model-package", f"{self.model_package_group_name}/*")],
            ),
        )
        self._group.model_package_group_policy = self._policy

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
