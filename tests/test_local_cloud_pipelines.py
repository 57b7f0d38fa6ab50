"""Pipelines and the registry as a client of the real cloud sees them: over the wire, with IAM and EventBridge in between."""

from __future__ import annotations

import io
import itertools
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud_fixtures import LocalCloud
from tests.pace import fastest
from tests.pipeline_documents import (
    at_most,
    condition,
    document,
    fail,
    get,
    join,
    json_get,
    processing,
    register,
    training,
)

READS_ALL = {"Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
STEP_FAILURE = "Step failure: One or multiple steps failed."


def start(cloud: LocalCloud, name: str, definition: str, role: str, **parameters: str) -> str:
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition, RoleArn=role)
    given = [{"Name": key, "Value": value} for key, value in parameters.items()]
    started = sagemaker.start_pipeline_execution(PipelineName=name, PipelineParameters=given)
    return str(started["PipelineExecutionArn"])


def wait(cloud: LocalCloud, execution: str, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        described = cloud.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=execution)
        if described["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
            return dict(described)
        time.sleep(0.05)
    raise AssertionError(f"{execution} did not end in {seconds} s")


def steps(cloud: LocalCloud, execution: str) -> dict[str, Any]:
    listed = cloud.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=execution)
    return {step["StepName"]: step for step in listed["PipelineExecutionSteps"]}


def model_in_s3(cloud: LocalCloud, bucket: str) -> str:
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("s3").put_object(Bucket=bucket, Key="model.tar.gz", Body=b"model")
    return f"s3://{bucket}/model.tar.gz"


def queue_of_events(cloud: LocalCloud, name: str, pattern: dict[str, Any]) -> str:
    """The URL of a queue that receives the SageMaker events that match."""
    sqs, rules = cloud.client("sqs"), cloud.client("events")
    url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.sagemaker"], **pattern}))
    rules.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": queue_arn}])
    return url


def received(cloud: LocalCloud, url: str, count: int, seconds: float = 60) -> list[dict[str, Any]]:
    """The first events that a queue receives."""
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + seconds
    while len(events) < count and time.monotonic() < deadline:
        answer = cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=1, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            events.append(json.loads(message["Body"]))
            cloud.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return events


def gate(group: str, model: str) -> str:
    score = get("Parameters.Score")
    return document(
        condition(
            "Check",
            at_most(score, get("Parameters.Threshold")),
            then=[register("Register", group, model)],
            otherwise=[fail("Missed", join("The score ", score, " is above ", get("Parameters.Threshold")))],
        ),
        parameters=[
            {"Name": "Score", "Type": "Float"},
            {"Name": "Threshold", "Type": "Float", "DefaultValue": 4.0},
        ],
    )


def test_the_gate_registers_with_the_rights_of_the_pipelines_role(cloud: LocalCloud) -> None:
    model = model_in_s3(cloud, "gate-models")
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="gate")
    role = cloud.role("gate", READS_ALL, {"Action": "sagemaker:CreateModelPackage", "Resource": "*"})
    execution = start(cloud, "gate", gate("gate", model), role, Score="3.5")
    described = wait(cloud, execution)
    assert described["PipelineExecutionStatus"] == "Succeeded", steps(cloud, execution)
    arn = steps(cloud, execution)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)
    assert package["ModelPackageVersion"] == 1
    assert package["MetadataProperties"]["GeneratedBy"] == execution
    assert ":assumed-role/gate/SageMaker" in package["CreatedBy"]["IamIdentity"]["Arn"]


def test_the_gate_says_what_was_missed(cloud: LocalCloud) -> None:
    role = cloud.role("missed", READS_ALL)
    execution = start(cloud, "missed", gate("none", "s3://none/none"), role, Score="4.5")
    described = wait(cloud, execution)
    assert described["PipelineExecutionStatus"] == "Failed"
    assert described["FailureReason"] == f"{STEP_FAILURE} Missed: The score 4.5 is above 4.0"


@pytest.mark.parametrize("missing", ["sagemaker:CreateModelPackage", "s3:GetObject"])
def test_a_right_that_the_role_lacks_fails_the_step_and_is_named(cloud: LocalCloud, missing: str) -> None:
    name = f"lacks-{missing.partition(':')[2].lower()}"
    model = model_in_s3(cloud, name)
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    actions = {"sagemaker:CreateModelPackage", "s3:GetObject"} - {missing}
    role = cloud.role(name, {"Action": sorted(actions), "Resource": "*"})
    execution = start(cloud, name, gate(name, model), role, Score="1")
    assert wait(cloud, execution)["PipelineExecutionStatus"] == "Failed"
    reason = steps(cloud, execution)["Register"]["FailureReason"]
    assert reason.startswith("ClientError: Failed to invoke sagemaker:CreateModelPackage. Error Details: ")
    assert f":assumed-role/{name}/SageMaker is not authorized to perform: {missing} on resource: arn:aws:" in reason


def test_a_role_that_does_not_trust_sagemaker_fails_the_step(cloud: LocalCloud) -> None:
    role = cloud.role("lambda-only", READS_ALL, trusts="lambda.amazonaws.com")
    execution = start(cloud, "lambda-only", document(training("Train")), role)
    assert wait(cloud, execution)["PipelineExecutionStatus"] == "Failed"
    assert "Could not assume role" in steps(cloud, execution)["Train"]["FailureReason"]


def test_a_job_that_the_role_may_not_start_fails_the_step(cloud: LocalCloud) -> None:
    role = cloud.role("no-jobs", READS_ALL)
    execution = start(cloud, "no-jobs", document(training("Train")), role)
    assert wait(cloud, execution)["PipelineExecutionStatus"] == "Failed"
    reason = steps(cloud, execution)["Train"]["FailureReason"]
    denied = ":assumed-role/no-jobs/SageMaker is not authorized to perform: sagemaker:CreateTrainingJob on resource: "
    assert f"{denied}arn:aws:sagemaker:us-east-1:000000000000:training-job/pipelines-" in reason


def test_wrong_parameters_are_refused_by_name(cloud: LocalCloud) -> None:
    role = cloud.role("parameters", READS_ALL)
    with pytest.raises(
        ClientError, match=r"\(ValidationException\).*no parameters \[Skore\]; it has: Score, Threshold"
    ):
        start(cloud, "parameters", gate("none", "s3://none/none"), role, Skore="1")
    sagemaker = cloud.client("sagemaker")
    for value, says in (("one", "'Score' is of type Float, got 'one'"), (None, r"\[Score\] have no default value")):
        given = [{"Name": "Score", "Value": value}] if value else []
        with pytest.raises(ClientError, match=says):
            sagemaker.start_pipeline_execution(PipelineName="parameters", PipelineParameters=given)


def test_a_definition_that_cannot_run_is_refused(cloud: LocalCloud) -> None:
    sagemaker = cloud.client("sagemaker")
    with pytest.raises(ClientError, match=r"\(ValidationException\).*Unable to parse pipeline definition"):
        sagemaker.create_pipeline(
            PipelineName="broken", PipelineDefinition="{}", RoleArn=cloud.role("broken", READS_ALL)
        )
    steps_of_others = document({"Name": "Tune", "Type": "Tuning", "Arguments": {}})
    with pytest.raises(ClientError, match=r"\(UnsupportedOperation\).*steps of type Tuning \(step 'Tune'\)"):
        sagemaker.create_pipeline(
            PipelineName="broken", PipelineDefinition=steps_of_others, RoleArn=cloud.role("broken", READS_ALL)
        )
    with pytest.raises(sagemaker.exceptions.ResourceNotFound, match="pipeline/broken' does not exist"):
        sagemaker.describe_pipeline(PipelineName="broken")


def test_a_definition_may_come_from_s3(cloud: LocalCloud) -> None:
    cloud.client("s3").create_bucket(Bucket="definitions")
    cloud.client("s3").put_object(Bucket="definitions", Key="line.json", Body=gate("a", "s3://b/c").encode())
    sagemaker = cloud.client("sagemaker")
    location = {"Bucket": "definitions", "ObjectKey": "line.json"}
    sagemaker.create_pipeline(
        PipelineName="from-s3", PipelineDefinitionS3Location=location, RoleArn=cloud.role("from-s3", READS_ALL)
    )
    assert sagemaker.describe_pipeline(PipelineName="from-s3")["PipelineDefinition"] == gate("a", "s3://b/c")


def test_eventbridge_hears_of_executions_and_steps(cloud: LocalCloud) -> None:
    role = cloud.role("heard", READS_ALL)
    arn = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/heard"
    url = queue_of_events(cloud, "heard", {"detail": {"pipelineArn": [arn]}})
    execution = start(cloud, "heard", gate("none", "s3://none/none"), role, Score="4.5")
    wait(cloud, execution)
    events = received(cloud, url, 8)
    short = [
        (
            event["detail"].get("stepName", "execution"),
            event["detail"].get("currentStepStatus") or event["detail"]["currentPipelineExecutionStatus"],
        )
        for event in events
    ]
    assert short == [
        ("execution", "Executing"),
        ("Check", "Starting"),
        ("Check", "Executing"),
        ("Check", "Succeeded"),
        ("Missed", "Starting"),
        ("Missed", "Executing"),
        ("Missed", "Failed"),
        ("execution", "Failed"),
    ]
    assert events[0]["detail-type"] == "SageMaker Model Building Pipeline Execution Status Change"
    assert events[1]["detail-type"] == "SageMaker Model Building Pipeline Execution Step Status Change"
    assert events[3]["detail"]["metadata"] == {"condition": {"outcome": "False"}}
    assert events[6]["detail"]["failureReason"] == "The score 4.5 is above 4.0"
    assert events[0]["resources"] == [arn, execution]


def test_an_approval_reaches_the_rule_that_waits_for_it(cloud: LocalCloud) -> None:
    model = model_in_s3(cloud, "approved-models")
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="approved")
    pattern = {
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": ["approved"], "ModelApprovalStatus": ["Approved"]},
    }
    url = queue_of_events(cloud, "approved", pattern)
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="approved",
        InferenceSpecification={
            "Containers": [{"Image": "s3://assets/image.zip", "ModelDataUrl": model}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    (event,) = received(cloud, url, 1)
    assert event["detail"]["ModelPackageArn"] == arn
    assert event["detail"]["ModelPackageVersion"] == 1
    approved = sagemaker.list_model_packages(ModelPackageGroupName="approved", ModelApprovalStatus="Approved")
    assert [package["ModelPackageArn"] for package in approved["ModelPackageSummaryList"]] == [arn]


def test_the_registry_answers_with_sagemakers_errors(cloud: LocalCloud) -> None:
    sagemaker = cloud.client("sagemaker")
    group = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/nothing"
    with pytest.raises(ClientError, match=rf"\(ValidationException\).*ModelPackageGroup {group} does not exist\."):
        sagemaker.describe_model_package_group(ModelPackageGroupName="nothing")
    with pytest.raises(
        ClientError, match=r"\(ValidationException\).*Could not find model data at s3://nothing/m\.tar\.gz"
    ):
        sagemaker.create_model_package(
            ModelPackageName="alone",
            InferenceSpecification={"Containers": [{"Image": "i", "ModelDataUrl": "s3://nothing/m.tar.gz"}]},
        )


DOCKERFILE = """\
FROM public.ecr.aws/docker/library/python:3.11-slim-bookworm
WORKDIR /opt/program
COPY job.py .
ENTRYPOINT ["python", "job.py"]
"""
JOB = """
import json, os, sys, time
from pathlib import Path

base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
command = sys.argv[1] if len(sys.argv) > 1 else "train"
if command == "train":
    given = json.loads((base / "input/config/hyperparameters.json").read_text())
    time.sleep(float(given.get("seconds", 0)))
    while "until" in given and not Path(given["until"]).exists():
        time.sleep(0.05)
    if "fail" in given:
        (base / "output").mkdir(parents=True, exist_ok=True)
        (base / "output/failure").write_text(given["fail"])
        sys.exit(1)
    (base / "model").mkdir(parents=True, exist_ok=True)
    (base / "model/model.json").write_text(json.dumps(given))
else:
    model = base / "processing/input/data/model.tar.gz"
    report = base / "processing/output/report/report.json"
    report.write_text(json.dumps({"metrics": {"bytes": model.stat().st_size, "rmse": 3.5}}))
"""


def image_in_s3(cloud: LocalCloud, bucket: str) -> str:
    """The URI of an image's build context whose jobs do what their hyperparameters say."""
    context = io.BytesIO()
    with zipfile.ZipFile(context, "w") as archive:
        archive.writestr("Dockerfile", DOCKERFILE)
        archive.writestr("job.py", JOB)
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("s3").put_object(Bucket=bucket, Key="image.zip", Body=context.getvalue())
    return f"s3://{bucket}/image.zip"


def worker_role(cloud: LocalCloud, name: str) -> str:
    """A role that may start jobs, be the role of those jobs, and register models."""
    return cloud.role(
        name,
        {
            "Action": ["s3:*", "logs:*", "iam:PassRole", "sagemaker:AddTags", "sagemaker:CreateModelPackage"],
            "Resource": "*",
        },
        {
            "Action": [
                f"sagemaker:{verb}{kind}Job"
                for verb in ("Create", "Describe", "Stop")
                for kind in ("Training", "Processing")
            ],
            "Resource": "*",
        },
    )


def train(name: str, bucket: str, image: str, role: str, **more: Any) -> dict[str, Any]:
    hyperparameters = more.pop("hyperparameters", {"max_depth": "5"})
    arguments = {
        "RoleArn": role,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "HyperParameters": hyperparameters,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
    }
    return training(name, Arguments=arguments, **more)


def test_a_pipeline_trains_evaluates_and_registers_with_real_jobs(cloud: LocalCloud) -> None:
    bucket = "line-of-jobs"
    image, role = image_in_s3(cloud, bucket), worker_role(cloud, "line-of-jobs")
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=bucket)
    model = get("Steps.Train.ModelArtifacts.S3ModelArtifacts")
    evaluate = processing("Evaluate")
    arguments = evaluate["Arguments"]
    arguments["RoleArn"] = role
    arguments["AppSpecification"]["ImageUri"] = image
    arguments["ProcessingInputs"][0]["S3Input"]["S3Uri"] = model
    output = arguments["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]
    output["S3Uri"] = join(f"s3://{bucket}", get("Execution.PipelineExecutionId"), "report", on="/")
    definition = document(
        train("Train", bucket, image, role, CacheConfig={"Enabled": True, "ExpireAfter": "P1D"}),
        evaluate,
        condition(
            "Check",
            at_most(json_get("Evaluate", "Report", "metrics.rmse"), 4.0),
            then=[register("Register", bucket, model)],
        ),
    )
    execution = start(cloud, bucket, definition, role)
    described = wait(cloud, execution, seconds=120)
    found = steps(cloud, execution)
    assert described["PipelineExecutionStatus"] == "Succeeded", found
    arn = found["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)
    job = cloud.client("sagemaker").describe_training_job(
        TrainingJobName=found["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    )
    data = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert data == job["ModelArtifacts"]["S3ModelArtifacts"]

    again = cloud.client("sagemaker").start_pipeline_execution(PipelineName=bucket)["PipelineExecutionArn"]
    assert wait(cloud, again, seconds=120)["PipelineExecutionStatus"] == "Succeeded"
    assert steps(cloud, again)["Train"]["CacheHitResult"] == {"SourcePipelineExecutionArn": execution}
    assert "CacheHitResult" not in steps(cloud, again)["Evaluate"]


def test_a_job_that_fails_stops_the_line_and_gives_its_reason(cloud: LocalCloud) -> None:
    bucket = "line-that-fails"
    image, role = image_in_s3(cloud, bucket), worker_role(cloud, bucket)
    failing = train("Left", bucket, image, role, hyperparameters={"fail": "no rows in the data"})
    slow = train("Right", bucket, image, role, hyperparameters={"seconds": "1"})
    never = train("After", bucket, image, role, DependsOn=["Left"])
    execution = start(cloud, bucket, document(failing, slow, never), role)
    described = wait(cloud, execution, seconds=120)
    found = steps(cloud, execution)
    assert {name: step["StepStatus"] for name, step in found.items()} == {"Left": "Failed", "Right": "Succeeded"}
    assert "no rows in the data" in found["Left"]["FailureReason"]
    assert "no rows in the data" in described["FailureReason"]


def test_a_stop_reaches_the_running_job(cloud: LocalCloud) -> None:
    bucket = "line-that-stops"
    image, role = image_in_s3(cloud, bucket), worker_role(cloud, bucket)
    slow = train("Slow", bucket, image, role, hyperparameters={"seconds": "600"})
    execution = start(cloud, bucket, document(slow), role)
    sagemaker = cloud.client("sagemaker")
    deadline = time.monotonic() + 60
    while steps(cloud, execution).get("Slow", {}).get("StepStatus") != "Executing":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
    assert wait(cloud, execution, seconds=60)["PipelineExecutionStatus"] == "Stopped"
    assert steps(cloud, execution)["Slow"]["StepStatus"] == "Stopped"
    assert (
        sagemaker.list_training_jobs(NameContains="-Slow-")["TrainingJobSummaries"][0]["TrainingJobStatus"] == "Stopped"
    )


@pytest.mark.long
def test_a_killed_cloud_goes_on_with_its_executions(own_cloud: LocalCloud, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    bucket = "line-that-is-killed"
    image, role = image_in_s3(own_cloud, bucket), worker_role(own_cloud, bucket)
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 1, "MaxAttempts": 2}
    first = train("First", bucket, image, role, hyperparameters={"until": str(killed)}, RetryPolicies=[policy])
    second = train("Second", bucket, image, role, DependsOn=["First"])
    execution = start(own_cloud, bucket, document(first, second), role)
    deadline = time.monotonic() + 60
    while steps(own_cloud, execution).get("First", {}).get("StepStatus") != "Executing":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Longer than it takes until what MiniStack knows is on disk.
    time.sleep(1.5)
    own_cloud.kill()
    killed.touch()
    own_cloud.start()
    described = wait(own_cloud, execution, seconds=120)
    found = steps(own_cloud, execution)
    assert described["PipelineExecutionStatus"] == "Succeeded", found
    assert found["First"]["AttemptCount"] == 2


def test_callback_steps_are_refused_by_name(cloud: LocalCloud) -> None:
    with pytest.raises(ClientError, match=r"\(UnsupportedOperation\).*SendPipelineExecutionStepSuccess"):
        cloud.client("sagemaker").send_pipeline_execution_step_success(CallbackToken="a" * 10)


def test_a_step_without_a_job_adds_little(cloud: LocalCloud) -> None:
    model = model_in_s3(cloud, "quick-models")
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="quick")
    role = cloud.role("quick", READS_ALL, {"Action": "sagemaker:CreateModelPackage", "Resource": "*"})
    registers = [register(f"R{n}", "quick", model, DependsOn=[f"R{n - 1}"] if n else []) for n in range(5)]
    numbers = itertools.count()

    def seconds_a_step() -> float:
        execution = start(cloud, f"quick-{next(numbers)}", document(*registers), role)
        assert wait(cloud, execution)["PipelineExecutionStatus"] == "Succeeded"
        times = steps(cloud, execution)
        return float((times["R4"]["EndTime"] - times["R0"]["StartTime"]).total_seconds()) / len(registers)

    assert fastest(seconds_a_step, bound=0.2) < 0.2
