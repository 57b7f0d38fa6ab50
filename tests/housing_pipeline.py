"""The pipeline that the tests of the builders share: every kind of step, and what each can have."""

from collections.abc import Sequence

from sagestack.pipeline import (
    CacheConfig,
    ConditionStep,
    Equals,
    ExecutionVariables,
    FailStep,
    FloatParameter,
    In,
    Join,
    JsonGet,
    LessThanOrEqualTo,
    Not,
    Or,
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

BUCKET = "artifacts-of-the-test"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/housing:1"
ROLE = "arn:aws:iam::000000000000:role/pipeline"
KEY = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
RETRY = (RetryPolicy([RetryOn.JOB_INTERNAL_ERROR, RetryOn.CAPACITY_ERROR], max_attempts=3, interval_seconds=30),)


class HousingPipeline:
    """Builds the steps one by one, so that a test can spoil one of them."""

    def __init__(self, *, bucket: str = BUCKET, image: str = IMAGE, role: str = ROLE, key: str = KEY) -> None:
        self.bucket = bucket
        self.image = image
        self.role = role
        self.key = key
        self.input_data = StringParameter("InputDataUri", f"s3://{bucket}/housing/input/housing.csv")
        self.threshold = FloatParameter("QualityThreshold", 4.0)
        self.approval = StringParameter(
            "ModelApprovalStatus",
            "PendingManualApproval",
            enum_values=["PendingManualApproval", "Approved", "Rejected"],
        )
        self.preprocess = self._preprocess()
        self.train = self._train()
        self.evaluate = self._evaluate()
        self.rmse = JsonGet(self.evaluate, "Evaluation", "regression_metrics.rmse.value")
        self.register = self._register()
        self.missed = FailStep(
            "QualityMissed", error_message=Join(["The RMSE is", self.rmse, "but at most", self.threshold], on=" ")
        )
        self.check = ConditionStep(
            "CheckQuality",
            conditions=[
                LessThanOrEqualTo(self.rmse, self.threshold),
                Or([Not(Equals(self.approval, "Rejected")), In(self.threshold, [0.0, 1])]),
            ],
            if_steps=[self.register],
            else_steps=[self.missed],
            depends_on=[self.evaluate],
            display_name="Quality gate",
            description="Registers a model that is good enough",
        )

    def definition(self) -> PipelineDefinition:
        return PipelineDefinition(
            parameters=[self.input_data, self.threshold, self.approval],
            steps=[self.preprocess, self.train, self.evaluate, self.check],
        )

    def to(self, *path: str) -> Join:
        return Join([f"s3://{self.bucket}/housing", ExecutionVariables.PIPELINE_EXECUTION_ID, *path], on="/")

    def _processing(self, command: str, inputs: Sequence[object], outputs: Sequence[object]) -> dict[str, object]:
        return {
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                    "VolumeSizeInGB": 10,
                    "VolumeKmsKeyId": self.key,
                }
            },
            "AppSpecification": {"ImageUri": self.image, "ContainerArguments": [command]},
            "RoleArn": self.role,
            "ProcessingInputs": inputs,
            "ProcessingOutputConfig": {"Outputs": outputs, "KmsKeyId": self.key},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        }

    def _preprocess(self) -> ProcessingStep:
        return ProcessingStep(
            "Preprocess",
            arguments=self._processing(
                "preprocess",
                [processing_input("data", self.input_data, "/opt/ml/processing/input/data")],
                [
                    processing_output(split, self.to("Preprocess", split), f"/opt/ml/processing/output/{split}")
                    for split in ("train", "validation", "test")
                ],
            ),
            cache=CacheConfig("P30D"),
            retry=RETRY,
        )

    def _train(self) -> TrainingStep:
        return TrainingStep(
            "Train",
            arguments={
                "AlgorithmSpecification": {"TrainingImage": self.image, "TrainingInputMode": "File"},
                "RoleArn": self.role,
                "HyperParameters": hyperparameters({"max_depth": 5, "eta": 0.2, "objective": "reg:squarederror"}),
                "InputDataConfig": [
                    channel(split, self.preprocess.output(split), content_type="text/csv")
                    for split in ("train", "validation")
                ],
                "OutputDataConfig": {"S3OutputPath": self.to("Train"), "KmsKeyId": self.key},
                "ResourceConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                    "VolumeSizeInGB": 10,
                    "VolumeKmsKeyId": self.key,
                },
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            },
            cache=CacheConfig("P30D"),
            retry=RETRY,
        )

    def _evaluate(self) -> ProcessingStep:
        return ProcessingStep(
            "Evaluate",
            arguments=self._processing(
                "evaluate",
                [
                    processing_input("model", self.train.model_artifacts, "/opt/ml/processing/input/model"),
                    processing_input("test", self.preprocess.output("test"), "/opt/ml/processing/input/test"),
                ],
                [
                    processing_output(
                        "evaluation", self.to("Evaluate", "evaluation"), "/opt/ml/processing/output/evaluation"
                    )
                ],
            ),
            property_files=[PropertyFile("Evaluation", output_name="evaluation", path="evaluation.json")],
            retry=RETRY,
        )

    def _register(self) -> RegisterModelStep:
        return RegisterModelStep(
            "Register",
            arguments={
                "ModelPackageGroupName": "sagestack-local-housing",
                "ModelPackageDescription": "Trained by the pipeline",
                "ModelApprovalStatus": self.approval,
                "InferenceSpecification": {
                    "Containers": [{"Image": self.image, "ModelDataUrl": self.train.model_artifacts}],
                    "SupportedContentTypes": ["text/csv"],
                    "SupportedResponseMIMETypes": ["text/csv", "application/json"],
                    "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large"],
                    "SupportedTransformInstanceTypes": ["ml.m5.large"],
                },
                "ModelMetrics": {
                    "ModelQuality": {
                        "Statistics": {
                            "ContentType": "application/json",
                            "S3Uri": Join([self.evaluate.output("evaluation"), "evaluation.json"], on="/"),
                        }
                    }
                },
            },
            retry=[RetryPolicy([RetryOn.SERVICE_FAULT, RetryOn.THROTTLING], expire_after_minutes=10)],
        )
