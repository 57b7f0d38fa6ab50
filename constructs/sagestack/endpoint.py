"""Serves a model over HTTPS, in the way that an environment says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.asynchronous_answers import AsynchronousAnswers
from sagestack.endpoint_config import endpoint_config
from sagestack.endpoint_metrics import EndpointMetrics
from sagestack.endpoint_scaling import COPY_COUNT, INSTANCE_COUNT, PROVISIONED_CONCURRENCY, EndpointScaling
from sagestack.hosted_models import Archives, HostedModel, RegisteredModel
from sagestack.inference_component import InferenceComponent
from sagestack.network import grant_network_interfaces
from sagestack.production_variants import instance_types, takes_volume_key, variant_names
from sagestack.roles import grant_instance_metrics, grant_logs, grant_volume_encryption
from sagestack.rollback_alarms import RollbackAlarms
from sagestack.settings.update_checks import MAIN_VARIANT
from sagestack.update_policy import UpdatePolicy, update_policy


class Endpoint(cdk.Resource):
    """An endpoint of any kind, which changes from version to version without anyone noticing.

    It has a fixed name: its alarms must know it before it exists. That is no trouble, since an endpoint changes in place.
    Its models and configs cannot, so they have no name: CloudFormation makes the new ones, moves the endpoint, and
    deletes the old, which it can only do if their names differ. Each change of what is served is a new model and a new config,
    so that it reaches the endpoint; a change of anything else (tags, the limit of an alarm) is none, and starts no update.

    Attributes:
        endpoint_name: what InvokeEndpoint is asked with, in plain text.
        endpoint_arn: a token until deployment.
        variant_names: the variants that answer; the served version's is the first.
        alarms: what rolls an update back, and the topic where it is heard.
        answers: where an asynchronous endpoint's requests, answers and topics are; else None.
        component: the copies on an endpoint of inference components; else None.
        scaling: what scales it; None where the settings say nothing.
        config: the L1 resource of its config.
        resource: the L1 resource.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        names: settings.ModelNames,
        hosting: settings.Hosting,
        serving: settings.Serving,
        model: RegisteredModel | Archives,
        role: iam.IRole,
        artifacts: s3.IBucket,
        encryption_key: kms.IKey,
        network: settings.Network | None = None,
        rollback_alarms: Sequence[cloudwatch.IAlarm] = (),
    ) -> None:
        """Makes models, config and endpoint, and gives the role what SageMaker needs to run them.

        Args:
            names: what the endpoint is called, and the prefixes of what it keeps.
            hosting: the kind of endpoint, its size, its updates, its scaling.
            serving: what the model reads and writes, and its latency budget.
            model: what is served; versions must be approved, since CreateModel refuses others.
            role: what SageMaker acts as. Besides what it is given here it must be able to fetch the image and to read
                the models of versions (`ModelImage.grant_pull`, `TrainingPipeline.grant_read_models`).
            artifacts: the bucket of captured data, of asynchronous requests and answers, and of archives.
            encryption_key: of all that is kept, and of the storage volumes where the instance type takes a key; instances with
                disks of their own encrypt them in hardware and SageMaker refuses a key:
                https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
            network: where SageMaker puts network interfaces. Default: in no VPC of ours; but for a serverless
                endpoint's the container itself has no network either way.
            rollback_alarms: what rolls an update back besides the endpoint's own alarms.

        Raises:
            ValueError: settings that do not go together, as `settings.check_hosting` finds them; a serverless endpoint in a
                network; archives where versions are meant; a package that SageMaker does not guard.
        """
        super().__init__(scope, id)
        settings.check_hosting(hosting)
        if network is not None and isinstance(hosting, settings.Serverless):
            raise ValueError("a serverless endpoint does not run in a network; choose another kind, or no network")
        if isinstance(hosting, settings.RealTime) and hosting.serves_archives != isinstance(model, Archives):
            raise ValueError(
                f"serves_archives is {hosting.serves_archives}, and what is served is a {type(model).__name__}"
            )
        self.endpoint_name = names.endpoint
        self.variant_names = variant_names(hosting)
        self._hosting, self._model, self._role, self._network = hosting, model, role, network

        policy = update_policy(hosting, model_package_arns=model.model_package_arns(_other_versions(hosting)))
        component_name = names.endpoint if isinstance(hosting, settings.InferenceComponents) else None
        self.alarms = RollbackAlarms(
            self,
            "Alarms",
            endpoint_name=self.endpoint_name,
            variant_names=self.variant_names,
            limits=hosting.rollback,
            p99_latency_ms=serving.p99_latency_in_ms,
            encryption_key=encryption_key,
            instance_types=instance_types(hosting),
            component_name=component_name,
        )
        for alarm in rollback_alarms:
            self.alarms.add(alarm)
        self.answers = (
            AsynchronousAnswers(self, "Answers", names=names, bucket=artifacts, encryption_key=encryption_key)
            if isinstance(hosting, settings.Asynchronous)
            else None
        )
        self._grant(encryption_key)
        self.config = endpoint_config(
            self,
            "Config",
            hosting=hosting,
            model_name=self._model_name,
            names=names,
            serving=serving,
            role=role,
            artifacts=artifacts,
            encryption_key=encryption_key,
            network=network,
            answers=self.answers,
        )
        self.resource = sagemaker.CfnEndpoint(
            self,
            "Resource",
            endpoint_name=self.endpoint_name,
            endpoint_config_name=self.config.attr_endpoint_config_name,
            deployment_config=policy.deployment_config(self.alarms.alarms),
            retain_all_variant_properties=policy.retain_all_variant_properties,
            exclude_retained_variant_properties=policy.exclude_retained_variant_properties,
        )
        # The role's ARN alone would let SageMaker look before the policies that permit it exist.
        self.resource.node.add_dependency(role)
        self.endpoint_arn = self.resource.ref
        self.component = self._component(policy)
        self.scaling = self._scale()

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets somebody ask for predictions, of this endpoint alone; of an asynchronous one with requests and answers in S3.

        SageMaker's endpoints have no policy of their own, so this is for principals of the same account: somebody in another
        account assumes a role here that has the grant.
        """
        if self.answers:
            self.answers.grant_ask(grantee)
            return iam.Grant.add_to_principal(
                grantee=grantee, actions=["sagemaker:InvokeEndpointAsync"], resource_arns=[self.endpoint_arn]
            )
        arns = [self.endpoint_arn, *([self.component.inference_component_arn] if self.component else [])]
        return iam.Grant.add_to_principal(grantee=grantee, actions=["sagemaker:InvokeEndpoint"], resource_arns=arns)

    @property
    def metrics(self) -> EndpointMetrics:
        """What can be measured of the served version."""
        return self.metrics_of(MAIN_VARIANT)

    def metrics_of(self, variant_name: str) -> EndpointMetrics:
        """What can be measured of one variant; of the copies, where components share the instances."""
        if self.component:
            return EndpointMetrics.of_component(self.component.inference_component_name)
        types = instance_types(self._hosting) or {}
        return EndpointMetrics.of_variant(self.endpoint_name, variant_name, types.get(variant_name))

    def metric(self, metric_name: str, **options: Any) -> cloudwatch.Metric:
        """Any metric that SageMaker publishes of the served version, by its name; `options` as `EndpointMetrics.metric`."""
        return self.metrics.metric(metric_name, **options)

    def _model_name(self, variant_name: str, version: int | None) -> str:
        """The model of one variant; each version that is served is a model."""
        return self._hosted_model("Model" if version is None else f"{variant_name}Model", version)

    def _hosted_model(self, id: str, version: int | None) -> str:
        return HostedModel(
            self,
            id,
            containers=self._model.containers(version),
            mode=self._model.mode,
            role=self._role,
            network=self._network,
            is_isolated=not isinstance(self._hosting, settings.Serverless),
        ).model_name

    def _grant(self, encryption_key: kms.IKey) -> None:
        log_groups = [f"/aws/sagemaker/Endpoints/{self.endpoint_name}"]
        if isinstance(self._hosting, settings.InferenceComponents):
            log_groups.append(f"/aws/sagemaker/InferenceComponents/{self.endpoint_name}")
        grant_logs(self._role, *log_groups)
        grant_instance_metrics(self._role)
        grant_network_interfaces(self._role, self._network)
        if takes_volume_key(self._hosting):
            grant_volume_encryption(self._role, encryption_key)
        self._model.grant_read(self._role)
        self.alarms.grant_describe(self._role)
        if self.answers:
            self.answers.grant_answer(self._role)

    def _component(self, policy: UpdatePolicy) -> InferenceComponent | None:
        if not isinstance(self._hosting, settings.InferenceComponents):
            return None
        return InferenceComponent(
            self,
            "Component",
            inference_component_name=self.endpoint_name,
            endpoint=self.resource,
            endpoint_name=self.endpoint_name,
            model_name=self._hosted_model("Model", None),
            hosting=self._hosting,
            policy=policy,
            alarms=self.alarms.alarms,
        )

    def _scale(self) -> EndpointScaling | None:
        """Scales the served version's variant, or the copies; other variants keep the count that the settings say."""
        if self._hosting.autoscaling is None:
            return None
        variant = f"endpoint/{self.endpoint_name}/variant/{MAIN_VARIANT}"
        match self._hosting:
            case settings.InferenceComponents():
                what, resource_id = COPY_COUNT, f"inference-component/{self.endpoint_name}"
            case settings.Serverless():
                what, resource_id = PROVISIONED_CONCURRENCY, variant
            case _:
                what, resource_id = INSTANCE_COUNT, variant
        return EndpointScaling(
            self,
            "Scaling",
            endpoint=self.component.resource if self.component else self.resource,
            resource_id=resource_id,
            scalable_dimension=what,
            hosting=self._hosting,
        )


def _other_versions(hosting: settings.Hosting) -> list[int]:
    """The versions that are served beside the pinned one."""
    if not isinstance(hosting, settings.RealTime):
        return []
    shadow = [hosting.shadow.served_version] if hosting.shadow else []
    return [*(variant.served_version for variant in hosting.variants.values()), *shadow]
