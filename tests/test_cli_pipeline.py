"""`run`, `stop` and `logs`: executions as SageMaker's API tells of them."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY
from sagestack.cli import job_logs, pipeline_runs, report
from sagestack.cli.main import app
from sagestack.cli.options import State
from sagestack.cli.pipeline_execution import Job
from typer.testing import CliRunner

from tests import cli_fakes
from tests.cli_fakes import NOW, PIPELINE_ARN

runner = CliRunner()
EXECUTION = f"{PIPELINE_ARN}/execution/abcdefghijkl"
DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Parameters": [
        {"Name": "QualityThreshold", "Type": "Float"},
        {"Name": "ModelApprovalStatus", "Type": "String", "EnumValues": ["Approved", "Rejected"]},
    ],
    "Steps": [
        {
            "Name": "Evaluate",
            "Type": "Processing",
            "Arguments": {},
            "PropertyFiles": [
                {"PropertyFileName": "Evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
            ],
        },
        {
            "Name": "CheckQuality",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [],
                "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": {}}],
                "ElseSteps": [{"Name": "QualityMissed", "Type": "Fail", "Arguments": {}}],
            },
        },
    ],
}
PROCESSING_ARN = "arn:aws:sagemaker:us-east-1:000000000000:processing-job/pipelines-evaluate"
PROCESSING_JOB: dict[str, Any] = {
    "ProcessingJobName": "j",
    "ProcessingJobArn": PROCESSING_ARN,
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
    "AppSpecification": {"ImageUri": "i"},
    "CreationTime": NOW,
}
TRANSFORM_ARN = "arn:aws:sagemaker:us-east-1:000000000000:transform-job/nightly"
TRANSFORM_JOB: dict[str, Any] = {
    "TransformJobName": "nightly",
    "TransformJobArn": TRANSFORM_ARN,
    "TransformJobStatus": "Failed",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    "CreationTime": NOW,
}
SAMPLE = hashlib.sha256(b"CRIM,MEDV\n1,2\n").hexdigest()
UP_TO_DATE = {"sagestack-sha256": SAMPLE, "sagestack-sample": "true"}


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cli_fakes.FakeSession:
    root = cli_fakes.make_project(tmp_path / "p")
    session = cli_fakes.FakeSession(root)
    monkeypatch.setattr(State, "connect", cli_fakes.connect_to(session))
    monkeypatch.chdir(root)
    return session


def _step(name: str, status: str, **more: Any) -> dict[str, Any]:
    return {"StepName": name, "StepStatus": status, "StartTime": NOW, **more}


def _execution(session: cli_fakes.FakeSession, status: str, steps: list[dict[str, Any]]) -> None:
    session.answer(
        "sagemaker",
        "describe_pipeline_execution",
        {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": status, "CreationTime": NOW},
        {"PipelineExecutionArn": EXECUTION},
    )
    session.answer("sagemaker", "list_pipeline_execution_steps", {"PipelineExecutionSteps": steps})


def _data(session: cli_fakes.FakeSession, metadata: dict[str, str] | None, *keys: str) -> None:
    session.parameters("pipe", "data")
    session.answer("s3", "list_objects_v2", {"Contents": [{"Key": key} for key in keys]})
    if metadata is None:
        session.refuse("s3", "head_object", "404")
    else:
        session.answer("s3", "head_object", {"Metadata": metadata})


def _started(session: cli_fakes.FakeSession, *parameters: dict[str, str]) -> None:
    session.answer(
        "sagemaker",
        "start_pipeline_execution",
        {"PipelineExecutionArn": EXECUTION},
        {"PipelineName": "pipe", "ClientRequestToken": ANY, "PipelineParameters": list(parameters)},
    )


def _definition(session: cli_fakes.FakeSession) -> None:
    answer = {"PipelineDefinition": json.dumps(DEFINITION)}
    session.answer("sagemaker", "describe_pipeline_definition_for_execution", answer)


def _evaluation(session: cli_fakes.FakeSession) -> None:
    output = {"OutputName": "evaluation", "S3Output": {"S3Uri": "s3://artifacts/x", "S3UploadMode": "EndOfJob"}}
    job = {
        "ProcessingJobName": "pipelines-evaluate",
        "ProcessingJobArn": PROCESSING_ARN,
        "ProcessingJobStatus": "Completed",
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "AppSpecification": {"ImageUri": "image"},
        "CreationTime": NOW,
        "ProcessingOutputConfig": {"Outputs": [output]},
    }
    _definition(session)
    session.answer("sagemaker", "describe_processing_job", job, {"ProcessingJobName": "pipelines-evaluate"})
    content = cli_fakes.body(b'{"regression_metrics": {"rmse": {"value": 3.5, "standard_deviation": 0.1}}}')
    session.answer("s3", "get_object", {"Body": content}, {"Bucket": "artifacts", "Key": "x/evaluation.json"})


EVALUATED = _step(
    "Evaluate",
    "Succeeded",
    EndTime=NOW + datetime.timedelta(seconds=4),
    Metadata={"ProcessingJob": {"Arn": PROCESSING_ARN}},
)


def test_a_run_ends_with_the_version_and_its_metrics(session: cli_fakes.FakeSession) -> None:
    _data(session, UP_TO_DATE, "housing/input/housing.csv")
    _started(session)
    _definition(session)
    _execution(session, "Executing", [_step("Evaluate", "Executing")])
    package = f"arn:aws:sagemaker:us-east-1:000000000000:model-package/{cli_fakes.GROUP}/3"
    steps = [
        EVALUATED,
        _step("CheckQuality", "Succeeded", Metadata={"Condition": {"Outcome": "True"}}),
        _step("Register", "Succeeded", Metadata={"RegisterModel": {"Arn": package}}),
    ]
    _execution(session, "Succeeded", steps)
    _evaluation(session)
    result = runner.invoke(app, ["run", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["version"], told["model_package_arn"]) == (3, package)
    assert told["metrics"]["regression_metrics.rmse.value"] == 3.5
    assert [(step["name"], step["status"]) for step in told["execution"]["steps"]] == [
        ("Evaluate", "Succeeded"),
        ("CheckQuality", "Succeeded"),
        ("Register", "Succeeded"),
        ("QualityMissed", "NotRun"),
    ]
    assert told["execution"]["steps"][0]["job"] == {"kind": "processing", "name": "pipelines-evaluate"}
    session.check()


def test_a_model_that_misses_the_gate_ends_with_the_reason_and_what_it_scored(session: cli_fakes.FakeSession) -> None:
    _data(session, UP_TO_DATE)
    _started(session)
    _definition(session)
    reason = "rmse is 3.5 and must be at most 1.0"
    missed = _step("QualityMissed", "Failed", FailureReason=reason, Metadata={"Fail": {"ErrorMessage": reason}})
    _execution(session, "Failed", [EVALUATED, missed])
    _evaluation(session)
    result = runner.invoke(app, ["run"])
    assert result.exit_code == 1
    assert f"Step QualityMissed failed: {reason}" in result.stderr
    assert "rmse 3.5" in result.stderr


def test_a_failed_job_ends_with_where_its_log_is(session: cli_fakes.FakeSession) -> None:
    _data(session, UP_TO_DATE)
    _started(session)
    _definition(session)
    _execution(session, "Failed", [{**EVALUATED, "StepStatus": "Failed", "FailureReason": "ValueError: no rows"}])
    _definition(session)
    result = runner.invoke(app, ["run", "--json"])
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "run-failed"
    assert error["message"] == "Step Evaluate failed: ValueError: no rows"
    assert "sagestack logs --step Evaluate" in error["hint"]
    assert error["execution"]["status"] == "Failed"


def test_ctrl_c_leaves_the_execution_alone_and_says_how_to_end_it(
    session: cli_fakes.FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    _data(session, UP_TO_DATE)
    _started(session)
    monkeypatch.setattr(pipeline_runs, "watch", _interrupt)
    result = runner.invoke(app, ["run"])
    assert result.exit_code == 130
    assert "goes on in the cloud" in result.stderr
    assert "sagestack stop abcdefghijkl" in result.stderr
    session.check()


def test_ctrl_c_stops_the_execution_where_that_was_asked_for(
    session: cli_fakes.FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    _data(session, UP_TO_DATE)
    _started(session)
    monkeypatch.setattr(pipeline_runs, "watch", _interrupt)
    session.answer(
        "sagemaker",
        "describe_pipeline_execution",
        {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Executing"},
    )
    session.answer(
        "sagemaker",
        "stop_pipeline_execution",
        {"PipelineExecutionArn": EXECUTION},
        {"PipelineExecutionArn": EXECUTION, "ClientRequestToken": ANY},
    )
    result = runner.invoke(app, ["run", "--stop-on-interrupt"])
    assert result.exit_code == 130
    assert "is being stopped" in result.stderr
    session.check()


def _interrupt(*_: object) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("Nope=1", "has no parameter 'Nope' (it has: ModelApprovalStatus, QualityThreshold)"),
        ("QualityThreshold=high", "'high' is not of type Float"),
        # Every comparison with it is false, so the whole pipeline would run for a gate that nothing passes.
        ("QualityThreshold=nan", "'nan' is not of type Float"),
        ("QualityThreshold=inf", "'inf' is not of type Float"),
        ("ModelApprovalStatus=Maybe", "'Maybe' is not allowed (allowed: Approved, Rejected)"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_before_anything_is_uploaded(
    session: cli_fakes.FakeSession, option: str, says: str
) -> None:
    session.parameters("pipe")
    answer = {"PipelineArn": PIPELINE_ARN, "PipelineDefinition": json.dumps(DEFINITION)}
    session.answer("sagemaker", "describe_pipeline", answer)
    result = runner.invoke(app, ["run", "--param", option])
    assert result.exit_code == 1
    assert says in result.stderr
    session.check()


def test_a_parameter_without_a_value_is_refused(session: cli_fakes.FakeSession) -> None:
    assert "is not KEY=VALUE" in runner.invoke(app, ["run", "--param", "QualityThreshold"]).stderr


def test_parameters_reach_the_pipeline(session: cli_fakes.FakeSession) -> None:
    session.parameters("pipe", "data")
    answer = {"PipelineArn": PIPELINE_ARN, "PipelineDefinition": json.dumps(DEFINITION)}
    session.answer("sagemaker", "describe_pipeline", answer)
    session.answer("s3", "list_objects_v2", {})
    session.answer("s3", "head_object", {"Metadata": UP_TO_DATE})
    _started(session, {"Name": "QualityThreshold", "Value": "4.5"})
    _execution(session, "Executing", [])
    result = runner.invoke(app, ["run", "--no-wait", "--param", "QualityThreshold=4.5", "--json"])
    assert json.loads(result.stdout)["execution"]["id"] == "abcdefghijkl"
    session.check()


@pytest.mark.parametrize(
    ("metadata", "uploads"),
    [
        (None, True),
        ({"sagestack-sha256": "old", "sagestack-sample": "true"}, True),
        (UP_TO_DATE, False),
        # Somebody's own data, brought by `run --data` or by another tool.
        ({"sagestack-sha256": "other"}, False),
        ({}, False),
    ],
)
def test_the_sample_is_uploaded_where_nothing_or_an_older_sample_is(
    session: cli_fakes.FakeSession, metadata: dict[str, str] | None, uploads: bool
) -> None:
    _data(session, metadata)
    if uploads:
        put = {
            "Bucket": "data",
            "Key": "housing/input/housing.csv",
            "Body": ANY,
            "Metadata": UP_TO_DATE,
            "ChecksumAlgorithm": ANY,
        }
        session.answer("s3", "put_object", {}, put)
    _started(session)
    _execution(session, "Executing", [])
    result = runner.invoke(app, ["run", "--no-wait"])
    assert result.exit_code == 0, result.output
    assert ("Uploaded housing.csv" in result.stdout) == uploads
    session.check()


def test_a_command_to_copy_names_the_model_only_where_there_are_several(tmp_path: Path) -> None:
    root = cli_fakes.make_project(tmp_path / "p")
    assert cli_fakes.FakeSession(root).command("approve 2", "housing") == "sagestack approve 2 --env local"
    file = root / "environments/local.yaml"
    text = file.read_text()
    file.write_text(text + text.partition("models:\n")[2].replace("  housing:", "  houses:"))
    cli_fakes.add_model(root, "houses")
    session = cli_fakes.FakeSession(root)
    assert session.command("approve 2", "housing") == "sagestack approve 2 --env local --model housing"
    assert session.command("status") == "sagestack status --env local"


@pytest.mark.parametrize("command", [["stop", "nope"], ["logs", "--execution", "nope"]], ids=lambda words: words[0])
def test_an_execution_that_is_not_there_is_said_with_where_to_look(
    session: cli_fakes.FakeSession, command: list[str]
) -> None:
    session.parameters("pipe")
    session.answer("sagemaker", "describe_pipeline", {"PipelineArn": PIPELINE_ARN})
    session.refuse("sagemaker", "describe_pipeline_execution", "ResourceNotFound", "does not exist")
    result = runner.invoke(app, command)
    assert result.exit_code == 1
    assert "sagestack-local-housing has no execution 'nope'" in result.stderr
    assert "sagestack status --env local" in result.stderr


def test_the_sample_is_not_added_to_other_data(session: cli_fakes.FakeSession) -> None:
    _data(session, None, "housing/input/", "housing/input/ours.csv")
    _started(session)
    _execution(session, "Executing", [])
    result = runner.invoke(app, ["run", "--no-wait"])
    assert "the sample was not added to it" in result.stdout
    session.check()


def test_a_file_that_is_named_replaces_whatever_is_there(session: cli_fakes.FakeSession, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("CRIM,MEDV\n3,4\n")
    _data(session, {}, "housing/input/housing.csv")
    put = {
        "Bucket": "data",
        "Key": "housing/input/housing.csv",
        "Body": ANY,
        "Metadata": {"sagestack-sha256": hashlib.sha256(mine.read_bytes()).hexdigest()},
        "ChecksumAlgorithm": ANY,
    }
    session.answer("s3", "put_object", {}, put)
    _started(session)
    _execution(session, "Executing", [])
    assert runner.invoke(app, ["run", "--no-wait", "--data", str(mine)]).exit_code == 0
    session.check()


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), ("", "is empty")])
def test_a_file_without_data_is_refused(
    session: cli_fakes.FakeSession, tmp_path: Path, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "x.csv").write_text(content)
    session.parameters("pipe", "data")
    result = runner.invoke(app, ["run", "--data", str(tmp_path / "x.csv")])
    assert result.exit_code == 1
    assert says in result.stderr


def test_what_is_not_deployed_says_how_to_deploy_it(session: cli_fakes.FakeSession) -> None:
    session.parameters(None)
    result = runner.invoke(app, ["run", "--json"])
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "not-deployed"
    assert "/sagestack/local/housing/pipeline-name" in error["message"]
    assert "sagestack deploy --env local" in error["hint"]


def test_logs_show_a_failed_step_first_and_only_the_streams_of_its_job(session: cli_fakes.FakeSession) -> None:
    session.parameters("pipe")
    summary = {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Failed", "StartTime": NOW}
    session.answer("sagemaker", "list_pipeline_executions", {"PipelineExecutionSummaries": [summary]})
    training = "arn:aws:sagemaker:us-east-1:000000000000:training-job/pipelines-train"
    failed = _step("Train", "Failed", FailureReason="x", Metadata={"TrainingJob": {"Arn": training}})
    _execution(session, "Failed", [EVALUATED, failed])
    session.answer(
        "logs",
        "describe_log_streams",
        {"logStreams": [{"logStreamName": "pipelines-train/algo-1-1"}]},
        {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamNamePrefix": "pipelines-train/"},
    )
    session.answer("logs", "get_log_events", log_page("b/0", "it broke\n"))
    session.answer("logs", "get_log_events", log_page("b/0"))
    session.refuse("logs", "describe_log_streams", "ResourceNotFoundException")
    result = runner.invoke(app, ["logs", "--json"])
    assert result.exit_code == 0, result.output
    train, evaluate = json.loads(result.stdout)["logs"]
    assert (train["title"], [line["message"] for line in train["lines"]]) == ("Train", ["it broke"])
    assert (evaluate["title"], evaluate["lines"]) == ("Evaluate", [])
    session.check()


def log_page(token: str, *messages: str) -> dict[str, Any]:
    """An answer of GetLogEvents."""
    events = [{"timestamp": 1000 + second, "message": message} for second, message in enumerate(messages)]
    return {"events": events, "nextBackwardToken": token, "nextForwardToken": token}


def test_the_last_lines_are_read_from_the_end_over_empty_pages(session: cli_fakes.FakeSession) -> None:
    stream = {"logGroupName": "g", "logStreamName": "s/1", "startFromHead": False}
    session.answer("logs", "describe_log_streams", {"logStreams": [{"logStreamName": "s/1"}]})
    session.answer("logs", "get_log_events", log_page("b/2", "third"), {**stream, "limit": 2})
    session.answer("logs", "get_log_events", log_page("b/1"), {**stream, "limit": 1, "nextToken": "b/2"})
    session.answer("logs", "get_log_events", log_page("b/0", "second"), {**stream, "limit": 1, "nextToken": "b/1"})
    lines = job_logs.read(session, job_logs.Source("title", "g", "s/"), tail=2)
    assert [line.message for line in lines] == ["second", "third"]
    session.check()


def test_logs_of_a_transform_job_are_found_by_its_name(session: cli_fakes.FakeSession) -> None:
    session.refuse("sagemaker", "describe_training_job", "ValidationException")
    session.refuse("sagemaker", "describe_processing_job", "ResourceNotFound")
    session.answer("sagemaker", "describe_transform_job", TRANSFORM_JOB, {"TransformJobName": "nightly"})
    session.answer(
        "logs",
        "describe_log_streams",
        {"logStreams": [{"logStreamName": "nightly/i-1"}, {"logStreamName": "nightly/i-1/data-log"}]},
        {"logGroupName": "/aws/sagemaker/TransformJobs", "logStreamNamePrefix": "nightly/"},
    )
    for message in ("the container's", "rows.csv: ClientError: 400"):
        session.answer("logs", "get_log_events", log_page("b/0", message))
        session.answer("logs", "get_log_events", log_page("b/0"))
    result = runner.invoke(app, ["logs", "--job", "nightly", "--json"])
    assert result.exit_code == 0, result.output
    (shown,) = json.loads(result.stdout)["logs"]
    assert [line["message"] for line in shown["lines"]] == ["the container's", "rows.csv: ClientError: 400"]
    session.check()


def test_logs_of_a_job_that_is_not_there_say_so(session: cli_fakes.FakeSession) -> None:
    session.refuse("sagemaker", "describe_training_job", "ValidationException")
    for kind in ("processing", "transform"):
        session.refuse("sagemaker", f"describe_{kind}_job", "ResourceNotFound")
    result = runner.invoke(app, ["logs", "--job", "none", "--json"])
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["message"]) == (
        "not-found",
        "There is no training, processing or transform job 'none'.",
    )


def test_a_step_that_runs_a_transform_job_has_its_log(session: cli_fakes.FakeSession) -> None:
    session.parameters("pipe")
    summary = {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Succeeded", "StartTime": NOW}
    session.answer("sagemaker", "list_pipeline_executions", {"PipelineExecutionSummaries": [summary]})
    _execution(session, "Succeeded", [_step("Predict", "Succeeded", Metadata={"TransformJob": {"Arn": TRANSFORM_ARN}})])
    session.refuse("logs", "describe_log_streams", "ResourceNotFoundException")
    result = runner.invoke(app, ["logs", "--step", "Predict", "--json"])
    (shown,) = json.loads(result.stdout)["logs"]
    assert (shown["title"], shown["log_group"]) == ("Predict", "/aws/sagemaker/TransformJobs")


def test_following_a_log_shows_each_line_once_until_the_job_has_ended(
    session: cli_fakes.FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_logs, "SETTLE_S", 0.0)
    source = job_logs.of_job(Job("processing", "j"))
    for status, pages in (("InProgress", ("f/1", "f/1")), ("Completed", ("f/2", "f/2"))):
        session.answer("sagemaker", "describe_processing_job", {**PROCESSING_JOB, "ProcessingJobStatus": status})
        session.answer("logs", "describe_log_streams", {"logStreams": [{"logStreamName": "j/1"}]})
        session.answer("logs", "get_log_events", log_page(pages[0], f"while {status}"))
        session.answer("logs", "get_log_events", log_page(pages[1]))
    assert [line.message for line in job_logs.follow(session, source)] == ["while InProgress", "while Completed"]
    session.check()


def test_logs_of_a_step_that_is_not_there_name_those_that_are(session: cli_fakes.FakeSession) -> None:
    session.parameters("pipe")
    summary = {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": "Succeeded", "StartTime": NOW}
    session.answer("sagemaker", "list_pipeline_executions", {"PipelineExecutionSummaries": [summary]})
    _execution(session, "Succeeded", [EVALUATED])
    assert "has no step 'Nope' with a log (it has: Evaluate)" in runner.invoke(app, ["logs", "--step", "Nope"]).stderr


def test_metrics_are_named_as_short_as_can_be_told_apart() -> None:
    assert report.metric_names({"r.rmse.value": 1.0, "r.rmse.standard_deviation": 2.0, "d.count": 3.0}) == {"rmse": 1.0}
    assert set(report.metric_names({"a.rmse.value": 1.0, "b.rmse.value": 2.0})) == {"a.rmse", "b.rmse"}
    assert report.metric_names({"accuracy": 0.5}) == {"accuracy": 0.5}
