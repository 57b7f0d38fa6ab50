"""What a notebook may do: read the project's data, write below its own prefix, and what its environment grants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct
from sagestack.model_image import ModelImage
from sagestack.model_registry import ModelRegistry
from sagestack.roles import SageMakerRole, grant_instance_metrics, grant_logs, grant_volume_encryption
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.notebook import Grants
from sagestack.training_pipeline import TrainingPipeline
from sagestack.workbench.private_network import PrivateNetwork

_JOBS = ("processing-job", "training-job", "transform-job")
_SERVED = ("endpoint", "endpoint-config", "model")


class GrantedModel:
    """What a notebook may be let to of one model: its pipeline, its registered versions, its image."""

    def __init__(self, name: str, *, pipeline: TrainingPipeline, registry: ModelRegistry, image: ModelImage) -> None:
        """Takes what the model's stack made.

        Args:
            name: of the model.
            pipeline: that trains it.
            registry: of its versions.
            image: that it is trained and served with.
        """
        self.name, self.pipeline, self.registry, self.image = name, pipeline, registry, image


class NotebookRole(SageMakerRole):
    """The role of one notebook instance, or of one person in Studio.

    It reads the data bucket, and in the bucket of artefacts reads and writes below `notebooks/NAME/` alone. Everything else is a
    grant in `environments/*.yaml`. It reads the parameters of its environment, which are names and no secrets.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        names: EnvironmentNames,
        grants: Grants,
        models: Mapping[str, GrantedModel],
        data: s3.IBucket,
        artifacts: s3.IBucket,
        encryption_key: kms.IKey,
        description: str | None = None,
    ) -> None:
        """Makes the role.

        Args:
            name: of the notebook; its jobs and endpoints must be named after it.
            names: of the environment.
            grants: what it may do besides.
            models: what can be granted, by the name of the model.
            data: the bucket of the models' input.
            artifacts: the bucket that it writes to, below a prefix of its own.
            encryption_key: of the volume and of both buckets.
            description: what somebody reads who finds it in the console.
        """
        super().__init__(
            scope, id, description=description or f"What the notebook {name} may do in {names.environment}"
        )
        self._names, self._own = names, names.notebook_instance(name)
        prefix = f"{names.notebook_prefix(name)}*"
        data.grant_read(self)
        artifacts.grant_read(self, prefix)
        artifacts.grant_put(self, prefix)
        # Not of older versions, which are what is left when somebody, or something, has deleted too much.
        self._allow(["s3:DeleteObject"], [artifacts.arn_for_objects(prefix)])
        grant_volume_encryption(self, encryption_key)
        self._allow(
            ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"],
            [
                self._arn("ssm", "parameter", f"sagestack/{names.environment}"),
                self._arn("ssm", "parameter", f"sagestack/{names.environment}/*"),
            ],
        )
        for model in grants.models:
            self._grant_model(models[model], artifacts)
        if grants.jobs:
            self._grant_jobs(list(models.values()))
        self._grant_buckets(grants.read_buckets, ["s3:GetObject"])
        self._grant_buckets(
            grants.write_buckets, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        )

    def _grant_model(self, model: GrantedModel, artifacts: s3.IBucket) -> None:
        names = self._names.model(model.name)
        model.pipeline.grant_start_execution(self)
        # Where a version came from: what its execution was told and ran.
        self._allow(
            ["sagemaker:DescribePipelineDefinitionForExecution", "sagemaker:ListPipelineParametersForExecution"],
            [f"{model.pipeline.pipeline_arn}/execution/*"],
        )
        model.pipeline.grant_read_models(self)
        model.pipeline.grant_read_evaluations(self)
        artifacts.grant_read(self, f"{names.captured_prefix}*")
        # An asynchronous endpoint is asked by S3, and answers there.
        artifacts.grant_put(self, f"{names.request_prefix}*")
        for answers in (names.answer_prefix, names.failure_prefix):
            artifacts.grant_read(self, f"{answers}*")
        versions = f"{names.model_package_group}/*"
        self._allow(
            ["sagemaker:DescribeModelPackageGroup", "sagemaker:ListModelPackages", "sagemaker:DescribeModelPackage"],
            [
                self._arn("sagemaker", "model-package-group", names.model_package_group),
                self._arn("sagemaker", "model-package", versions),
            ],
        )
        self._allow(
            ["sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointAsync"],
            [
                self._arn("sagemaker", "endpoint", names.endpoint),
                self._arn("sagemaker", "inference-component", names.endpoint),
            ],
        )

    def _grant_jobs(self, models: Sequence[GrantedModel]) -> None:
        """Jobs and endpoints of its own, named after it, run by this very role, with no network (but see `grant_jobs_in`)."""
        for model in models:
            model.image.grant_pull(self)
        self._allow(
            [
                *(
                    f"sagemaker:{verb}{job}Job"
                    for verb in ("Describe", "Stop")
                    for job in ("Processing", "Training", "Transform")
                ),
                *(
                    f"sagemaker:{verb}{kind}"
                    for verb in ("Delete", "Describe")
                    for kind in ("Endpoint", "EndpointConfig", "Model")
                ),
                "sagemaker:CreateEndpoint",
                "sagemaker:CreateEndpointConfig",
                "sagemaker:CreateTransformJob",
                "sagemaker:UpdateEndpoint",
                "sagemaker:InvokeEndpoint",
                "sagemaker:AddTags",
                "sagemaker:ListTags",
            ],
            self._own_arns(*_JOBS, *_SERVED),
        )
        # A notebook without the internet whose containers had it would be a private one in name only.
        self._grant_containers({"Bool": {"sagemaker:NetworkIsolation": "true"}})
        # To itself only: a job may do what the notebook may, and nothing else.
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[self.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            )
        )
        grant_logs(self, *(f"/aws/sagemaker/{kind}Jobs" for kind in ("Processing", "Training", "Transform")))
        grant_logs(self, f"/aws/sagemaker/Endpoints/{self._own}-*")
        grant_instance_metrics(self)
        self._grant_own_logs()

    def grant_jobs_in(self, network: PrivateNetwork) -> None:
        """Lets its jobs and models have the notebook's own network, where they need one, and reach what the notebook reaches.

        For who may start jobs, and may have network interfaces there. Without it they have no network at all.
        https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
        """
        self._grant_containers(
            {
                "ForAllValues:StringEquals": {
                    "sagemaker:VpcSubnets": network.subnet_ids[:1],
                    "sagemaker:VpcSecurityGroupIds": [network.security_group.security_group_id],
                },
                # Of none, all are.
                "Null": {"sagemaker:VpcSubnets": "false"},
            }
        )

    def _grant_containers(self, conditions: Mapping[str, object]) -> None:
        """Making what runs a container: endpoints and transform jobs run those of models."""
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["sagemaker:CreateModel", "sagemaker:CreateProcessingJob", "sagemaker:CreateTrainingJob"],
                resources=self._own_arns("model", "processing-job", "training-job"),
                conditions=conditions,
            )
        )

    def _own_arns(self, *kinds: str) -> list[str]:
        """Of all that is named after it. SageMaker writes names in lower case into ARNs; people in Studio may have others."""
        owners = dict.fromkeys((self._own, self._own.lower()))
        return [self._arn("sagemaker", kind, f"{own}-*") for kind in kinds for own in owners]

    def _grant_own_logs(self) -> None:
        """Lets the notebook read what its own jobs and endpoints print: the group of all jobs is shared, streams are not.

        https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
        """
        endpoints = f"/aws/sagemaker/Endpoints/{self._own}-*"
        streams = [
            f"/aws/sagemaker/{kind}Jobs:log-stream:{self._own}-*" for kind in ("Processing", "Training", "Transform")
        ]
        self._allow(["logs:GetLogEvents"], [self._log_arn(name) for name in (*streams, f"{endpoints}:log-stream:*")])
        self._allow(["logs:FilterLogEvents"], [self._log_arn(name) for name in (endpoints, f"{endpoints}:*")])

    def grant_own_instance(self) -> None:
        """Lets the instance look at itself and stop itself, as auto-stop does, and write its own log.

        Its streams are `NAME/jupyter.log` and `NAME/LifecycleConfigOnStart`, in a group that all instances of the account share:
        https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
        """
        self._allow(
            ["sagemaker:DescribeNotebookInstance", "sagemaker:ListTags", "sagemaker:StopNotebookInstance"],
            [self._arn("sagemaker", "notebook-instance", self._own)],
        )
        group = "/aws/sagemaker/NotebookInstances"
        # CloudWatch asks for a group that is to be made by the group's name and the suffix of its streams.
        self._allow(
            ["logs:CreateLogGroup", "logs:DescribeLogStreams"], [self._log_arn(group), self._log_arn(f"{group}:*")]
        )
        self._allow(["logs:CreateLogStream", "logs:PutLogEvents"], [self._log_arn(f"{group}:log-stream:{self._own}/*")])

    def _grant_buckets(self, buckets: Sequence[str], actions: Sequence[str]) -> None:
        for name in buckets:
            bucket = f"arn:{cdk.Stack.of(self).partition}:s3:::{name}"
            self._allow(["s3:GetBucketLocation", "s3:ListBucket"], [bucket])
            self._allow(list(actions), [f"{bucket}/*"])

    def _allow(self, actions: list[str], resources: list[str]) -> None:
        self.add_to_policy(iam.PolicyStatement(actions=actions, resources=resources))

    def _arn(self, service: str, resource: str, name: str) -> str:
        return cdk.Stack.of(self).format_arn(service=service, resource=resource, resource_name=name)

    def _log_arn(self, name: str) -> str:
        return cdk.Stack.of(self).format_arn(
            service="logs", resource="log-group", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )
