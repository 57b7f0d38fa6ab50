"""What `make demo` does, in a checkout of its own, and what people do next; each test goes on where the one before it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import xgboost

from tests.checkout import Checkout
from tests.housing_runs import DATA
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(600)

GROUP = "sagestack-local-housing"
TERMINAL = ("Succeeded", "Failed", "Stopped")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Not yet started: the demo starts it."""
    made = Checkout(tmp_path_factory.mktemp("a checkout"))
    yield made
    made.run("sagestack", "down")


@pytest.fixture(scope="module")
def told(checkout: Checkout) -> dict[str, Any]:
    """What the demo tells in the end."""
    return dict(checkout.sagestack("demo", "--port", str(checkout.port)))


def versions(checkout: Checkout) -> list[int]:
    found = checkout.client("sagemaker").list_model_packages(ModelPackageGroupName=GROUP, MaxResults=100)
    return sorted(package["ModelPackageVersion"] for package in found["ModelPackageSummaryList"])


def ended(checkout: Checkout, arn: str, timeout_s: float = 180) -> dict[str, Any]:
    """An execution once it has ended."""
    sagemaker = checkout.client("sagemaker")
    deadline = time.monotonic() + timeout_s
    while True:
        described = dict(sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn))
        if described["PipelineExecutionStatus"] in TERMINAL:
            return described
        assert time.monotonic() < deadline, described
        time.sleep(0.2)


def test_the_demo_serves_a_good_model(told: dict[str, Any]) -> None:
    assert told["version"] == 1
    assert told["rows"] == 75
    assert 2.0 < told["rmse"] < 4.8
    # What the endpoint answers is what the evaluation measured before it was registered.
    assert told["rmse"] == pytest.approx(told["metrics"]["regression_metrics.rmse.value"], rel=1e-5)


def test_it_leaves_the_tree_clean(checkout: Checkout, told: dict[str, Any]) -> None:
    assert checkout.run("git", "status", "--porcelain").stdout == ""


def test_the_endpoint_answers_what_the_registered_booster_predicts(checkout: Checkout, told: dict[str, Any]) -> None:
    import io
    import tarfile

    row = DATA.read_text().splitlines()[1].rsplit(",", 1)[0]
    answer = checkout.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=told["endpoint"], ContentType="text/csv", Accept="text/csv", Body=row.encode()
    )
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:model-package/{GROUP}/1"
    package = checkout.client("sagemaker").describe_model_package(ModelPackageName=arn)
    bucket, _, key = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"][5:].partition("/")
    archive = checkout.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = next(member for member in tar.getmembers() if member.name.endswith("xgboost-model"))
        content = tar.extractfile(member)
        assert content is not None
        booster = xgboost.Booster(model_file=bytearray(content.read()))
    values = [[float(value) for value in row.split(",")]]
    matrix = xgboost.DMatrix(values, feature_names=booster.feature_names)
    assert float(answer["Body"].read()) == pytest.approx(float(booster.predict(matrix)[0]), abs=1e-6)


def test_a_second_deployment_by_the_unmodified_cli_has_nothing_to_do(checkout: Checkout, told: dict[str, Any]) -> None:
    exports = checkout.run("sagestack", "env").stdout
    result = checkout.run(
        "bash",
        "-c",
        f"{exports}\ncdk deploy --all -c env=local --require-approval never --no-notices --progress events",
        # The demo had its templates validated, and these are the same: that is what is shown here.
        CDK_VALIDATION="false",
    )
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert said.count("(no changes)") == 3, said
    assert "could not be used to assume" not in said, "the keys of `sagestack env` can assume the bootstrap's roles"


@pytest.mark.long
def test_a_change_by_hand_is_drift_until_it_is_undone(checkout: Checkout, told: dict[str, Any]) -> None:
    s3, ssm = checkout.client("s3"), checkout.client("ssm")
    bucket = ssm.get_parameter(Name="/sagestack/local/data-bucket")["Parameter"]["Value"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    try:
        found = checkout.sagestack("drift", exit_code=3)
    finally:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    (drifted,) = (each for stack in found["stacks"] for each in stack["drifted"])
    assert (drifted["stack"], drifted["path"]) == ("sagestack-local-foundation", "Data")
    assert (drifted["physical_id"], drifted["kind"]) == (bucket, "changed")
    assert drifted["differences"] == [
        {"property": "VersioningConfiguration.Status", "deployed": "Enabled", "found": "Suspended"}
    ]
    as_deployed = checkout.sagestack("drift")
    assert as_deployed["in_sync"]
    assert sum(stack["checked"] for stack in as_deployed["stacks"]) > 40


def test_what_training_published_is_seen_where_sagemaker_shows_it(checkout: Checkout, told: dict[str, Any]) -> None:
    logs = checkout.client("logs")
    for group in (
        "/aws/sagemaker/ProcessingJobs",
        "/aws/sagemaker/TrainingJobs",
        f"/aws/sagemaker/Endpoints/{told['endpoint']}",
    ):
        assert logs.describe_log_streams(logGroupName=group)["logStreams"], group

    def published() -> set[str]:
        metrics = checkout.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker")["Metrics"]
        return {metric["MetricName"] for metric in metrics}

    # A moment after the invocations, and not with them.
    wait_for(lambda: {"Invocations", "ModelLatency", "OverheadLatency"} <= published())
    sagemaker = checkout.client("sagemaker")
    job = sagemaker.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"][-1]["TrainingJobName"]
    final = sagemaker.describe_training_job(TrainingJobName=job)["FinalMetricDataList"]
    assert {metric["MetricName"] for metric in final} == {"train:rmse", "validation:rmse"}


def test_a_wrong_row_is_refused_in_words(checkout: Checkout, told: dict[str, Any]) -> None:
    error = checkout.sagestack("invoke", "--data", "-", text="1,2\n", exit_code=1)["error"]
    assert "row 1: 2 columns, expected 12" in error["message"]


def test_a_model_that_misses_the_gate_is_not_registered(checkout: Checkout, told: dict[str, Any]) -> None:
    before = versions(checkout)
    error = checkout.sagestack("run", "--param", "QualityThreshold=1.0", exit_code=1)["error"]
    assert "regression_metrics.rmse.value is 3.7" in error["message"]
    assert "must be at most 1.0" in error["message"]
    assert versions(checkout) == before


def test_data_without_a_column_stops_the_pipeline_there(checkout: Checkout, told: dict[str, Any]) -> None:
    before = versions(checkout)
    lines = [line.split(",", 1)[1] for line in DATA.read_text().splitlines()]
    (checkout.folder / "bad.csv").write_text("\n".join(lines) + "\n")
    error = checkout.sagestack("run", "--data", "bad.csv", exit_code=1)["error"]
    (checkout.folder / "bad.csv").unlink()
    assert "Preprocess" in error["message"]
    assert "CRIM" in error["message"]
    statuses = {step["name"]: step["status"] for step in error["execution"]["steps"]}
    assert statuses["Preprocess"] == "Failed"
    assert "Succeeded" not in statuses.values()
    assert versions(checkout) == before
    assert "CRIM" in checkout.run("sagestack", "logs").stdout, "the log of the job is kept"


def test_a_job_without_a_grant_fails_with_the_action_and_the_resource(checkout: Checkout, told: dict[str, Any]) -> None:
    resources = checkout.client("cloudformation").describe_stack_resources(StackName="sagestack-local-housing-training")
    role = next(
        resource["PhysicalResourceId"]
        for resource in resources["StackResources"]
        if resource["ResourceType"] == "AWS::IAM::Role" and "JobRole" in resource["LogicalResourceId"]
    )
    iam = checkout.client("iam")
    policy_name = iam.list_role_policies(RoleName=role)["PolicyNames"][0]
    policy = iam.get_role_policy(RoleName=role, PolicyName=policy_name)["PolicyDocument"]
    lesser = json.loads(json.dumps(policy))
    lesser["Statement"] = [s for s in lesser["Statement"] if "s3:PutObject" not in s["Action"]]
    assert lesser != policy
    iam.put_role_policy(RoleName=role, PolicyName=policy_name, PolicyDocument=json.dumps(lesser))
    try:
        error = checkout.sagestack("run", "--data", str(DATA), exit_code=1)["error"]
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy_name, PolicyDocument=json.dumps(policy))
    assert "s3:PutObject" in error["message"]
    assert "arn:aws:s3:::sagestack-local-foundation-artifacts" in error["message"]


@pytest.mark.long
def test_an_execution_survives_that_the_cloud_goes_down_and_up(checkout: Checkout, told: dict[str, Any]) -> None:
    started = checkout.sagestack("run", "--no-wait")
    arn = started["execution"]["arn"]
    assert checkout.run("sagestack", "down").returncode == 0
    assert checkout.run("sagestack", "status").returncode == 1, "nothing answers now, and it says so"
    checkout.sagestack("up", "--port", str(checkout.port))
    assert ended(checkout, arn)["PipelineExecutionStatus"] == "Succeeded"
    # The endpoint's servers are started again, too.
    row = DATA.read_text().splitlines()[1].rsplit(",", 1)[0] + "\n"
    deadline = time.monotonic() + 60
    while (answer := checkout.run("sagestack", "invoke", "--data", "-", text=row)).returncode:
        assert time.monotonic() < deadline, answer.stderr
        time.sleep(0.5)
    assert float(answer.stdout) > 0


def test_a_second_cloud_on_the_port_is_refused_with_the_way_out(checkout: Checkout, told: dict[str, Any]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert checkout.run("sagestack", "down").returncode == 0
        result = checkout.run("sagestack", "up", "--port", port)
    assert result.returncode == 1
    assert port in result.stderr
    assert "PORT=" in result.stderr
