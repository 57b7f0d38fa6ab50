"""What each persona may do, as statements: one place to read it, and to compare it.

Resources, and which actions have any, follow the service authorization reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.policy_statements import Scope, allow, only_tag
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.personas import PersonaName, Personas
from sagestack.workbench.cost_tags import KEEP_TAG
from sagestack.workbench.personas.looking import Looking

OWNER_TAG = "sagestack:owner"


@dataclass(frozen=True)
class WorkedWith:
    """What there is in an environment for people to work with.

    Attributes:
        models: by name.
        owners: of the notebooks, by the notebook's name; None where it is everybody's.
        studio_domain_id: None where there is no Studio domain.
    """

    models: Sequence[str] = ()
    owners: Mapping[str, str | None] = field(default_factory=dict)
    studio_domain_id: str | None = None


class PersonaPermissions(Scope):
    """The statements for the personas of one environment.

    Nobody but its owner opens a notebook, whatever their persona: what is in it, and the role that it has, are somebody's own.
    Notebooks without an owner are everybody's. Approving a model version is a reviewer's, and a reviewer starts nothing: who made
    a version does not approve it, where one person cannot be both (`personas.trusted_as`).
    """

    def __init__(self, stack: cdk.Stack, names: EnvironmentNames, personas: Personas, worked_with: WorkedWith) -> None:
        """Begins with what all statements need.

        Args:
            stack: whose account and region are meant.
            names: of the environment.
            personas: who they are, and from where they come.
            worked_with: what there is in the environment.
        """
        super().__init__(stack, names)
        self._personas, self._looking, self._owners = personas, Looking(stack, names), worked_with.owners
        self._models = [names.model(each) for each in worked_with.models]
        self._domain_id = worked_with.studio_domain_id
        self._user = f"aws:PrincipalTag/{personas.user_tag}"

    def of(self, persona: PersonaName) -> list[iam.PolicyStatement]:
        """All statements of one persona."""
        by_persona: Mapping[PersonaName, Callable[[], list[iam.PolicyStatement]]] = {
            "data-scientist": self._data_scientist,
            "ml-engineer": self._ml_engineer,
            "reviewer": self._reviewer,
            "operator": self._operator,
        }
        statements = [*self._looking.what_there_is(), *by_persona[persona](), *self._from_where()]
        # Without models there is no pipeline to start, and no version to approve.
        return [statement for statement in statements if statement.resources]

    def _data_scientist(self) -> list[iam.PolicyStatement]:
        return [*self._own_notebooks(), *self._own_studio(), *self._registry([])]

    def _ml_engineer(self) -> list[iam.PolicyStatement]:
        pipelines = [self.arn("sagemaker", "pipeline", each.pipeline) for each in self._models]
        return [
            *self._own_notebooks(),
            *self._own_studio(),
            *self._registry([]),
            allow(
                "sagemaker",
                [f"{verb}PipelineExecution" for verb in ("Start", "Stop", "Retry")],
                [arn for pipeline in pipelines for arn in (pipeline, f"{pipeline}/execution/*")],
            ),
            allow(
                "sagemaker",
                ["InvokeEndpoint", "InvokeEndpointAsync"],
                [
                    self.arn("sagemaker", kind, each.endpoint)
                    for each in self._models
                    for kind in ("endpoint", "inference-component")
                ],
            ),
            *self._looking.logs_of_jobs(),
        ]

    def _reviewer(self) -> list[iam.PolicyStatement]:
        return [
            *self._registry(["UpdateModelPackage"]),
            # What would be deployed, and what was.
            allow(
                "cloudformation",
                ["DescribeChangeSet", "GetTemplate", "ListStackResources"],
                self.arn("cloudformation", "stack", f"{self.names.stack_pattern}/*"),
            ),
        ]

    def _operator(self) -> list[iam.PolicyStatement]:
        ours = self.names.stack_pattern
        notebooks = self.arn("sagemaker", "notebook-instance", ours)
        return [
            # Starts and stops anybody's, and opens none.
            allow("sagemaker", ["StartNotebookInstance", "StopNotebookInstance"], notebooks),
            # Says what a spent budget leaves running, by that one tag: who owns an instance is a tag, too.
            allow(
                "sagemaker",
                ["AddTags", "DeleteTags"],
                notebooks,
                only_tag(KEEP_TAG),
            ),
            *self._studio_of_all(),
            *self._registry([]),
            allow(
                "sagemaker",
                ["StopPipelineExecution"],
                [self.arn("sagemaker", "pipeline", f"{each.pipeline}/execution/*") for each in self._models],
            ),
            allow(
                "sagemaker",
                ["StopProcessingJob", "StopTrainingJob", "StopTransformJob"],
                [
                    self.arn("sagemaker", kind, prefix)
                    for kind in ("processing-job", "training-job", "transform-job")
                    for prefix in (ours, "pipelines-*")
                ],
            ),
            allow(
                "sagemaker",
                ["UpdateEndpointWeightsAndCapacities"],
                [self.arn("sagemaker", "endpoint", each.endpoint) for each in self._models],
            ),
            allow(
                "cloudformation",
                ["DescribeStackResources", "GetTemplate"],
                self.arn("cloudformation", "stack", f"{ours}/*"),
            ),
            *self._looking.logs_of_jobs(),
            *self._looking.names_of_notebook_logs(),
            *self._looking.logs_of_notebooks([ours]),
        ]

    def _own_notebooks(self) -> list[iam.PolicyStatement]:
        actions = [f"{verb}NotebookInstance" for verb in ("Start", "Stop")] + ["CreatePresignedNotebookInstanceUrl"]
        instances = self.arn("sagemaker", "notebook-instance", self.names.stack_pattern)
        tag = f"aws:ResourceTag/{OWNER_TAG}"
        nobodys = [name for name, owner in self._owners.items() if owner is None]
        return [
            allow("sagemaker", actions, instances, {"StringEquals": {tag: f"${{{self._user}}}"}}),
            # Where nobody is the owner, everybody is.
            allow("sagemaker", actions, instances, {"Null": {tag: "true"}}),
            *(self._looking.names_of_notebook_logs() if self._owners else []),
            *self._looking.logs_of_notebooks(map(self.names.notebook_instance, nobodys)),
            # Log streams have no tags: whose an instance is, is said here.
            *(
                statement
                for owner in dict.fromkeys(owner for owner in self._owners.values() if owner is not None)
                for statement in self._looking.logs_of_notebooks(
                    [self.names.notebook_instance(name) for name, each in self._owners.items() if each == owner],
                    {"StringEquals": {self._user: owner}},
                )
            ),
        ]

    def _own_studio(self) -> list[iam.PolicyStatement]:
        if self._domain_id is None:
            return []
        return [
            allow(
                "sagemaker",
                ["CreatePresignedDomainUrl", "DescribeUserProfile"],
                self.arn("sagemaker", "user-profile", f"{self._domain_id}/*"),
                {"StringEquals": {f"aws:ResourceTag/{OWNER_TAG}": f"${{{self._user}}}"}},
            ),
        ]

    def _studio_of_all(self) -> list[iam.PolicyStatement]:
        """To see which application nobody uses, and to end it. What is in its space stays."""
        if self._domain_id is None:
            return []
        return [
            *self._looking.studio(self._domain_id),
            allow("sagemaker", ["DeleteApp"], self.arn("sagemaker", "app", f"{self._domain_id}/*")),
            allow(
                "sagemaker",
                ["AddTags", "DeleteTags"],
                self.arn("sagemaker", "space", f"{self._domain_id}/*"),
                only_tag(KEEP_TAG),
            ),
        ]

    def _registry(self, more: list[str]) -> list[iam.PolicyStatement]:
        return [
            allow(
                "sagemaker",
                ["DescribeModelPackage", "ListModelPackages", *more],
                [
                    self.arn("sagemaker", kind, name)
                    for each in self._models
                    for kind, name in (
                        ("model-package-group", each.model_package_group),
                        ("model-package", f"{each.model_package_group}/*"),
                    )
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
        opening = ["sagemaker:CreatePresignedDomainUrl", "sagemaker:CreatePresignedNotebookInstanceUrl"]
        return [iam.PolicyStatement(effect=iam.Effect.DENY, actions=opening, resources=["*"], conditions=conditions)]
