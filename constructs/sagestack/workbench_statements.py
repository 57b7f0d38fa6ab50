"""What CloudFormation does with each kind of resource that the workbench's stack has, as statements of a policy.

The actions are what CloudFormation's own resource handlers ask for, as far as our stack uses them, and what AWS asks besides:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html (`handlers`)
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.network_statements import NetworkStatements
from sagestack.policy_statements import TAGS, Scope, allow
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import Workbench
from sagestack.settings.workbench.notebook import Repository

_MOST_SECRETS = 10
"""What a managed policy of 6,144 characters has room for, beside the rest:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""


class WorkbenchStatements(Scope):
    """The statements for the workbench of one environment.

    What carries the environment's name is limited to it. What AWS numbers (networks, Studio domains, repositories) cannot be, so
    that it is allowed only where the workbench has such a thing.
    """

    def __init__(self, stack: cdk.Stack, names: EnvironmentNames, workbench: Workbench) -> None:
        """Begins with what all statements need.

        Args:
            stack: whose account and region are meant.
            names: of the environment that is deployed.
            workbench: its settings.
        """
        super().__init__(stack, names)
        self._workbench, self._network = workbench, NetworkStatements(stack, names, workbench.network)

    def working(self) -> list[iam.PolicyStatement]:
        """Notebooks, Studio, schedules, budgets, and a network of its own."""
        return [
            *self._notebooks(),
            *self._repositories(),
            *self._studio(),
            *self._scheduled(),
            *self._cost(),
            *self._network.own(),
        ]

    def base(self, boundary_arn: str | None) -> list[iam.PolicyStatement]:
        """What that stands on: more of roles, keys, secrets and security groups than an environment without a workbench needs.

        Args:
            boundary_arn: without which no role is given rights; None where the environment does without.

        Raises:
            ValueError: repositories have more secrets than there is room for.
        """
        return [
            *self._large_roles(boundary_arn),
            *self._handing_over(),
            *self._secrets(),
            *self._network.security_groups(),
        ]

    def _handing_over(self) -> list[iam.PolicyStatement]:
        services = ["scheduler", *(["vpc-flow-logs"] if self._workbench.network.cidr else [])]
        return [
            allow(
                "iam",
                ["PassRole"],
                self.iam("role", self.names.stack_pattern),
                {"StringEquals": {"iam:PassedToService": [f"{service}.amazonaws.com" for service in services]}},
            ),
            # What an instance's volume and a domain's file system are encrypted with; only when these services ask for it.
            # https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html
            allow(
                "kms",
                ["Decrypt", "GenerateDataKeyWithoutPlaintext"],
                self.arn("kms", "key", "*"),
                {
                    "StringEquals": {
                        "kms:ViaService": [
                            f"{service}.{self.stack.region}.amazonaws.com"
                            for service in ("sagemaker", "elasticfilesystem")
                        ]
                    }
                },
            ),
        ]

    def _large_roles(self, boundary_arn: str | None) -> list[iam.PolicyStatement]:
        """Where a role may do more than an inline policy has room for, CDK puts the rest into managed ones, called so."""
        policies = self.iam("policy", f"{self.names.workbench_stack}-*Overflow*")
        bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary_arn}} if boundary_arn else {}
        return [
            allow(
                "iam",
                [
                    *(f"{verb}Policy{what}" for verb in ("Create", "Delete", "Get") for what in ("", "Version")),
                    *("ListEntitiesForPolicy", "ListPolicyVersions"),
                ],
                policies,
            ),
            allow(
                "iam",
                ["AttachRolePolicy"],
                self.iam("role", self.names.stack_pattern),
                {**bounded, "ArnLike": {"iam:PolicyARN": policies}},
            ),
        ]

    def _notebooks(self) -> list[iam.PolicyStatement]:
        kinds = ("NotebookInstance", "NotebookInstanceLifecycleConfig")
        return [
            allow(
                "sagemaker",
                [
                    *(f"{verb}{kind}" for kind in kinds for verb in ("Create", "Delete", "Describe", "Update")),
                    # To change one, CloudFormation stops it and starts it again.
                    *(f"{verb}NotebookInstance" for verb in ("Start", "Stop")),
                    *("AddTags", "DeleteTags", "ListTags"),
                ],
                [
                    self.arn("sagemaker", kind, self.names.stack_pattern)
                    for kind in ("notebook-instance", "notebook-instance-lifecycle-config")
                ],
            ),
            # SageMaker makes its network interface as whoever asks for the instance.
            allow(
                "ec2",
                [
                    *(f"{verb}NetworkInterface{what}" for verb in ("Create", "Delete") for what in ("", "Permission")),
                    *(f"Describe{what}" for what in ("DhcpOptions", "NetworkInterfaces", "Subnets", "Vpcs")),
                ],
                "*",
                self.here(),
            ),
        ]

    def _secrets(self) -> list[iam.PolicyStatement]:
        """CreateNotebookInstance asks whether its caller may read the secret of a private repository.

        https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html
        """
        secrets = sorted({each.secret_arn for each in self._repository_settings() if each.secret_arn is not None})
        if len(secrets) > _MOST_SECRETS:
            raise ValueError(
                f"workbench.notebooks: repositories have {len(secrets)} secrets, and the policy of a deployment has room for"
                f" {_MOST_SECRETS}; let repositories share one"
            )
        return [allow("secretsmanager", ["GetSecretValue"], secrets)] if secrets else []

    def _repositories(self) -> list[iam.PolicyStatement]:
        if not self._repository_settings():
            return []
        return [
            allow(
                "sagemaker",
                [
                    *(f"{verb}CodeRepository" for verb in ("Create", "Delete", "Describe", "Update")),
                    *("AddTags", "DeleteTags", "ListTags"),
                ],
                self.arn("sagemaker", "code-repository", "*"),
            )
        ]

    def _repository_settings(self) -> list[Repository]:
        return [each for notebook in self._workbench.notebooks.values() for each in notebook.repositories]

    def _studio(self) -> list[iam.PolicyStatement]:
        studio = self._workbench.studio
        if studio is None:
            return []
        tags = ("AddTags", "DeleteTags", "ListTags")
        scripts = ("Create", "Delete", "Describe")
        made = [f"{verb}StudioLifecycleConfig" for verb in scripts]
        made += [
            f"{verb}{kind}" for kind in ("AppImageConfig", "Image", "ImageVersion") for verb in (*scripts, "Update")
        ]
        statements = [
            allow(
                "sagemaker",
                [*made, *tags],
                [
                    *(
                        self.arn("sagemaker", kind, self.names.stack_pattern)
                        for kind in ("app-image-config", "image", "studio-lifecycle-config")
                    ),
                    self.arn("sagemaker", "image-version", f"{self.names.stack_pattern}/*"),
                ],
            ),
            # SageMaker numbers the domain, and what is in it is named after that number.
            allow(
                "sagemaker",
                [
                    *(
                        f"{verb}{kind}"
                        for kind in ("Domain", "Space", "UserProfile")
                        for verb in ("Create", "Delete", "Describe", "Update")
                    ),
                    *tags,
                ],
                [self.arn("sagemaker", kind, "*") for kind in ("domain", "space", "user-profile")],
            ),
            # The file system of home directories. SageMaker makes it by a role of its own, which AWS makes once per account.
            allow("elasticfilesystem", ["CreateFileSystem"], self.arn("elasticfilesystem", "file-system", "*")),
            allow(
                "iam",
                ["CreateServiceLinkedRole"],
                self.iam("role", "aws-service-role/sagemaker.amazonaws.com/AWSServiceRoleForAmazonSageMakerNotebooks"),
            ),
        ]
        if studio.auth == "identity-center":
            # To find the person whose profile it is.
            statements += [
                allow("sso", ["DescribeInstance", "ListInstances"], "*"),
                allow("identitystore", ["DescribeUser", "ListUsers"], "*"),
            ]
        return statements

    def _scheduled(self) -> list[iam.PolicyStatement]:
        group = self.names.workbench_stack
        return [
            allow(
                "scheduler",
                [
                    *(f"{verb}Schedule" for verb in ("Create", "Delete", "Get", "Update")),
                    *(f"{verb}ScheduleGroup" for verb in ("Create", "Delete", "Get")),
                    *TAGS,
                ],
                [self.arn("scheduler", "schedule-group", group), self.arn("scheduler", "schedule", f"{group}/*")],
            ),
            # What becomes of a call that failed, of a function that nobody waits for.
            allow(
                "lambda",
                [f"{verb}FunctionEventInvokeConfig" for verb in ("Delete", "Put", "Update")],
                self.arn("lambda", "function", self.names.stack_pattern, cdk.ArnFormat.COLON_RESOURCE_NAME),
            ),
            allow(
                "sns",
                ["SetSubscriptionAttributes"],
                self.stack.format_arn(service="sns", resource=self.names.stack_pattern),
            ),
        ]

    def _cost(self) -> list[iam.PolicyStatement]:
        # Budgets are the account's, of no region.
        return [
            allow(
                "budgets",
                ["ModifyBudget", "ViewBudget", *TAGS],
                self.stack.format_arn(
                    service="budgets", region="", resource="budget", resource_name=f"{self.names.workbench_stack}-*"
                ),
            ),
            allow(
                "billing",
                ["GetBillingViewData"],
                self.stack.format_arn(service="billing", region="", resource="billingview", resource_name="*"),
            ),
        ]
