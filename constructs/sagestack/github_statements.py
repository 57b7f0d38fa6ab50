"""What the jobs of GitHub Actions may do in an account, as statements of a policy: deploy one environment, or look at it."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.policy_statements import QUALIFIER, Scope, allow
from sagestack.reading_actions import READING, READING_A_WORKBENCH
from sagestack.settings import EnvironmentNames

_DEPLOYING_ROLES = ("deploy", "file-publishing", "image-publishing", "lookup")


class GitHubStatements(Scope):
    """The statements for one environment."""

    def __init__(self, stack: cdk.Stack, names: EnvironmentNames, registries: Mapping[str, str]) -> None:
        """Begins with what all statements need.

        Args:
            stack: whose account and region are meant.
            names: of the environment.
            registries: whose versions may be listed: for each model, which environment of this account registers them.
        """
        super().__init__(stack, names)
        self._registries = registries

    def deploying(self) -> list[iam.PolicyStatement]:
        """What the CDK CLI deploys with: it becomes the roles of `cdk bootstrap`, which are as narrow as they are."""
        account, region = self.stack.account, self.stack.region
        roles = [self.iam("role", f"cdk-{QUALIFIER}-{role}-role-{account}-{region}") for role in _DEPLOYING_ROLES]
        return [allow("sts", ["AssumeRole"], roles), *self._looking_first()]

    def looking_for_drift(self, *, has_workbench: bool) -> list[iam.PolicyStatement]:
        """What `sagestack drift` asks. It reads settings: no object, no secret, nothing that is encrypted.

        Args:
            has_workbench: whether the environment has one, to be looked at, too.
        """
        return [
            *self._looking_first(),
            allow(
                "cloudformation",
                [
                    "DescribeStackResourceDrifts",
                    "DetectStackDrift",
                    "DetectStackResourceDrift",
                    "GetTemplate",
                    "ListStackResources",
                ],
                self._stacks(self.names.stack_pattern),
            ),
            # All stacks are asked for, to find those that nobody deploys any more; the others take no resource.
            allow(
                "cloudformation",
                ["BatchDescribeTypeConfigurations", "DescribeStackDriftDetectionStatus", "DescribeStacks"],
                "*",
            ),
            allow("ssm", ["GetParameters", "ListTagsForResource"], self._parameter(self._own_parameters)),
            # CloudFormation compares with its caller's rights.
            # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
            iam.PolicyStatement(actions=[*READING, *(READING_A_WORKBENCH if has_workbench else ())], resources=["*"]),
        ]

    def _looking_first(self) -> list[iam.PolicyStatement]:
        """What `sagestack` itself looks at before it deploys: the stacks, our parameters, the versions of the models."""
        sources = {model: EnvironmentNames(name).model(model) for model, name in self._registries.items()}
        others = [
            source.model_package_group_name_parameter.removeprefix("/")
            for model, source in sources.items()
            if self._registries[model] != self.names.environment
        ]
        versions = [
            self.arn("sagemaker", kind, name)
            for group in (source.model_package_group for source in sources.values())
            for kind, name in (("model-package-group", group), ("model-package", f"{group}/*"))
        ]
        return [
            allow(
                "cloudformation",
                ["DescribeStacks"],
                [self._stacks(name) for name in (self.names.stack_pattern, "CDKToolkit")],
            ),
            # It takes no resource.
            allow("cloudformation", ["ListStacks"], "*"),
            allow(
                "ssm",
                ["GetParameter"],
                [
                    self._parameter(name)
                    for name in (self._own_parameters, f"cdk-bootstrap/{QUALIFIER}/version", *others)
                ],
            ),
            *([allow("sagemaker", ["ListModelPackages"], versions)] if versions else []),
        ]

    @property
    def _own_parameters(self) -> str:
        return f"sagestack/{self.names.environment}/*"

    def _parameter(self, name: str) -> str:
        return self.arn("ssm", "parameter", name)

    def _stacks(self, name: str) -> str:
        """Stacks have ids after their names."""
        return self.arn("cloudformation", "stack", f"{name}/*")
