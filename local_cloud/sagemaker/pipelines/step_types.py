"""What the types of pipeline steps are: the API calls behind them, and what of their arguments decides a cache hit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepType:
    """One type of step.

    Attributes:
        name: as a definition writes it.
        create: the API operation that the step's Arguments are the request of; None for a step that calls nothing.
        describe: the operation whose answer other steps may refer to.
        stop: the operation that stops what the step started.
        kind: the kind of what it creates, as ARNs write it.
        name_member: the member of the requests that names what it creates.
        arn_member: the member of the create answer that holds the ARN.
        status_member: the member of the describe answer that holds the status.
        metadata: the member of PipelineExecutionStepMetadata that tells of it.
        cache_key: the arguments that, if equal, make an earlier run reusable ("Default cache key attributes by pipeline
            step type" in the SageMaker Developer Guide); empty if the step is never cached.
        retryable: whether a step of this type may have retry policies.
    """

    name: str
    create: str | None = None
    describe: str | None = None
    stop: str | None = None
    kind: str = ""
    name_member: str = ""
    arn_member: str = ""
    status_member: str = ""
    metadata: str = ""
    cache_key: tuple[str, ...] = ()
    retryable: bool = False

    @property
    def is_job(self) -> bool:
        """Whether the step starts something that runs for a while."""
        return self.stop is not None


PROCESSING = StepType(
    name="Processing",
    create="CreateProcessingJob",
    describe="DescribeProcessingJob",
    stop="StopProcessingJob",
    kind="processing-job",
    name_member="ProcessingJobName",
    arn_member="ProcessingJobArn",
    status_member="ProcessingJobStatus",
    metadata="ProcessingJob",
    cache_key=("AppSpecification", "Environment", "ProcessingInputs"),
    retryable=True,
)
TRAINING = StepType(
    name="Training",
    create="CreateTrainingJob",
    describe="DescribeTrainingJob",
    stop="StopTrainingJob",
    kind="training-job",
    name_member="TrainingJobName",
    arn_member="TrainingJobArn",
    status_member="TrainingJobStatus",
    metadata="TrainingJob",
    cache_key=(
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
    retryable=True,
)
REGISTER_MODEL = StepType(
    name="RegisterModel",
    create="CreateModelPackage",
    describe="DescribeModelPackage",
    kind="model-package",
    name_member="ModelPackageName",
    arn_member="ModelPackageArn",
    status_member="ModelPackageStatus",
    metadata="RegisterModel",
    retryable=True,
)
CONDITION = StepType(name="Condition", metadata="Condition")
FAIL = StepType(name="Fail", metadata="Fail")

STEP_TYPES = {step_type.name: step_type for step_type in (PROCESSING, TRAINING, REGISTER_MODEL, CONDITION, FAIL)}

ELSEWHERE = (
    "AutoML",
    "BedrockCustomModel",
    "BedrockCustomModelDeployment",
    "BedrockModelImport",
    "BedrockProvisionedModelThroughput",
    "Callback",
    "ClarifyCheck",
    "Cleanup",
    "EMR",
    "EMRServerless",
    "Endpoint",
    "EndpointConfig",
    "ForEach",
    "InferenceComponent",
    "Job",
    "Lambda",
    "Lineage",
    "Model",
    "NotebookJob",
    "QualityCheck",
    "Transform",
    "Tuning",
)
"""Types that SageMaker has and the local cloud has not: refused when the pipeline is created, not when it runs."""
