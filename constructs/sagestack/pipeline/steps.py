"""The steps of a pipeline. Their arguments are dicts in the shape of the API that the step calls.

A member whose value is None is left out, as in the CDK. What SageMaker decides itself (names of jobs) is refused.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sagestack.pipeline import model
from sagestack.pipeline.conditions import Condition
from sagestack.pipeline.errors import PipelineError
from sagestack.pipeline.policies import CacheConfig, RetryPolicy
from sagestack.pipeline.values import Property, Value


@dataclass(frozen=True)
class PropertyFile:
    """A JSON file that a processing step leaves in one of its outputs, so that `JsonGet` can read from it.

    `path` is the file's place below the output's prefix.
    """

    name: str
    output_name: str
    path: str

    def to_request(self) -> dict[str, object]:
        return {"PropertyFileName": self.name, "OutputName": self.output_name, "FilePath": self.path}


class Step(ABC):
    """What every step has: a unique name, and steps that must have ended before it starts.

    SageMaker derives most of the order from references; `depends_on` adds what references do not show. `display_name` and
    `description` are for people who look at the pipeline; without them SageMaker shows the name.
    """

    kind: str

    def __init__(
        self,
        name: str,
        *,
        depends_on: Sequence["Step | str"] = (),
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        self.name = name
        self.depends_on = [step if isinstance(step, str) else step.name for step in depends_on]
        self.display_name = display_name
        self.description = description

    @abstractmethod
    def to_arguments(self) -> Mapping[str, object]:
        """The step's `Arguments`; values may still be `Value` objects."""

    def to_request(self) -> dict[str, object]:
        """The step's entry in the definition's `Steps`; values may still be `Value` objects."""
        request: dict[str, object] = {
            "Name": self.name,
            "Type": self.kind,
            "DisplayName": self.display_name,
            "Description": self.description,
            "Arguments": self.to_arguments(),
        }
        if self.depends_on:
            request["DependsOn"] = self.depends_on
        return {key: value for key, value in request.items() if value is not None}

    @property
    def properties(self) -> Property:
        """What SageMaker will describe of what this step made, member by member.

        Raises:
            PipelineError: the step makes nothing that could be described, as a Fail step.
        """
        describes = model.STEP_KINDS[self.kind].describes
        if describes is None:
            raise PipelineError([f'Step "{self.name}": a {self.kind} step ends the execution and has no properties'])
        return Property(self.name, model.shape(describes))


class _RetriedStep(Step):
    """A step whose arguments are a request to the API, and that can be tried again.

    Without `retry` SageMaker retries its own faults and throttling only.
    """

    def __init__(
        self,
        name: str,
        *,
        arguments: Mapping[str, object],
        retry: Sequence[RetryPolicy] = (),
        depends_on: Sequence[Step | str] = (),
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(name, depends_on=depends_on, display_name=display_name, description=description)
        self.arguments = arguments
        self.retry = retry

    def to_arguments(self) -> Mapping[str, object]:
        return self.arguments

    def to_request(self) -> dict[str, object]:
        request = super().to_request()
        if self.retry:
            request["RetryPolicies"] = [policy.to_request() for policy in self.retry]
        return request


class RegisterModelStep(_RetriedStep):
    """Registers a new version in a model package group. `arguments` are CreateModelPackage's.

    Its properties are DescribeModelPackage's: `.properties.ModelPackageArn`.
    """

    kind = "RegisterModel"


class _CachedStep(_RetriedStep):
    """A step that runs a job, which can be skipped when it has run before."""

    def __init__(
        self,
        name: str,
        *,
        arguments: Mapping[str, object],
        cache: CacheConfig | None = None,
        retry: Sequence[RetryPolicy] = (),
        depends_on: Sequence[Step | str] = (),
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(
            name,
            arguments=arguments,
            retry=retry,
            depends_on=depends_on,
            display_name=display_name,
            description=description,
        )
        self.cache = cache

    def to_request(self) -> dict[str, object]:
        request = super().to_request()
        if self.cache is not None:
            request["CacheConfig"] = self.cache.to_request()
        return request


class ProcessingStep(_CachedStep):
    """Runs a processing job. `arguments` are CreateProcessingJob's, without ProcessingJobName.

    Its properties are DescribeProcessingJob's; `output("train")` is the short way to the S3 URI of an output.
    """

    kind = "Processing"

    def __init__(
        self,
        name: str,
        *,
        arguments: Mapping[str, object],
        property_files: Sequence[PropertyFile] = (),
        cache: CacheConfig | None = None,
        retry: Sequence[RetryPolicy] = (),
        depends_on: Sequence[Step | str] = (),
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(
            name,
            arguments=arguments,
            cache=cache,
            retry=retry,
            depends_on=depends_on,
            display_name=display_name,
            description=description,
        )
        self.property_files = property_files

    def output(self, name: str) -> Property:
        """The S3 URI of one of the step's outputs, by its name; one that it has not is refused with the definition."""
        return self.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri

    def to_request(self) -> dict[str, object]:
        request = super().to_request()
        if self.property_files:
            request["PropertyFiles"] = [file.to_request() for file in self.property_files]
        return request


class TrainingStep(_CachedStep):
    """Runs a training job. `arguments` are CreateTrainingJob's, without TrainingJobName.

    Its properties are DescribeTrainingJob's; `model_artifacts` is the short way to the S3 URI of model.tar.gz.
    """

    kind = "Training"

    @property
    def model_artifacts(self) -> Property:
        """The S3 URI of the model.tar.gz that the job wrote."""
        return self.properties.ModelArtifacts.S3ModelArtifacts


class ConditionStep(Step):
    """Goes on with one of two branches: `if_steps` when every condition holds, else `else_steps`.

    The steps of a branch are given here and nowhere else. A branch holds no further condition step, and no step is
    in both. Its one property is `.properties.Outcome`, "True" or "False".
    """

    kind = "Condition"

    def __init__(
        self,
        name: str,
        *,
        conditions: Sequence[Condition],
        if_steps: Sequence[Step] = (),
        else_steps: Sequence[Step] = (),
        depends_on: Sequence[Step | str] = (),
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(name, depends_on=depends_on, display_name=display_name, description=description)
        self.conditions = conditions
        self.if_steps = if_steps
        self.else_steps = else_steps

    def to_arguments(self) -> Mapping[str, object]:
        return {
            "Conditions": [condition.to_request() for condition in self.conditions],
            "IfSteps": [step.to_request() for step in self.if_steps],
            "ElseSteps": [step.to_request() for step in self.else_steps],
        }


class FailStep(Step):
    """Ends the execution as failed, with `error_message` as its reason (at most 3,072 characters).

    Nothing may refer to it or depend on it: it is always the last step that runs.
    """

    kind = "Fail"

    def __init__(
        self,
        name: str,
        *,
        error_message: str | Value,
        depends_on: Sequence[Step | str] = (),
        display_name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(name, depends_on=depends_on, display_name=display_name, description=description)
        self.error_message = error_message

    def to_arguments(self) -> Mapping[str, object]:
        return {"ErrorMessage": self.error_message}
