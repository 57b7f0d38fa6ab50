# mypy: ignore-errors
# (The SDK is not in the environment that mypy sees.)
"""Builds the housing pipeline with the SageMaker SDK and prints its definition as JSON.

Runs under .venv-sdk, where the SDK is and the project is not, hence no import of ours. It reads the few strings that
both sides must share (bucket, image, role, key) as JSON from the first argument.

Nothing leaves the machine: opening any connection raises, credentials are invented, telemetry is off.
"""

import io
import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError(f"the SDK tried to reach the network: {args[1:]}")


socket.socket.connect = refuse
socket.getaddrinfo = refuse
home = tempfile.TemporaryDirectory()
config = Path(home.name) / "config.yaml"
config.write_text("SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n")
os.environ |= {
    "HOME": home.name,
    "AWS_ACCESS_KEY_ID": "invented",
    "AWS_SECRET_ACCESS_KEY": "invented",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "SAGEMAKER_VALIDATE_ROLE": "false",
    "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
    "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(config),
}

import boto3  # noqa: E402
from botocore.awsrequest import AWSRequest, AWSResponse, HeadersDict  # noqa: E402
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics  # noqa: E402
from sagemaker.core.processing import Processor  # noqa: E402
from sagemaker.core.shapes import (  # noqa: E402
    Channel,
    DataSource,
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    S3DataSource,
    StoppingCondition,
)
from sagemaker.core.workflow.conditions import (  # noqa: E402
    ConditionEquals,
    ConditionIn,
    ConditionLessThanOrEqualTo,
    ConditionNot,
    ConditionOr,
)
from sagemaker.core.workflow.execution_variables import ExecutionVariables  # noqa: E402
from sagemaker.core.workflow.functions import Join, JsonGet  # noqa: E402
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterString  # noqa: E402
from sagemaker.core.workflow.pipeline_context import PipelineSession  # noqa: E402
from sagemaker.core.workflow.properties import PropertyFile  # noqa: E402
from sagemaker.mlops.workflow.condition_step import ConditionStep  # noqa: E402
from sagemaker.mlops.workflow.fail_step import FailStep  # noqa: E402
from sagemaker.mlops.workflow.model_step import ModelStep  # noqa: E402
from sagemaker.mlops.workflow.pipeline import Pipeline  # noqa: E402
from sagemaker.mlops.workflow.retry import (  # noqa: E402
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep  # noqa: E402
from sagemaker.serve.model_builder import ModelBuilder  # noqa: E402
from sagemaker.train.configs import Compute  # noqa: E402
from sagemaker.train.model_trainer import ModelTrainer  # noqa: E402

shared = json.loads(sys.argv[1])
BUCKET, IMAGE, ROLE, KEY = shared["bucket"], shared["image"], shared["role"], shared["key"]


def answer(request: AWSRequest, **_: object) -> AWSResponse:
    """The one question that the SDK asks while it builds: does the bucket exist? Anything else is refused."""
    if request.method != "GET" or request.url != "https://s3.amazonaws.com/":
        refuse(None, request.method, request.url)
    bucket = f"<Bucket><Name>{BUCKET}</Name><CreationDate>2026-01-01T00:00:00Z</CreationDate></Bucket>"
    body = f"<ListAllMyBucketsResult><Buckets>{bucket}</Buckets></ListAllMyBucketsResult>"
    return AWSResponse(request.url, 200, HeadersDict(), RawAnswer(body.encode()))


class RawAnswer(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


boto_session = boto3.Session(region_name="us-east-1")
boto_session.events.register("before-send", answer)
session = PipelineSession(boto_session=boto_session, default_bucket=BUCKET)

input_data = ParameterString("InputDataUri", f"s3://{BUCKET}/housing/input/housing.csv")
threshold = ParameterFloat("QualityThreshold", 4.0)
approval = ParameterString(
    "ModelApprovalStatus", "PendingManualApproval", enum_values=["PendingManualApproval", "Approved", "Rejected"]
)
job_retry = [
    SageMakerJobStepRetryPolicy(
        [SageMakerJobExceptionTypeEnum.INTERNAL_ERROR, SageMakerJobExceptionTypeEnum.CAPACITY_ERROR],
        max_attempts=3,
        interval_seconds=30,
    )
]
cache = CacheConfig(enable_caching=True, expire_after="P30D")


def to(*path: str) -> Join:
    return Join(on="/", values=[f"s3://{BUCKET}/housing", ExecutionVariables.PIPELINE_EXECUTION_ID, *path])


def processor() -> Processor:
    return Processor(
        role=ROLE,
        image_uri=IMAGE,
        instance_count=1,
        instance_type="ml.m5.large",
        volume_size_in_gb=10,
        volume_kms_key=KEY,
        output_kms_key=KEY,
        max_runtime_in_seconds=3600,
        sagemaker_session=session,
    )


def processing_input(name: str, uri: object, local_path: str) -> ProcessingInput:
    return ProcessingInput(
        input_name=name,
        app_managed=False,
        s3_input=ProcessingS3Input(
            s3_uri=uri,
            local_path=local_path,
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
            s3_compression_type="None",
        ),
    )


def processing_output(name: str, uri: object, local_path: str) -> ProcessingOutput:
    return ProcessingOutput(
        output_name=name,
        app_managed=False,
        s3_output=ProcessingS3Output(s3_uri=uri, local_path=local_path, s3_upload_mode="EndOfJob"),
    )


preprocess = ProcessingStep(
    "Preprocess",
    step_args=processor().run(
        inputs=[processing_input("data", input_data, "/opt/ml/processing/input/data")],
        outputs=[
            processing_output(split, to("Preprocess", split), f"/opt/ml/processing/output/{split}")
            for split in ("train", "validation", "test")
        ],
        arguments=["preprocess"],
    ),
    cache_config=cache,
    retry_policies=job_retry,
)
made = preprocess.properties.ProcessingOutputConfig.Outputs

train = TrainingStep(
    "Train",
    step_args=ModelTrainer(
        training_image=IMAGE,
        role=ROLE,
        sagemaker_session=session,
        compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10, volume_kms_key_id=KEY),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=3600),
        output_data_config=OutputDataConfig(s3_output_path=to("Train"), kms_key_id=KEY),
        hyperparameters={"max_depth": 5, "eta": 0.2, "objective": "reg:squarederror"},
        input_data_config=[
            Channel(
                channel_name=split,
                content_type="text/csv",
                data_source=DataSource(
                    s3_data_source=S3DataSource(
                        s3_uri=made[split].S3Output.S3Uri,
                        s3_data_type="S3Prefix",
                        s3_data_distribution_type="FullyReplicated",
                    )
                ),
            )
            for split in ("train", "validation")
        ],
    ).train(),
    cache_config=cache,
    retry_policies=job_retry,
)
model_data = train.properties.ModelArtifacts.S3ModelArtifacts

evaluation = PropertyFile(name="Evaluation", output_name="evaluation", path="evaluation.json")
evaluate = ProcessingStep(
    "Evaluate",
    step_args=processor().run(
        inputs=[
            processing_input("model", model_data, "/opt/ml/processing/input/model"),
            processing_input("test", made["test"].S3Output.S3Uri, "/opt/ml/processing/input/test"),
        ],
        outputs=[processing_output("evaluation", to("Evaluate", "evaluation"), "/opt/ml/processing/output/evaluation")],
        arguments=["evaluate"],
    ),
    property_files=[evaluation],
    retry_policies=job_retry,
)
rmse = JsonGet(step_name="Evaluate", property_file=evaluation, json_path="regression_metrics.rmse.value")
report = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri

register = ModelStep(
    "Register",
    step_args=ModelBuilder(
        s3_model_data_url=model_data, image_uri=IMAGE, role_arn=ROLE, sagemaker_session=session
    ).register(
        model_package_group_name="sagestack-local-housing",
        description="Trained by the pipeline",
        approval_status=approval,
        content_types=["text/csv"],
        response_types=["text/csv", "application/json"],
        inference_instances=["ml.m5.large"],
        transform_instances=["ml.m5.large"],
        model_metrics=ModelMetrics(
            model_statistics=MetricsSource(
                content_type="application/json", s3_uri=Join(on="/", values=[report, "evaluation.json"])
            )
        ),
    ),
    retry_policies=[
        StepRetryPolicy([StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING], expire_after_mins=10)
    ],
)
missed = FailStep("QualityMissed", error_message=Join(on=" ", values=["The RMSE is", rmse, "but at most", threshold]))
check = ConditionStep(
    "CheckQuality",
    conditions=[
        ConditionLessThanOrEqualTo(left=rmse, right=threshold),
        ConditionOr(
            [ConditionNot(ConditionEquals(left=approval, right="Rejected")), ConditionIn(threshold, in_values=[0.0, 1])]
        ),
    ],
    if_steps=[register],
    else_steps=[missed],
    depends_on=[evaluate],
    display_name="Quality gate",
    description="Registers a model that is good enough",
)

pipeline = Pipeline(
    name="housing",
    parameters=[input_data, threshold, approval],
    steps=[preprocess, train, evaluate, check],
    sagemaker_session=session,
    pipeline_experiment_config=None,
)
print(pipeline.definition(), file=sys.stdout)
