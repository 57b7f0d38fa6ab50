"""What each persona may do, as statements: one place to read it, and to compare it.

Resources, and which actions have any, follow the service authorization reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.personas import PersonaName, Personas
from sagestack.workbench.cost_tags import WORKBENCH_TAG

OWNER_TAG = "sagestack:owner"
_OPENING = ("sagemaker:CreatePresignedDomainUrl", "sagemaker:CreatePresignedNotebookInstanceUrl")


class PersonaPermissions:
    """The statements for the personas of one environment.

    Nobody but its owner opens a notebook, whatever their persona: what is in it, and the role that it has, are somebody's own.
    Notebooks without an owner are everybody's. Approving a model version is a reviewer's, and a reviewer starts nothing: who made
    a version does not approve it.
    """

    def __init__(self, stack: cdk.Stack, names: EnvironmentNames, personas: Personas, models: Sequence[str]) -> None:
        """Begins with what all statements need.

        Args:
            stack: whose account and region are meant.
            names: of the environment.
            personas: who they are, and from where they come.
            models: of the environment, by name.
        """
        self._stack, self._names, self._personas = stack, names, personas
        self._models = [names.model(each) for each in models]
        self._user = f"${{aws:PrincipalTag/{personas.user_tag}}}"

    def of(self, persona: PersonaName) -> list[iam.PolicyStatement]:
        """All statements of one persona."""
        by_persona: Mapping[PersonaName, Callable[[], list[iam.PolicyStatement]]] = {
            "data-scientist": self._data_scientist,
            "ml-engineer": self._ml_engineer,
            "reviewer": self._reviewer,
            "operator": self._operator,
        }
        statements = [*self._looking(), *by_persona[persona](), *self._from_where()]
        # Without models there is no pipeline to start, and no version to approve.
        return [statement for statement in statements if statement.resources]

    def _data_scientist(self) -> list[iam.PolicyStatement]:
        return [*self._own_notebooks(), *self._own_studio(), *self._registry([])]

    def _ml_engineer(self) -> list[iam.PolicyStatement]:
        pipelines = [self._sagemaker("pipeline", each.pipeline) for each in self._models]
        return [
            *self._own_notebooks(),
            *self._own_studio(),
            *self._registry([]),
            _allow(
                [
                    "sagemaker:StartPipelineExecution",
                    "sagemaker:StopPipelineExecution",
                    "sagemaker:RetryPipelineExecution",
                ],
                [arn for pipeline in pipelines for arn in (pipeline, f"{pipeline}/execution/*")],
            ),
            _allow(
                ["sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointAsync"],
                [
                    self._sagemaker(kind, each.endpoint)
                    for each in self._models
                    for kind in ("endpoint", "inference-component")
                ],
            ),
            *self._logs(),
        ]

    def _reviewer(self) -> list[iam.PolicyStatement]:
        return [
            *self._registry(["sagemaker:UpdateModelPackage"]),
            # What would be deployed, and what was.
            _allow(
                ["cloudformation:DescribeChangeSet", "cloudformation:GetTemplate", "cloudformation:ListStackResources"],
                [self._arn("cloudformation", "stack", f"{self._names.stack_pattern}/*")],
            ),
        ]

    def _operator(self) -> list[iam.PolicyStatement]:
        ours = self._names.stack_pattern
        return [
            # Starts and stops anybody's, and opens none.
            _allow(
                ["sagemaker:StartNotebookInstance", "sagemaker:StopNotebookInstance"],
                [self._sagemaker("notebook-instance", ours)],
            ),
            _allow(
                ["sagemaker:DeleteApp"],
                [self._sagemaker("app", "*")],
                {"StringEquals": {f"aws:ResourceTag/{WORKBENCH_TAG}": self._names.environment}},
            ),
            _allow(
                ["sagemaker:StopPipelineExecution"],
                [self._sagemaker("pipeline", f"{each.pipeline}/execution/*") for each in self._models],
            ),
            _allow(
                ["sagemaker:StopProcessingJob", "sagemaker:StopTrainingJob", "sagemaker:StopTransformJob"],
                [
                    self._sagemaker(kind, prefix)
                    for kind in ("processing-job", "training-job", "transform-job")
                    for prefix in (ours, "pipelines-*")
                ],
            ),
            _allow(
                ["sagemaker:UpdateEndpointWeightsAndCapacities"],
                [self._sagemaker("endpoint", each.endpoint) for each in self._models],
            ),
            _allow(
                [
                    "cloudformation:DetectStackDrift",
                    "cloudformation:DescribeStackResources",
                    "cloudformation:GetTemplate",
                ],
                [self._arn("cloudformation", "stack", f"{ours}/*")],
            ),
            *self._logs(),
        ]

    def _looking(self) -> list[iam.PolicyStatement]:
        """What everybody sees: what there is and how it does. No data, no logs, no captured requests."""
        kinds = (
            "endpoint",
            "inference-component",
            "model-package-group",
            "model-package",
            "notebook-instance",
            "pipeline",
        )
        return [
            # Lists take no resource.
            _allow(
                [
                    "cloudwatch:DescribeAlarms",
                    "cloudwatch:GetMetricData",
                    "cloudwatch:ListMetrics",
                    "sagemaker:ListApps",
                    "sagemaker:ListDomains",
                    "sagemaker:ListEndpoints",
                    "sagemaker:ListModelPackageGroups",
                    "sagemaker:ListNotebookInstances",
                    "sagemaker:ListPipelines",
                    "sagemaker:ListProcessingJobs",
                    "sagemaker:ListSpaces",
                    "sagemaker:ListTrainingJobs",
                    "sagemaker:ListTransformJobs",
                    "sagemaker:ListUserProfiles",
                ],
                ["*"],
                {"StringEquals": {"aws:RequestedRegion": self._stack.region}},
            ),
            _allow(
                [
                    *(f"sagemaker:Describe{kind}" for kind in ("Endpoint", "InferenceComponent", "NotebookInstance")),
                    "sagemaker:DescribeModelPackageGroup",
                    "sagemaker:DescribePipeline",
                    "sagemaker:ListPipelineExecutions",
                    "sagemaker:ListPipelineExecutionSteps",
                    "sagemaker:DescribePipelineExecution",
                    "sagemaker:DescribePipelineDefinitionForExecution",
                    "sagemaker:ListTags",
                ],
                [
                    *(self._sagemaker(kind, self._names.stack_pattern) for kind in kinds),
                    self._sagemaker("pipeline", f"{self._names.stack_pattern}/execution/*"),
                ],
            ),
            _allow(
                ["cloudformation:DescribeStacks"],
                [self._arn("cloudformation", "stack", f"{self._names.stack_pattern}/*")],
            ),
            _allow(
                ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"],
                [
                    self._arn("ssm", "parameter", f"sagestack/{self._names.environment}"),
                    self._arn("ssm", "parameter", f"sagestack/{self._names.environment}/*"),
                ],
            ),
        ]

    def _own_notebooks(self) -> list[iam.PolicyStatement]:
        actions = [
            "sagemaker:CreatePresignedNotebookInstanceUrl",
            "sagemaker:StartNotebookInstance",
            "sagemaker:StopNotebookInstance",
        ]
        instances = [self._sagemaker("notebook-instance", self._names.stack_pattern)]
        return [
            _allow(actions, instances, {"StringEquals": {f"aws:ResourceTag/{OWNER_TAG}": self._user}}),
            # Where nobody is the owner, everybody is.
            _allow(actions, instances, {"Null": {f"aws:ResourceTag/{OWNER_TAG}": "true"}}),
        ]

    def _own_studio(self) -> list[iam.PolicyStatement]:
        own = {"StringEquals": {f"aws:ResourceTag/{OWNER_TAG}": self._user}}
        return [
            _allow(
                ["sagemaker:CreatePresignedDomainUrl", "sagemaker:DescribeUserProfile"],
                [self._sagemaker("user-profile", "*")],
                own,
            ),
        ]

    def _registry(self, more: list[str]) -> list[iam.PolicyStatement]:
        return [
            _allow(
                ["sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages", *more],
                [
                    self._sagemaker(kind, name)
                    for each in self._models
                    for kind, name in (
                        ("model-package-group", each.model_package_group),
                        ("model-package", f"{each.model_package_group}/*"),
                    )
                ],
            )
        ]

    def _logs(self) -> list[iam.PolicyStatement]:
        groups = ["ProcessingJobs", "TrainingJobs", "TransformJobs", f"Endpoints/{self._names.stack_pattern}"]
        return [
            _allow(
                ["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents"],
                [
                    self._stack.format_arn(
                        service="logs",
                        resource="log-group",
                        resource_name=f"/aws/sagemaker/{group}:*",
                        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                    )
                    for group in groups
                ],
            )
        ]

    def _from_where(self) -> list[iam.PolicyStatement]:
        """No address is given, and none works, from elsewhere: SageMaker asks this again for each request of the session.

        Through an interface endpoint there is a VPC and no public address, elsewhere an address and no VPC; so who is in
        neither is denied. https://docs.aws.amazon.com/sagemaker/latest/dg/notebook-interface-endpoint.html
        """
        conditions: dict[str, dict[str, object]] = {}
        if self._personas.source_ips:
            conditions["NotIpAddressIfExists"] = {"aws:SourceIp": self._personas.source_ips}
        if self._personas.source_vpcs:
            conditions["StringNotEqualsIfExists"] = {"aws:SourceVpc": self._personas.source_vpcs}
        if not conditions:
            return []
        return [
            iam.PolicyStatement(effect=iam.Effect.DENY, actions=list(_OPENING), resources=["*"], conditions=conditions)
        ]

    def _sagemaker(self, kind: str, name: str) -> str:
        return self._arn("sagemaker", kind, name)

    def _arn(self, service: str, resource: str, name: str) -> str:
        return self._stack.format_arn(service=service, resource=resource, resource_name=name)


def _allow(
    actions: list[str], resources: list[str], conditions: Mapping[str, Mapping[str, object]] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        actions=actions, resources=resources, conditions=dict(conditions) if conditions else None
    )
