"""The pipeline that deploys the environments in order, from git, and itself first."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_codepipeline as codepipeline
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_ssm as ssm
from aws_cdk import pipelines

from constructs import Construct
from sagestack import settings
from sagestack.settings.delivery import AwsPipeline, Delivery, DeliveryStage
from sagestack.settings.names import DeliveryNames

_PYTHON = "3.11"


class DeliveryPipeline(Construct):
    """Deploys each environment after the one before it, where somebody says so with the review of the change at hand.

    CDK Pipelines on a CodeConnections source, so that the repository may be on GitHub, GitLab or Bitbucket: it updates itself
    first, publishes images and templates to the environments' accounts with the roles that `cdk bootstrap --trust` made there,
    and deploys with them. A review of an environment compares the commit that was deployed to it last with the one that is
    to be; `.deployed` remembers that commit in an SSM parameter, which the last step of a stage writes.
    https://docs.aws.amazon.com/cdk/v2/guide/cdk-pipeline.html

    Attributes:
        pipeline: CDK's own.
        reviews: the bucket that the reviews' pages are kept in, below `reviews/ENVIRONMENT/`.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        delivery: Delivery,
        aws_pipeline: AwsPipeline,
        artifacts: s3.IBucket,
        encryption_key: kms.IKey,
        log_group: logs.ILogGroup,
    ) -> None:
        """Makes the pipeline without stages; `add_environment` adds them, in order.

        Args:
            delivery: the repository, the stages and what makes a review ask for a human.
            aws_pipeline: where it runs, and its connection to the repository's host.
            artifacts: where the source, the synthesized templates and the reviews are kept; other accounts' roles read it.
            encryption_key: of the bucket, and of what is built.
            log_group: of everything that is built.
        """
        super().__init__(scope, id)
        self._delivery = delivery
        self._key = encryption_key
        self.reviews = artifacts
        self._names = DeliveryNames()
        self._token = (
            secretsmanager.Secret.from_secret_complete_arn(self, "Token", aws_pipeline.token_secret_arn)
            if aws_pipeline.token_secret_arn
            else None
        )
        repository = delivery.repository
        self._source = pipelines.CodePipelineSource.connection(
            repository.name,
            repository.branch,
            connection_arn=aws_pipeline.connection_arn,
            # With the history: a review checks out the commit that is deployed now.
            code_build_clone_output=True,
        )
        # The source is not an artefact but a clone, which each project makes with the connection itself.
        self._clone = iam.PolicyStatement(
            actions=["codeconnections:UseConnection", "codestar-connections:UseConnection"],
            resources=[aws_pipeline.connection_arn],
        )
        self.pipeline = pipelines.CodePipeline(
            self,
            "Resource",
            pipeline_name=self._names.pipeline,
            pipeline_type=codepipeline.PipelineType.V2,
            # A newer commit takes the place of an older one that waits; one that deploys is never interrupted.
            execution_mode=codepipeline.ExecutionMode.SUPERSEDED,
            artifact_bucket=artifacts,
            cross_account_keys=True,
            # Models' images are built where assets are published.
            docker_enabled_for_synth=False,
            publish_assets_in_parallel=True,
            use_change_sets=True,
            code_build_defaults=pipelines.CodeBuildOptions(
                build_environment=codebuild.BuildEnvironment(
                    build_image=codebuild.LinuxBuildImage.STANDARD_7_0, compute_type=codebuild.ComputeType.MEDIUM
                ),
                partial_build_spec=codebuild.BuildSpec.from_object(
                    {"version": "0.2", "phases": {"install": {"runtime-versions": {"python": _PYTHON}}}}
                ),
                logging=codebuild.LoggingOptions(
                    cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=log_group, enabled=True)
                ),
                timeout=cdk.Duration.minutes(60),
            ),
            synth=pipelines.CodeBuildStep(
                "Synth",
                input=self._source,
                install_commands=["make setup"],
                commands=[
                    "make test lint",
                    "node_modules/.bin/cdk synth --quiet -c part=delivery --output cdk.out/delivery",
                ],
                primary_output_directory="cdk.out/delivery",
                role_policy_statements=[self._clone],
            ),
        )

    def add_environment(
        self, stage: cdk.Stage, *, environment: settings.Environment, delivery_stage: DeliveryStage
    ) -> pipelines.StageDeployment:
        """Adds the deployment of one environment after those that are there: the review, the question, the stacks, the promotion.

        Args:
            stage: the stacks.
            environment: their account and region.
            delivery_stage: whether a person is asked first.
        """
        review = self._step(
            f"Review-{environment.name}",
            commands=[
                *self._base(environment),
                # 3: a human is needed, who is about to be asked. The page says why.
                f'.venv/bin/sagestack review --base "$BASE" --env {environment.name}'
                ' --format html --format markdown --output cdk.out/review || test "$?" = 3',
                f'aws s3 cp cdk.out/review/review.html "s3://$REVIEWS/{self._names.review_key(environment.name)}"'
                " --content-type text/html",
                "cat cdk.out/review/review.md",
            ],
            env={"REVIEWS": self.reviews.bucket_name},
            statements=[
                self._parameter_statement(environment, "ssm:GetParameter"),
                iam.PolicyStatement(
                    actions=["s3:PutObject"],
                    resources=[self.reviews.arn_for_objects(self._names.review_key(environment.name))],
                ),
                iam.PolicyStatement(actions=["kms:GenerateDataKey", "kms:Decrypt"], resources=[self._key.key_arn]),
            ],
        )
        before: list[pipelines.Step] = [review]
        if delivery_stage.approval:
            asked = pipelines.ManualApprovalStep(
                f"Approve-{environment.name}",
                comment=f"Deploy {self._delivery.repository.name} to {environment.name} (account {environment.account})?"
                " The link is the review of what would change.",
                review_url=self._console_url(environment.name),
            )
            asked.add_step_dependency(review)
            before.append(asked)
        return self.pipeline.add_stage(stage, pre=before, post=self._after(environment))

    def build(self) -> None:
        """Makes the resources of what was added; after it nothing can be. The guardrails see what is there before a synth."""
        self.pipeline.build_pipeline()

    def _after(self, environment: settings.Environment) -> Sequence[pipelines.Step]:
        commands = [
            f'aws ssm put-parameter --name "{self._names.deployed_commit_parameter(environment.name)}"'
            ' --type String --overwrite --value "$CODEBUILD_RESOLVED_SOURCE_VERSION"'
        ]
        statements = [self._parameter_statement(environment, "ssm:PutParameter")]
        install = []
        if self._token is not None and self._delivery.stage_after(environment.name) is not None:
            install = ["make setup"]
            commands.append(
                "SAGESTACK_GIT_TOKEN=$(aws secretsmanager get-secret-value --query SecretString --output text"
                f' --secret-id "{self._token.secret_arn}") .venv/bin/sagestack promote --after {environment.name}'
            )
            statements.append(
                iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[self._token.secret_arn])
            )
        return [self._step(f"Deployed-{environment.name}", commands=commands, statements=statements, install=install)]

    def _step(
        self,
        id: str,
        *,
        commands: Sequence[str],
        statements: Sequence[iam.PolicyStatement],
        env: dict[str, str] | None = None,
        install: Sequence[str] = ("make setup",),
    ) -> pipelines.CodeBuildStep:
        return pipelines.CodeBuildStep(
            id,
            input=self._source,
            install_commands=list(install),
            commands=list(commands),
            env=env,
            role_policy_statements=[self._clone, *statements],
        )

    def _base(self, environment: settings.Environment) -> list[str]:
        """The commit that the environment has; before its first deployment all of it is new."""
        name = self._names.deployed_commit_parameter(environment.name)
        return [
            # An empty folder is an assembly of nothing: everything that is reviewed against it is new.
            'mkdir -p cdk.out/nothing && echo \'{"version":"36.0.0","artifacts":{}}\' > cdk.out/nothing/manifest.json',
            f'BASE=$(aws ssm get-parameter --name "{name}" --query Parameter.Value --output text'
            " 2>/tmp/why || { grep -q ParameterNotFound /tmp/why && echo cdk.out/nothing"
            " || { cat /tmp/why >&2; exit 1; }; })",
        ]

    def _parameter_statement(self, environment: settings.Environment, action: str) -> iam.PolicyStatement:
        name = self._names.deployed_commit_parameter(environment.name)
        parameter = ssm.StringParameter.from_string_parameter_name(self, f"{environment.name}{action[4:]}", name)
        return iam.PolicyStatement(actions=[action], resources=[parameter.parameter_arn])

    def _console_url(self, environment: str) -> str:
        return cdk.Fn.sub(
            "https://${AWS::Region}.console.aws.amazon.com/s3/object/${bucket}?region=${AWS::Region}&prefix="
            + self._names.review_key(environment),
            {"bucket": self.reviews.bucket_name},
        )
