"""The steps from raw data to a registered version, the same for every model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagestack import settings
from sagestack.network import vpc_config
from sagestack.pipeline import (
    ConditionStep,
    ExecutionVariables,
    FailStep,
    FloatParameter,
    GreaterThanOrEqualTo,
    Join,
    JsonGet,
    LessThanOrEqualTo,
    PipelineDefinition,
    ProcessingStep,
    PropertyFile,
    RegisterModelStep,
    RetryOn,
    RetryPolicy,
    StringParameter,
    TrainingStep,
    channel,
    hyperparameters,
    processing_input,
    processing_output,
)

PREPROCESS, TRAIN, EVALUATE = "Preprocess", "Train", "Evaluate"
"""The steps that write something, each to a folder of its name; roles are limited to some of these folders."""
CHECKPOINTS = "Checkpoints"
GOLDEN_RECORDS = "golden-records"
"""The key of a version's metadata that says where its golden records are."""
_PROCESSING = "/opt/ml/processing"

# A lost machine is nobody's mistake: three more tries, after 10, 20 and 40 seconds. A zone without capacity takes
# longer to recover: five more, from two minutes to half an hour apart.
_JOB_RETRY = [
    RetryPolicy(
        [RetryOn.JOB_INTERNAL_ERROR, RetryOn.SERVICE_FAULT, RetryOn.THROTTLING], max_attempts=3, interval_seconds=10
    ),
    RetryPolicy([RetryOn.CAPACITY_ERROR], max_attempts=5, interval_seconds=120),
]
_CALL_RETRY = [RetryPolicy([RetryOn.SERVICE_FAULT, RetryOn.THROTTLING], max_attempts=3, interval_seconds=5)]


@dataclass(frozen=True)
class TrainingRun:
    """Everything that a run of the pipeline works with."""

    model: settings.Model
    size: settings.PipelineSize
    image_uri: str
    """What the jobs run."""
    serving_image_uri: str
    """What a registered version names."""
    role_arn: str
    key_arn: str
    input_uri: str
    """Where the data is, as an S3 prefix."""
    output_uri: str
    """Where each execution gets a folder for its outputs, as an S3 prefix without a slash at the end."""
    model_package_group_name: str
    network: settings.Network | None

    def definition(self) -> PipelineDefinition:
        """Preprocess, train, evaluate; then register what is good enough, and fail on what is not.

        Raises `PipelineError` where a step does not fit SageMaker's API, such as a URI that is too long.

        No step is cached: SageMaker's cache compares where the data is, not what it holds, and new data
        under the old key would be passed over in silence.
        """
        input_data = StringParameter("InputDataUri", self.input_uri)
        threshold = FloatParameter("QualityThreshold", self.model.quality.threshold)
        approval = StringParameter(
            "ModelApprovalStatus",
            "PendingManualApproval",
            enum_values=["PendingManualApproval", "Approved", "Rejected"],
        )
        preprocess = self._preprocess(input_data)
        train = self._train(preprocess)
        evaluate = self._evaluate(preprocess, train)
        check = self._check_quality(evaluate, threshold, self._register(train, evaluate, approval))
        return PipelineDefinition(
            parameters=[input_data, threshold, approval], steps=[preprocess, train, evaluate, check]
        )

    def _preprocess(self, input_data: StringParameter) -> ProcessingStep:
        return ProcessingStep(
            PREPROCESS,
            arguments=self._processing(
                "preprocess",
                inputs=[processing_input("data", input_data, f"{_PROCESSING}/input/data")],
                outputs={split: self._to(PREPROCESS, split) for split in ("train", "validation", "test")},
            ),
            retry=_JOB_RETRY,
        )

    def _train(self, preprocess: ProcessingStep) -> TrainingStep:
        count, spot = self.size.training_instance_count, self.size.spot
        return TrainingStep(
            TRAIN,
            arguments={
                "AlgorithmSpecification": {
                    "TrainingImage": self.image_uri,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": self._metric_definitions(),
                },
                "RoleArn": self.role_arn,
                "HyperParameters": hyperparameters(self.model.training.hyperparameter_texts),
                "InputDataConfig": [
                    channel(split, preprocess.output(split), content_type="text/csv", is_sharded=count > 1)
                    for split in ("train", "validation")
                ],
                "OutputDataConfig": {"S3OutputPath": self._to(TRAIN), "KmsKeyId": self.key_arn},
                "ResourceConfig": self._instance(self.size.training_instance_type, count),
                "StoppingCondition": {
                    "MaxRuntimeInSeconds": self.size.max_runtime_in_seconds,
                    "MaxWaitTimeInSeconds": spot.max_wait_in_seconds if spot else None,
                },
                "EnableManagedSpotTraining": True if spot else None,
                # What an interrupted job goes on from. Below the execution: no run takes up another one's.
                "CheckpointConfig": {"S3Uri": self._to(CHECKPOINTS)} if spot else None,
                "EnableNetworkIsolation": True,
                "VpcConfig": vpc_config(self.network),
            },
            retry=_JOB_RETRY,
        )

    def _metric_definitions(self) -> list[dict[str, str]] | None:
        """Where SageMaker finds the metrics of each round in the log, for its charts and its tuning.

        Names and lines are those of SageMaker's own XGBoost. An image of a model's own logs as it likes.
        """
        metrics = str(self.model.training.hyperparameters.get("eval_metric", ""))
        if self.model.training.kind != "xgboost" or not metrics:
            return None
        return [
            {"Name": f"{split}:{metric}", "Regex": rf".*\[[0-9]+\].*#011{split}-{re.escape(metric)}:(\S+)"}
            for split in ("train", "validation")
            for metric in metrics.split(",")
        ]

    def _evaluate(self, preprocess: ProcessingStep, train: TrainingStep) -> ProcessingStep:
        return ProcessingStep(
            EVALUATE,
            arguments=self._processing(
                "evaluate",
                inputs=[
                    processing_input("model", train.model_artifacts, f"{_PROCESSING}/input/model"),
                    processing_input("test", preprocess.output("test"), f"{_PROCESSING}/input/test"),
                ],
                outputs={"evaluation": self._to(EVALUATE, "evaluation")},
            ),
            property_files=[PropertyFile("Evaluation", output_name="evaluation", path="evaluation.json")],
            retry=_JOB_RETRY,
        )

    def _check_quality(
        self, evaluate: ProcessingStep, threshold: FloatParameter, register: RegisterModelStep
    ) -> ConditionStep:
        quality = self.model.quality
        score = JsonGet(evaluate, "Evaluation", quality.metric)
        compare, bound = (LessThanOrEqualTo, "most") if quality.lower_is_better else (GreaterThanOrEqualTo, "least")
        missed = FailStep(
            "QualityMissed",
            error_message=Join(
                [f"Nothing was registered: {quality.metric} is", score, f"and must be at {bound}", threshold], on=" "
            ),
        )
        return ConditionStep(
            "CheckQuality", conditions=[compare(score, threshold)], if_steps=[register], else_steps=[missed]
        )

    def _register(self, train: TrainingStep, evaluate: ProcessingStep, approval: StringParameter) -> RegisterModelStep:
        statistics = {
            "ContentType": "application/json",
            "S3Uri": Join([evaluate.output("evaluation"), "evaluation.json"], on="/"),
        }
        return RegisterModelStep(
            "Register",
            arguments={
                "ModelPackageGroupName": self.model_package_group_name,
                "ModelPackageDescription": self.model.description,
                "ModelApprovalStatus": approval,
                "InferenceSpecification": {
                    "Containers": [{"Image": self.serving_image_uri, "ModelDataUrl": train.model_artifacts}],
                    "SupportedContentTypes": list(self.model.serving.content_types),
                    "SupportedResponseMIMETypes": list(self.model.serving.response_types),
                },
                "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
                # Where a deployment finds what to ask the endpoint, and what it must answer.
                "CustomerMetadataProperties": {
                    GOLDEN_RECORDS: Join([evaluate.output("evaluation"), "golden-records.json"], on="/")
                },
            },
            retry=_CALL_RETRY,
        )

    def _processing(self, command: str, *, inputs: list[dict[str, Any]], outputs: Mapping[str, Join]) -> dict[str, Any]:
        network: dict[str, Any] = {"EnableNetworkIsolation": True, "VpcConfig": vpc_config(self.network)}
        return {
            "ProcessingResources": {"ClusterConfig": self._instance(self.size.processing_instance_type)},
            "AppSpecification": {"ImageUri": self.image_uri, "ContainerArguments": [command]},
            "RoleArn": self.role_arn,
            "ProcessingInputs": inputs,
            "ProcessingOutputConfig": {
                "Outputs": [
                    processing_output(name, uri, f"{_PROCESSING}/output/{name}") for name, uri in outputs.items()
                ],
                "KmsKeyId": self.key_arn,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": self.size.max_runtime_in_seconds},
            "NetworkConfig": {name: value for name, value in network.items() if value is not None},
        }

    def _instance(self, instance_type: str, count: int = 1) -> dict[str, Any]:
        return {
            "InstanceCount": count,
            "InstanceType": instance_type,
            "VolumeSizeInGB": self.size.volume_size_in_gb,
            "VolumeKmsKeyId": self.key_arn if settings.takes_volume_key(instance_type) else None,
        }

    def _to(self, *path: str) -> Join:
        return Join([self.output_uri, ExecutionVariables.PIPELINE_EXECUTION_ID, *path], on="/")
