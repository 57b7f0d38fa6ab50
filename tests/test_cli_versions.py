"""`approve`, `promote`, `invoke` and `status`: from a registered version to an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sagestack.cli import held_out
from sagestack.cli.errors import CliError
from sagestack.cli.main import app
from sagestack.cli.options import State
from sagestack.settings import load_environment
from typer.testing import CliRunner

from tests import cli_fakes
from tests.cli_fakes import GROUP, NOW, version, versions

runner = CliRunner()
ROWS = versions(version(3, "PendingManualApproval"), version(2, "Approved"), version(1, "Rejected"))


def _session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str = "local") -> cli_fakes.FakeSession:
    root = cli_fakes.make_project(tmp_path / "p")
    session = cli_fakes.FakeSession(root, environment)
    monkeypatch.setattr(State, "connect", cli_fakes.connect_to(session))
    monkeypatch.chdir(root)
    return session


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cli_fakes.FakeSession:
    return _session(tmp_path, monkeypatch)


def _registry(session: cli_fakes.FakeSession, rows: dict[str, Any] = ROWS) -> None:
    session.parameters(GROUP)
    session.answer("sagemaker", "list_model_packages", rows, {"ModelPackageGroupName": GROUP})


def _described(session: cli_fakes.FakeSession, number: int) -> None:
    row = version(number, "PendingManualApproval")
    answer = {
        **{key: row[key] for key in ("ModelPackageArn", "ModelPackageStatus", "CreationTime")},
        "ModelPackageName": "",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelMetrics": {
            "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://a/evaluation.json"}}
        },
    }
    answer.pop("ModelPackageName")
    session.answer(
        "sagemaker",
        "describe_model_package",
        {**answer, "ModelPackageName": GROUP},
        {"ModelPackageName": row["ModelPackageArn"]},
    )
    session.answer("s3", "get_object", {"Body": cli_fakes.body(b'{"m": {"rmse": {"value": 3.5}}}')})


@pytest.mark.parametrize(("options", "becomes"), [([], "Approved"), (["--reject", "--reason", "old data"], "Rejected")])
def test_approve_takes_the_newest_that_waits(session: cli_fakes.FakeSession, options: list[str], becomes: str) -> None:
    _registry(session)
    _described(session, 3)
    arn = version(3, "")["ModelPackageArn"]
    reason = options[-1] if options else "Approved with sagestack"
    expected = {"ModelPackageArn": arn, "ModelApprovalStatus": becomes, "ApprovalDescription": reason}
    session.answer("sagemaker", "update_model_package", {"ModelPackageArn": arn}, expected)
    session.answer("sagemaker", "list_model_packages", versions(version(3, becomes)))
    result = runner.invoke(app, ["approve", *options, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["changed"], told["version"], told["approval"]) == (True, 3, becomes)
    assert told["metrics"] == {"m.rmse.value": 3.5}
    session.check()


def test_approving_what_is_approved_changes_nothing(session: cli_fakes.FakeSession) -> None:
    _registry(session)
    _described(session, 2)
    session.answer("sagemaker", "list_model_packages", ROWS)
    result = runner.invoke(app, ["approve", "2"])
    assert result.exit_code == 0
    assert "It was approved already" in result.stdout
    session.check()


def test_with_nothing_waiting_approve_names_what_is_there(session: cli_fakes.FakeSession) -> None:
    _registry(session, versions(version(2, "Approved")))
    result = runner.invoke(app, ["approve"])
    assert result.exit_code == 1
    assert "has no version that is PendingManualApproval (there are: 2 Approved)" in result.stderr


def test_promote_pins_the_newest_approved_for_local_in_a_file_that_git_ignores(
    session: cli_fakes.FakeSession,
) -> None:
    before = (session.root / "environments/local.yaml").read_text()
    _registry(session)
    result = runner.invoke(app, ["promote"])
    assert result.exit_code == 0, result.output
    assert load_environment("local", session.root).models["housing"].served_version == 2
    assert (session.root / "environments/local.yaml").read_text() == before
    assert "sagestack deploy --env local" in result.stdout


def test_promote_shows_the_change_of_the_environments_file_and_keeps_its_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _session(tmp_path, monkeypatch, "dev")
    _registry(session)
    result = runner.invoke(app, ["promote", "2", "--env", "dev", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["changed"], told["version"], told["previous_version"]) == (True, 2, None)
    changed = [line for line in told["diff"].splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ["-    served_version: null", "+    served_version: 2"]
    assert "# Nothing is served yet." in Path(told["file"]).read_text()


def test_promoting_what_is_pinned_changes_nothing(session: cli_fakes.FakeSession) -> None:
    for expected in (True, False):
        _registry(session)
        told = json.loads(runner.invoke(app, ["promote", "2", "--json"]).stdout)
        assert told["changed"] is expected


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("3", "Version 3 of sagestack-local-housing is PendingManualApproval: only an approved version can be served"),
        ("1", "is Rejected"),
        ("9", "has no version 9 (there are: 3 PendingManualApproval, 2 Approved, 1 Rejected)"),
        ("-1", "No such option"),
        ("zero", "'zero' is not a version"),
    ],
)
def test_promote_refuses_what_cannot_be_served(session: cli_fakes.FakeSession, number: str, says: str) -> None:
    _registry(session)
    result = runner.invoke(app, ["promote", number])
    assert result.exit_code in (1, 2)
    assert says in result.stderr.replace("\n", " ")
    assert not (session.root / "environments/local.pins.yaml").exists()


def test_promote_none_takes_the_model_out_of_service(session: cli_fakes.FakeSession) -> None:
    (session.root / "environments/local.pins.yaml").write_text("models: {housing: {served_version: 2}}\n")
    assert runner.invoke(app, ["promote", "none"]).exit_code == 0
    assert load_environment("local", session.root).models["housing"].served_version is None


def test_invoke_prints_the_answer(session: cli_fakes.FakeSession) -> None:
    session.parameters("the-endpoint")
    session.answer(
        "runtime",
        "invoke_endpoint",
        {"Body": cli_fakes.body(b"22.5\n"), "ContentType": "text/csv", "InvokedProductionVariant": "all"},
        {"EndpointName": "the-endpoint", "Body": b"1,2\n", "ContentType": "text/csv"},
    )
    result = runner.invoke(app, ["invoke", "--data", "-"], input="1,2\n")
    assert (result.exit_code, result.stdout) == (0, "22.5\n")


def test_invoke_takes_the_content_type_from_the_files_name(session: cli_fakes.FakeSession, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text("[]")
    session.parameters("the-endpoint")
    session.answer(
        "runtime",
        "invoke_endpoint",
        {"Body": cli_fakes.body(b'{"predictions": []}'), "ContentType": "application/json"},
        {
            "EndpointName": "the-endpoint",
            "Body": b"[]",
            "ContentType": "application/json",
            "Accept": "application/json",
        },
    )
    result = runner.invoke(app, ["invoke", "--data", str(file), "--accept", "application/json", "--json"])
    assert json.loads(result.stdout)["body"] == {"predictions": []}


def test_what_the_model_refuses_is_said_in_its_own_words(session: cli_fakes.FakeSession) -> None:
    session.parameters("the-endpoint")
    session.refuse(
        "runtime",
        "invoke_endpoint",
        "ModelError",
        "Received client error (400) from primary with message ...",
        OriginalStatusCode=400,
        OriginalMessage="row 1: 2 values, expected 12",
    )
    result = runner.invoke(app, ["invoke", "--data", "-"], input="1,2\n")
    assert result.exit_code == 1
    assert "The model refused the request with 400: row 1: 2 values, expected 12" in result.stderr


def test_without_an_endpoint_invoke_says_how_to_get_one(session: cli_fakes.FakeSession) -> None:
    session.parameters(None)
    result = runner.invoke(app, ["invoke", "--data", "-"], input="1\n")
    assert result.exit_code == 1
    assert "has no endpoint for housing" in result.stderr
    assert "sagestack promote" in result.stderr


def test_the_held_out_rows_are_what_a_steps_test_output_holds(session: cli_fakes.FakeSession) -> None:
    arn = f"{cli_fakes.PIPELINE_ARN}/execution/abcdefghijkl"
    session.answer(
        "sagemaker",
        "describe_pipeline_execution",
        {"PipelineExecutionArn": arn, "PipelineExecutionStatus": "Succeeded"},
    )
    job_arn = "arn:aws:sagemaker:us-east-1:000000000000:processing-job/prep"
    step = {
        "StepName": "Preprocess",
        "StepStatus": "Succeeded",
        "StartTime": NOW,
        "Metadata": {"ProcessingJob": {"Arn": job_arn}},
    }
    session.answer("sagemaker", "list_pipeline_execution_steps", {"PipelineExecutionSteps": [step]})
    outputs = [
        {"OutputName": name, "S3Output": {"S3Uri": f"s3://a/prep/{name}", "S3UploadMode": "EndOfJob"}}
        for name in ("train", "test")
    ]
    job = {
        "ProcessingJobName": "prep",
        "ProcessingJobArn": job_arn,
        "ProcessingJobStatus": "Completed",
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "AppSpecification": {"ImageUri": "image"},
        "CreationTime": NOW,
        "ProcessingOutputConfig": {"Outputs": outputs},
    }
    session.answer("sagemaker", "describe_processing_job", job)
    listing = {"Contents": [{"Key": "prep/test/test.csv"}, {"Key": "prep/test/readme"}]}
    session.answer("s3", "list_objects_v2", listing, {"Bucket": "a", "Prefix": "prep/test/"})
    session.answer("s3", "get_object", {"Body": cli_fakes.body(b"24,0.1,5\n21.5,0.2,6\n")})
    rows = held_out.load(session, arn)
    assert rows.labels == (24.0, 21.5)
    assert rows.features == ("0.1,5", "0.2,6")
    session.check()


def test_predictions_must_be_one_number_per_row(session: cli_fakes.FakeSession) -> None:
    rows = held_out.Rows((1.0, 2.0), ("1", "2"), "s3://a/b")
    answer = {"Body": cli_fakes.body(b"22.5\n"), "ContentType": "text/csv"}
    session.answer("runtime", "invoke_endpoint", answer)
    with pytest.raises(CliError, match="1 predictions for 2 rows"):
        held_out.predict(session, "e", rows)


def test_rmse_is_the_root_of_the_mean_of_squares() -> None:
    assert held_out.rmse([1.0, 2.0], [4.0, 6.0]) == pytest.approx((25 / 2) ** 0.5)


def test_status_tells_the_pinned_version_from_the_served_one(session: cli_fakes.FakeSession) -> None:
    (session.root / "environments/local.pins.yaml").write_text("models: {housing: {served_version: 3}}\n")
    stack = {"StackName": "s", "StackStatus": "CREATE_COMPLETE", "CreationTime": NOW}
    session.answer("cloudformation", "describe_stacks", {"Stacks": [stack]})
    session.answer("cloudformation", "describe_stacks", {"Stacks": [stack]})
    session.refuse("cloudformation", "describe_stacks", "ValidationError", "Stack does not exist")
    session.parameters("pipe", GROUP, "the-endpoint")
    session.answer("sagemaker", "list_pipeline_executions", {"PipelineExecutionSummaries": []})
    session.answer("sagemaker", "list_model_packages", versions(version(3, "Approved")))
    _described(session, 3)
    endpoint = {
        "EndpointName": "the-endpoint",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:000000000000:endpoint/the-endpoint",
        "EndpointConfigName": "config",
        "EndpointStatus": "InService",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "ProductionVariants": [{"VariantName": "all", "CurrentInstanceCount": 2}],
    }
    session.answer("sagemaker", "describe_endpoint", endpoint)
    config = {
        "EndpointConfigName": "config",
        "EndpointConfigArn": "arn:aws:sagemaker:us-east-1:000000000000:endpoint-config/config",
        "ProductionVariants": [{"VariantName": "all", "ModelName": "model"}],
        "CreationTime": NOW,
    }
    session.answer("sagemaker", "describe_endpoint_config", config, {"EndpointConfigName": "config"})
    package = version(2, "Approved")["ModelPackageArn"]
    model = {
        "ModelName": "model",
        "ModelArn": "arn:aws:sagemaker:us-east-1:000000000000:model/model",
        "CreationTime": NOW,
        "Containers": [{"ModelPackageName": package}],
    }
    session.answer("sagemaker", "describe_model", model, {"ModelName": "model"})
    result = runner.invoke(app, ["status", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [stack["status"] for stack in told["stacks"]] == ["CREATE_COMPLETE", "CREATE_COMPLETE", None]
    housing = told["models"]["housing"]
    assert housing["pinned_version"] == 3
    assert housing["endpoint"]["versions"] == [2]
    assert housing["endpoint"]["instances"] == 2
    assert housing["versions"][0]["metrics"] == {"m.rmse.value": 3.5}
    session.check()


def test_status_goes_on_where_it_may_not_see_what_an_endpoint_serves(session: cli_fakes.FakeSession) -> None:
    (session.root / "environments/local.pins.yaml").write_text("models: {housing: {served_version: 3}}\n")
    stack = {"StackName": "s", "StackStatus": "CREATE_COMPLETE", "CreationTime": NOW}
    for _ in range(6):
        session.answer("cloudformation", "describe_stacks", {"Stacks": [stack]})
    for _ in range(2):
        session.parameters("pipe", GROUP, "the-endpoint")
        session.answer("sagemaker", "list_pipeline_executions", {"PipelineExecutionSummaries": []})
        session.answer("sagemaker", "list_model_packages", {"ModelPackageSummaryList": []})
        endpoint = {
            "EndpointName": "the-endpoint",
            "EndpointArn": "arn:aws:sagemaker:us-east-1:000000000000:endpoint/the-endpoint",
            "EndpointConfigName": "config",
            "EndpointStatus": "InService",
            "CreationTime": NOW,
            "LastModifiedTime": NOW,
        }
        session.answer("sagemaker", "describe_endpoint", endpoint)
        session.refuse("sagemaker", "describe_endpoint_config", "AccessDeniedException", "not authorized")
    shown = runner.invoke(app, ["status"])
    assert shown.exit_code == 0, shown.output
    assert "Which version it serves is not for your role to see (DescribeEndpointConfig); 3 is pinned" in shown.stdout
    assert "but not served" not in shown.stdout
    told = runner.invoke(app, ["status", "--json"])
    assert json.loads(told.stdout)["models"]["housing"]["endpoint"]["versions"] is None
    session.check()


def test_credentials_of_another_account_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.stub import Stubber
    from sagestack.cli import session as sessions

    root = cli_fakes.make_project(tmp_path / "p")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    opened = sessions.Session(root, load_environment("dev", root), None)
    sts = opened._client("sts")
    monkeypatch.setattr(opened, "_client", lambda service: sts)
    with Stubber(sts) as stub:
        stub.add_response("get_caller_identity", {"Account": "0" * 12})
        with pytest.raises(CliError) as caught:
            opened.check_account()
    assert "belong to account 000000000000" in caught.value.message
    assert "account 111111111111" in caught.value.message
    assert "sagestack env --unset" in (caught.value.hint or "")
