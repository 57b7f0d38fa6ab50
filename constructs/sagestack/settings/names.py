"""What things are called, once, for the stacks that create them and the command line that looks for them."""

from __future__ import annotations

from dataclasses import dataclass

_PREFIX = "sagestack"
GUARDED_PATH = f"/{_PREFIX}/"
"""The IAM path of what guards the account. A deployment may touch what is named `sagestack-ENV-*` without a path: never these."""


@dataclass(frozen=True)
class EnvironmentNames:
    """The names that an environment's resources have or are found by."""

    environment: str

    @property
    def stack_prefix(self) -> str:
        """What the names of all its stacks begin with."""
        return f"{_PREFIX}-{self.environment}-"

    @property
    def foundation_stack(self) -> str:
        return f"{_PREFIX}-{self.environment}-foundation"

    @property
    def data_bucket_parameter(self) -> str:
        return f"/{_PREFIX}/{self.environment}/data-bucket"

    @property
    def artifact_bucket_parameter(self) -> str:
        return f"/{_PREFIX}/{self.environment}/artifact-bucket"

    @property
    def bootstrap_stack(self) -> str:
        """What an administrator deploys before anything else can be: who may deploy, and what a deployment may do."""
        return f"{_PREFIX}-{self.environment}-bootstrap"

    @property
    def deployment_policies(self) -> tuple[str, str]:
        """What CloudFormation may do when it deploys this environment: with what works, and with what that stands on."""
        return f"{_PREFIX}-{self.environment}-deployment", f"{_PREFIX}-{self.environment}-deployment-base"

    @property
    def workbench_deployment_policy(self) -> str:
        """The same with the workbench, where the environment has one."""
        return f"{_PREFIX}-{self.environment}-deployment-workbench"

    @property
    def permissions_boundary(self) -> str:
        """What no role of this environment can do, whatever its policies say."""
        return f"{_PREFIX}-{self.environment}-boundary"

    @property
    def github_deployment_role(self) -> str:
        return f"{_PREFIX}-{self.environment}-github"

    @property
    def github_drift_role(self) -> str:
        return f"{_PREFIX}-{self.environment}-github-drift"

    @property
    def stack_pattern(self) -> str:
        """Matches the names of all stacks of this environment, and of what CloudFormation names after them."""
        return f"{_PREFIX}-{self.environment}-*"

    @property
    def workbench_stack(self) -> str:
        """Exists only where the environment has a workbench."""
        return f"{_PREFIX}-{self.environment}-workbench"

    def notebook_instance(self, name: str) -> str:
        """Fixed: people look for it by name, and a replacement, which would lose the volume, fails rather than happens."""
        return f"{_PREFIX}-{self.environment}-{name}"

    def persona_role_parameter(self, persona: str) -> str:
        """The ARN of the role that people become."""
        return f"/{_PREFIX}/{self.environment}/personas/{persona}/role-arn"

    def notebook_role_parameter(self, name: str) -> str:
        """The ARN of a notebook's role, which its own jobs run with."""
        return f"/{_PREFIX}/{self.environment}/notebooks/{name}/role-arn"

    def notebook_prefix(self, name: str) -> str:
        """The key prefix, in the artifact bucket, that the instance may write to."""
        return f"notebooks/{name}/"

    def model(self, model: str) -> ModelNames:
        return ModelNames(self.environment, model)


@dataclass(frozen=True)
class ModelNames:
    """The names of one model's resources in one environment.

    Only the pipeline and the model package group carry a name of ours, because their API asks for one. Everything
    else is found through an SSM parameter, so that CloudFormation can replace it.
    """

    environment: str
    model: str

    @property
    def training_stack(self) -> str:
        return f"{_PREFIX}-{self.environment}-{self.model}-training"

    @property
    def serving_stack(self) -> str:
        """Exists only once the environment serves a version."""
        return f"{_PREFIX}-{self.environment}-{self.model}-serving"

    @property
    def pipeline(self) -> str:
        return f"{_PREFIX}-{self.environment}-{self.model}"

    @property
    def model_package_group(self) -> str:
        return f"{_PREFIX}-{self.environment}-{self.model}"

    @property
    def endpoint(self) -> str:
        """Fixed, for alarms must know it before the endpoint exists; an endpoint changes in place, so nothing collides."""
        return f"{_PREFIX}-{self.environment}-{self.model}"

    @property
    def pipeline_name_parameter(self) -> str:
        return f"/{_PREFIX}/{self.environment}/{self.model}/pipeline-name"

    @property
    def image_uri_parameter(self) -> str:
        """What the model is trained and served with: for jobs and endpoints that people start from a notebook."""
        return f"/{_PREFIX}/{self.environment}/{self.model}/image-uri"

    @property
    def model_package_group_name_parameter(self) -> str:
        return f"/{_PREFIX}/{self.environment}/{self.model}/model-package-group-name"

    @property
    def endpoint_name_parameter(self) -> str:
        return f"/{_PREFIX}/{self.environment}/{self.model}/endpoint-name"

    @property
    def inference_component_name_parameter(self) -> str:
        """Only where the endpoint has one: InvokeEndpoint asks for its name."""
        return f"/{_PREFIX}/{self.environment}/{self.model}/inference-component-name"

    @property
    def front_door_url_parameter(self) -> str:
        """Only where the endpoint has one: where to post requests to."""
        return f"/{_PREFIX}/{self.environment}/{self.model}/front-door-url"

    @property
    def input_prefix(self) -> str:
        """The key prefix of the model's data in the data bucket."""
        return f"{self.model}/input/"

    @property
    def output_prefix(self) -> str:
        """The key prefix of what the model's pipeline writes to the artifact bucket."""
        return f"{self.model}/"

    @property
    def captured_prefix(self) -> str:
        """The key prefix, in the artifact bucket, of the requests and answers that data capture keeps."""
        return f"{self.model}/captured/"

    @property
    def request_prefix(self) -> str:
        """The key prefix, in the artifact bucket, of the requests to an asynchronous endpoint."""
        return f"{self.model}/requests/"

    @property
    def answer_prefix(self) -> str:
        """The key prefix, in the artifact bucket, of the answers of an asynchronous endpoint."""
        return f"{self.model}/answers/"

    @property
    def failure_prefix(self) -> str:
        """The key prefix, in the artifact bucket, of what an asynchronous endpoint could not answer."""
        return f"{self.model}/failures/"

    @property
    def archive_prefix(self) -> str:
        """The key prefix, in the artifact bucket, of the archives that a multi-model endpoint serves."""
        return f"{self.model}/archives/"


@dataclass(frozen=True)
class DeliveryNames:
    """The names of the delivery pipeline's own things, in the account that it runs in."""

    @property
    def stack(self) -> str:
        return f"{_PREFIX}-delivery"

    @property
    def pipeline(self) -> str:
        return f"{_PREFIX}-delivery"

    def deployed_commit_parameter(self, environment: str) -> str:
        """The commit that the pipeline deployed to an environment last."""
        return f"/{_PREFIX}/delivery/{environment}/deployed-commit"

    def review_key(self, environment: str) -> str:
        """The review of what is deployed to an environment next; the bucket keeps older ones as versions of it."""
        return f"reviews/{environment}/review.html"
