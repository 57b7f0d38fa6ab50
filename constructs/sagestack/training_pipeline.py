"""The pipeline that turns a model's data into a registered version of it."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.model_image import ModelImage
from sagestack.model_registry import ModelRegistry
from sagestack.network import grant_network_interfaces
from sagestack.roles import SageMakerRole, grant_instance_metrics, grant_logs, grant_volume_encryption
from sagestack.training_definition import CHECKPOINTS, EVALUATE, TRAIN, TrainingRun


class TrainingPipeline(cdk.Resource):
    """Prepares the data, trains, evaluates, and registers what scores well enough.

    Two roles, since the code in the containers needs less than the service that starts them: `job_role` reads
    data and writes artefacts and can start nothing; `role` starts jobs and registers versions, runs no code of
    ours, and can pass on `job_role` alone.

    Attributes:
        pipeline_name: the name as it was given.
        pipeline_arn: of the pipeline; executions are below it.
        role: what the pipeline itself acts as.
        job_role: what its jobs act as.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        pipeline_name: str,
        model: settings.Model,
        size: settings.PipelineSize,
        image: ModelImage,
        serving_image: ModelImage,
        registry: ModelRegistry,
        data: s3.IBucket,
        input_prefix: str,
        artifacts: s3.IBucket,
        output_prefix: str,
        encryption_key: kms.IKey,
        network: settings.Network | None = None,
    ) -> None:
        """Makes the pipeline and its two roles.

        Args:
            pipeline_name: 1 to 256 letters, digits and hyphens; SageMaker's API asks for it, so it is not generated.
            model: what is trained, what it must score, and how the version says it is served.
            size: instance types, GB of disk and seconds of run time of the jobs.
            image: what every job runs.
            serving_image: what a registered version is served with. The same one, unless the endpoint has other processors.
            registry: where versions go.
            data: the bucket that the input is read from.
            input_prefix: the keys of the input, with a slash at the end; the default of the parameter `InputDataUri`.
            artifacts: the bucket that all outputs go to.
            output_prefix: the keys of the outputs, with a slash at the end; each execution has a folder below.
            encryption_key: for storage volumes, where the instance type takes a key, and for the outputs.
            network: where SageMaker puts network interfaces. Default: in no VPC of ours; the containers themselves
                have no network either way.

        Raises:
            PipelineError: the steps do not fit SageMaker's API or each other.
        """
        super().__init__(scope, id)
        self.pipeline_name = pipeline_name
        self._registry, self._artifacts, self._encryption_key = registry, artifacts, encryption_key
        self._serving_image = serving_image
        self._models = f"{output_prefix}*/{TRAIN}/*"
        self._evaluations = f"{output_prefix}*/{EVALUATE}/*"
        self._scores = f"{output_prefix}*/{EVALUATE}/evaluation/evaluation.json"

        self.job_role = SageMakerRole(self, "JobRole", description=f"What the jobs of {pipeline_name} may do")
        data.grant_read(self.job_role, f"{input_prefix}*")
        artifacts.grant_read(self.job_role, f"{output_prefix}*")
        artifacts.grant_put(self.job_role, f"{output_prefix}*")
        if size.spot is not None:
            # Training keeps the newest checkpoints only, and SageMaker mirrors what it deletes.
            iam.Grant.add_to_principal(
                grantee=self.job_role,
                actions=["s3:DeleteObject"],
                resource_arns=[artifacts.arn_for_objects(f"{output_prefix}*/{CHECKPOINTS}/*")],
            )
        image.grant_pull(self.job_role)
        grant_logs(self.job_role, "/aws/sagemaker/TrainingJobs", "/aws/sagemaker/ProcessingJobs")
        grant_instance_metrics(self.job_role)
        grant_volume_encryption(self.job_role, encryption_key)
        grant_network_interfaces(self.job_role, network)

        self.role = SageMakerRole(self, "Role", description=f"What {pipeline_name} itself may do")
        self._grant_jobs()
        registry.grant_register(self.role)
        # The quality gate reads evaluation.json as the pipeline, not as the job that wrote it.
        self.grant_read_evaluations(self.role)
        # Registering looks at the model and its image as the pipeline, too.
        self.grant_read_models(self.role)
        serving_image.grant_describe(self.role)

        run = TrainingRun(
            model=model,
            size=size,
            image_uri=image.image_uri,
            serving_image_uri=serving_image.image_uri,
            role_arn=self.job_role.role_arn,
            key_arn=encryption_key.key_arn,
            input_uri=data.s3_url_for_object(input_prefix),
            output_uri=artifacts.s3_url_for_object(output_prefix.rstrip("/")),
            model_package_group_name=registry.model_package_group_name,
            network=network,
        )
        pipeline = sagemaker.CfnPipeline(
            self,
            "Resource",
            pipeline_name=pipeline_name,
            pipeline_description=model.description,
            pipeline_definition={"PipelineDefinitionBody": run.definition().to_json(cdk.Stack.of(self))},
            role_arn=self.role.role_arn,
        )
        # A run that starts right after the deployment must find its roles complete, not only created.
        pipeline.node.add_dependency(self.role, self.job_role, registry)
        self.pipeline_arn = cdk.Stack.of(self).format_arn(
            service="sagemaker", resource="pipeline", resource_name=pipeline_name
        )

    def grant_start_execution(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets somebody start the pipeline, watch it and stop it."""
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=[
                "sagemaker:DescribePipeline",
                "sagemaker:DescribePipelineExecution",
                "sagemaker:ListPipelineExecutionSteps",
                "sagemaker:ListPipelineExecutions",
                "sagemaker:StartPipelineExecution",
                "sagemaker:StopPipelineExecution",
            ],
            resource_arns=[self.pipeline_arn, f"{self.pipeline_arn}/execution/*"],
        )

    def grant_read_models(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets somebody read the models that training made, of all executions, and none of the data beside them."""
        return self._artifacts.grant_read(grantee, self._models)

    def grant_read_evaluations(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets somebody read what evaluation left, of all executions: scores and golden records."""
        return self._artifacts.grant_read(grantee, self._evaluations)

    def grant_read_scores(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets somebody read what versions scored, and none of the records that they were asked."""
        through_s3 = {"StringEquals": {"kms:ViaService": f"s3.{cdk.Stack.of(self).region}.amazonaws.com"}}
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["kms:Decrypt"],
            resource_arns=[self._encryption_key.key_arn],
            conditions=through_s3,
        )
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=["s3:GetObject"], resource_arns=[self._artifacts.arn_for_objects(self._scores)]
        )

    def grant_deploy_from(self, account: str) -> None:
        """Lets another account deploy the versions that this pipeline registered: everything that takes, together.

        A version of the registry is a document; what it names lies in four places, each with a policy of its own: the registry,
        the bucket with the models and the golden records, the key that encrypts them, and the repository of the image. The
        other account decides with its own policies who there may do it (`SharedVersions.grant_deploy`).

        Args:
            account: its 12 digits.
        """
        principal = iam.AccountPrincipal(account)
        self._registry.grant_deploy_from(account)
        self._artifacts.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[principal],
                actions=["s3:GetObject"],
                resources=[self._artifacts.arn_for_objects(keys) for keys in (self._models, self._evaluations)],
            )
        )
        self._encryption_key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[principal],
                actions=["kms:Decrypt", "kms:DescribeKey"],
                resources=["*"],  # in a key's policy: this key
                conditions={
                    # Only what S3 decrypts for a reader, and it asks the bucket's policy first.
                    "StringEquals": {"kms:ViaService": f"s3.{cdk.Stack.of(self).region}.amazonaws.com"}
                },
            )
        )
        self._serving_image.grant_pull_from(account)

    def metric(self, metric_name: str, *, statistic: str = "Sum", **options: Any) -> cloudwatch.Metric:
        """Any metric that SageMaker publishes per pipeline, by its name.

        `options` are those of `cloudwatch.Metric`; its default period is 5 minutes.
        https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
        """
        return cloudwatch.Metric(
            namespace="AWS/Sagemaker/ModelBuildingPipeline",
            metric_name=metric_name,
            dimensions_map={"PipelineName": self.pipeline_name},
            statistic=statistic,
            **options,
        )

    def metric_execution_succeeded(self, **options: Any) -> cloudwatch.Metric:
        """How many executions ended well. Unit: count."""
        return self.metric("ExecutionSucceeded", **options)

    def metric_execution_failed(self, **options: Any) -> cloudwatch.Metric:
        """How many executions failed, a model that missed the gate included. Unit: count."""
        return self.metric("ExecutionFailed", **options)

    def metric_execution_duration(self, *, statistic: str = "Maximum", **options: Any) -> cloudwatch.Metric:
        """How long executions took. Unit: milliseconds."""
        return self.metric("ExecutionDuration", statistic=statistic, **options)

    def _grant_jobs(self) -> None:
        """What SageMaker's documentation asks of a pipeline's role, for jobs that pipelines started alone.

        https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-access.html
        """
        for job in ("Processing", "Training"):
            iam.Grant.add_to_principal(
                grantee=self.role,
                actions=[
                    f"sagemaker:Create{job}Job",
                    f"sagemaker:Describe{job}Job",
                    f"sagemaker:Stop{job}Job",
                    "sagemaker:AddTags",
                ],
                resource_arns=[
                    cdk.Stack.of(self).format_arn(
                        service="sagemaker",
                        resource=f"{job.lower()}-job",
                        # What Pipelines calls every job that it starts begins so.
                        resource_name="pipelines-*",
                    )
                ],
            )
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[self.job_role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            )
        )
