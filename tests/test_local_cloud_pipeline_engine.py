"""How an execution runs: what starts when, what a failure, a stop, a retry, an earlier result and a restart do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.sagemaker.errors import (
    AccessDenied,
    ConflictError,
    NotEmulated,
    ResourceNotFound,
    ValidationError,
)
from local_cloud.sagemaker.pipelines import pipeline_execution
from local_cloud.sagemaker.pipelines.executions import executions_in
from local_cloud.sagemaker.pipelines.pipeline_execution import Execution, Interrupted
from local_cloud.sagemaker.pipelines.pipeline_records import execution_name
from local_cloud.sagemaker.pipelines.pipeline_step import StepRun
from tests.local_cloud_fakes import ROLE, USER, FakeCloud, fake_cloud, patiently
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

EXECUTION_EVENT = "SageMaker Model Building Pipeline Execution Status Change"
STEP_EVENT = "SageMaker Model Building Pipeline Execution Step Status Change"
CACHED: dict[str, Any] = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    with fake_cloud(tmp_path, monkeypatch) as running:
        yield running


def statuses(cloud: FakeCloud, execution: str) -> dict[str, str]:
    return {name: step["StepStatus"] for name, step in cloud.steps(execution).items()}


def gated(threshold: float) -> str:
    """Train, evaluate, and register only what is good enough."""
    rmse = json_get("Evaluate", "Report", "metrics.rmse")
    model = get("Steps.Train.ModelArtifacts.S3ModelArtifacts")
    message = join("RMSE ", rmse, " is above ", get("Parameters.Threshold"))
    return document(
        training("Train"),
        processing("Evaluate", DependsOn=["Train"]),
        condition(
            "Check",
            at_most(rmse, get("Parameters.Threshold")),
            then=[register("Register", "models", model)],
            otherwise=[fail("Missed", message)],
        ),
        parameters=[{"Name": "Threshold", "Type": "Float", "DefaultValue": threshold}],
    )


def evaluate_with(cloud: FakeCloud, execution: str, rmse: float) -> None:
    """Let the held evaluation complete, its report and the model in S3."""
    cloud.until(execution, "Evaluate", "Executing")
    output = cloud.jobs.of("Evaluate")[-1]["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    cloud.platform.objects[f"{output.removeprefix('s3://')}/report.json"] = json.dumps(
        {"metrics": {"rmse": rmse}}
    ).encode()
    model = cloud.jobs.of("Train")[-1]["ModelArtifacts"]["S3ModelArtifacts"]
    cloud.platform.objects[model.removeprefix("s3://")] = b"model"
    cloud.jobs.end("Evaluate", "Completed")


def test_a_model_that_is_good_enough_is_registered(cloud: FakeCloud) -> None:
    cloud.call("CreateModelPackageGroup", {"ModelPackageGroupName": "models"})
    cloud.jobs.held.add("Evaluate")
    cloud.create(gated(threshold=4.0))
    execution = cloud.start()
    evaluate_with(cloud, execution, 3.5)
    assert cloud.wait(execution) == "Succeeded"
    steps = cloud.steps(execution)
    assert list(steps) == ["Train", "Evaluate", "Check", "Register"]
    assert steps["Check"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    assert steps["Register"]["Metadata"]["RegisterModel"]["Arn"].endswith(":model-package/models/1")
    package = cloud.call("DescribeModelPackage", {"ModelPackageName": "models/1"})
    assert package["MetadataProperties"] == {"GeneratedBy": execution}
    assert package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"].endswith("output/model.tar.gz")


def test_a_model_that_is_not_good_enough_fails_the_execution_in_the_definitions_words(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("Evaluate")
    cloud.create(gated(threshold=4.0))
    execution = cloud.start(PipelineParameters=[{"Name": "Threshold", "Value": "2.5"}])
    evaluate_with(cloud, execution, 3.5)
    assert cloud.wait(execution) == "Failed"
    steps = cloud.steps(execution)
    assert list(steps) == ["Train", "Evaluate", "Check", "Missed"]
    assert steps["Check"]["Metadata"] == {"Condition": {"Outcome": "False"}}
    assert steps["Missed"]["Metadata"] == {"Fail": {"ErrorMessage": "RMSE 3.5 is above 2.5"}}
    assert steps["Missed"]["FailureReason"] == "RMSE 3.5 is above 2.5"
    assert cloud.describe(execution)["FailureReason"] == (
        "Step failure: One or multiple steps failed. Missed: RMSE 3.5 is above 2.5"
    )


def test_a_property_file_that_is_not_there_fails_the_condition(cloud: FakeCloud) -> None:
    cloud.create(gated(threshold=4.0))
    execution = cloud.run()
    reason = cloud.steps(execution)["Check"]["FailureReason"]
    assert reason.startswith("ClientError: the property file s3://artifacts/")
    assert "no such key" in reason


def test_jobs_are_started_as_the_pipelines_role_with_names_and_tags_that_tell_their_execution(cloud: FakeCloud) -> None:
    arn = cloud.create(document(training("Train_it", Arguments={"Tags": [{"Key": "team", "Value": "a"}]})))
    execution = cloud.run()
    (name,) = cloud.jobs.jobs
    assert name.startswith(f"pipelines-{execution.rpartition('/')[2]}-Train-it-")
    assert len(name) <= 63
    assert execution.startswith(f"{arn}/execution/")
    assert cloud.jobs.tags[name] == [
        {"Key": "team", "Value": "a"},
        {"Key": "sagemaker:pipeline-execution-arn", "Value": execution},
        {"Key": "sagemaker:pipeline-step-name", "Value": "Train_it"},
    ]
    assert (ROLE, "CreateTrainingJob") in cloud.platform.calls
    assert {principal for principal, _ in cloud.platform.calls} == {ROLE}
    for _ in patiently("the sessions to be given up"):
        if not cloud.platform.sessions:
            break


def test_numbers_reach_the_job_as_texts(cloud: FakeCloud) -> None:
    cloud.create(
        document(
            training(
                "Train",
                Arguments={
                    "HyperParameters": {"depth": get("Parameters.Depth"), "id": get("Execution.TrainingJobName")}
                },
            ),
            parameters=[{"Name": "Depth", "Type": "Integer", "DefaultValue": 5}],
        )
    )
    cloud.run()
    (job,) = cloud.jobs.of("Train")
    assert job["HyperParameters"] == {"depth": "5", "id": job["TrainingJobName"]}


def test_branches_run_side_by_side_and_a_failure_lets_the_running_ones_end_and_starts_nothing(cloud: FakeCloud) -> None:
    cloud.jobs.held |= {"Left", "Right"}
    cloud.create(
        document(
            training("Left"),
            training("AfterLeft", DependsOn=["Left"]),
            training("Right"),
            training("AfterRight", DependsOn=["Right"]),
        )
    )
    execution = cloud.start()
    cloud.until(execution, "Left", "Executing")
    cloud.until(execution, "Right", "Executing")
    cloud.jobs.end("Left", "Failed", "AlgorithmError: the data is empty")
    cloud.until(execution, "Left", "Failed")
    assert cloud.describe(execution)["PipelineExecutionStatus"] == "Executing"
    cloud.jobs.release("Right")
    assert cloud.wait(execution) == "Failed"
    assert statuses(cloud, execution) == {"Left": "Failed", "Right": "Succeeded"}
    assert cloud.steps(execution)["Left"]["FailureReason"] == "ClientError: AlgorithmError: the data is empty"
    assert "Left: ClientError: AlgorithmError: the data is empty" in cloud.describe(execution)["FailureReason"]


def test_no_more_steps_run_at_a_time_than_asked(cloud: FakeCloud) -> None:
    cloud.jobs.held |= {"One", "Two"}
    cloud.create(document(training("One"), training("Two")))
    execution = cloud.start(ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    cloud.until(execution, "One", "Executing")
    time.sleep(0.1)
    assert statuses(cloud, execution) == {"One": "Executing"}
    cloud.jobs.release("One")
    cloud.until(execution, "Two", "Executing")
    cloud.jobs.release("Two")
    assert cloud.wait(execution) == "Succeeded"
    parallelism = cloud.describe(execution)["ParallelismConfiguration"]
    assert parallelism == {"MaxParallelExecutionSteps": 1}


def test_a_role_that_may_not_fails_the_step_with_iams_words(cloud: FakeCloud) -> None:
    message = "User: pipeline is not authorized to perform: sagemaker:CreateTrainingJob on resource: job"
    cloud.platform.denials[ROLE, "sagemaker:CreateTrainingJob"] = message
    cloud.create(document(training("Train")))
    execution = cloud.run()
    step = cloud.steps(execution)["Train"]
    assert step["StepStatus"] == "Failed"
    assert (
        step["FailureReason"] == f"ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: {message}"
    )
    assert step["AttemptCount"] == 1


def test_a_role_that_sagemaker_may_not_assume_fails_the_step(cloud: FakeCloud) -> None:
    cloud.platform.refused_roles.add(ROLE)
    cloud.create(document(training("Train")))
    assert "Could not assume role" in cloud.steps(cloud.run())["Train"]["FailureReason"]


def test_a_value_that_the_call_cannot_take_fails_the_step(cloud: FakeCloud) -> None:
    cloud.create(
        document(
            training("Train", Arguments={"StoppingCondition": {"MaxRuntimeInSeconds": get("Parameters.Time")}}),
            parameters=[{"Name": "Time", "Type": "String", "DefaultValue": "an hour"}],
        )
    )
    reason = cloud.steps(cloud.run())["Train"]["FailureReason"]
    assert reason.startswith("ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: ")
    assert "MaxRuntimeInSeconds" in reason


def test_a_retry_policy_starts_a_new_job_and_counts_the_attempts(cloud: FakeCloud) -> None:
    cloud.jobs.failures["Train"] = ["InternalServerError: the machine is gone"]
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 0, "MaxAttempts": 2}
    cloud.create(document(training("Train", RetryPolicies=[policy])))
    execution = cloud.run()
    step = cloud.steps(execution)["Train"]
    assert (step["StepStatus"], step["AttemptCount"]) == ("Succeeded", 2)
    failed, completed = cloud.jobs.of("Train")
    assert failed["TrainingJobName"] != completed["TrainingJobName"]
    assert step["Metadata"]["TrainingJob"]["Arn"] == completed["TrainingJobArn"]


def test_retries_end(cloud: FakeCloud) -> None:
    cloud.jobs.failures["Train"] = ["CapacityError: none"] * 5
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 0, "MaxAttempts": 2}
    cloud.create(document(training("Train", RetryPolicies=[policy])))
    step = cloud.steps(cloud.run())["Train"]
    assert (step["StepStatus"], step["AttemptCount"]) == ("Failed", 3)
    assert step["FailureReason"] == "ClientError: CapacityError: none"


def test_a_retry_policy_covers_only_what_it_names(cloud: FakeCloud) -> None:
    cloud.jobs.failures["Train"] = ["AlgorithmError: no"]
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 0}
    cloud.create(document(training("Train", RetryPolicies=[policy])))
    assert cloud.steps(cloud.run())["Train"]["AttemptCount"] == 1


def test_a_full_quota_is_waited_for(cloud: FakeCloud) -> None:
    cloud.jobs.no_capacity["Train"] = 2
    policy = {"ExceptionType": ["SageMaker.RESOURCE_LIMIT"], "IntervalSeconds": 0}
    cloud.create(document(training("Train", RetryPolicies=[policy])))
    step = cloud.steps(cloud.run())["Train"]
    assert (step["StepStatus"], step["AttemptCount"]) == ("Succeeded", 3)
    assert len(cloud.jobs.of("Train")) == 1


@pytest.mark.long
def test_throttling_is_retried_unasked(cloud: FakeCloud) -> None:
    # botocore itself tries five times.
    cloud.platform.throttled["CreateTrainingJob"] = 5
    cloud.create(
        document(training("Train", RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"], "IntervalSeconds": 0}]))
    )
    step = cloud.steps(cloud.run())["Train"]
    assert (step["StepStatus"], step["AttemptCount"]) == ("Succeeded", 2)


def test_an_equal_step_takes_the_earlier_result(cloud: FakeCloud) -> None:
    use = {"HyperParameters": {"report": get("Steps.Prepare.ProcessingOutputConfig.Outputs['report'].S3Output.S3Uri")}}
    cloud.create(document(processing("Prepare", **CACHED), training("Train", Arguments=use, **CACHED)))
    first = cloud.run()
    second = cloud.run()
    third = cloud.run()
    assert len(cloud.jobs.jobs) == 2
    assert all("CacheHitResult" not in step for step in cloud.steps(first).values())
    for later in (second, third):
        for name, step in cloud.steps(later).items():
            assert step["StepStatus"] == "Succeeded"
            assert step["CacheHitResult"] == {"SourcePipelineExecutionArn": first}
            assert step["Metadata"] == cloud.steps(first)[name]["Metadata"]
    (hit,) = [
        event
        for event in cloud.sent(STEP_EVENT)
        if event["pipelineExecutionArn"] == second
        and event["stepName"] == "Train"
        and event["currentStepStatus"] == "Succeeded"
    ]
    assert hit["cacheHitResult"] == {"sourcePipelineExecutionArn": first}


def test_another_argument_that_counts_runs_again_and_one_that_does_not_count_does_not(cloud: FakeCloud) -> None:
    def definition(depth: str, hours: int) -> str:
        arguments = {"HyperParameters": {"d": depth}, "StoppingCondition": {"MaxRuntimeInSeconds": hours * 3600}}
        return document(training("Train", Arguments=arguments, **CACHED))

    cloud.create(definition("5", 1))
    cloud.run()
    cloud.call("UpdatePipeline", {"PipelineName": "line", "PipelineDefinition": definition("5", 2)})
    assert "CacheHitResult" in cloud.steps(cloud.run())["Train"]
    cloud.call("UpdatePipeline", {"PipelineName": "line", "PipelineDefinition": definition("6", 2)})
    assert "CacheHitResult" not in cloud.steps(cloud.run())["Train"]
    assert len(cloud.jobs.jobs) == 2


@pytest.mark.parametrize("why", ["failed before", "too old", "caching off", "another pipeline"])
def test_no_result_is_taken_that_should_not_be(cloud: FakeCloud, why: str) -> None:
    expires = "PT1S" if why == "too old" else "P1D"
    cached = {"CacheConfig": {"Enabled": why != "caching off", "ExpireAfter": expires}}
    if why == "failed before":
        cloud.jobs.failures["Train"] = ["AlgorithmError: no"]
    cloud.create(document(training("Train", **cached)))
    cloud.create(document(training("Train", **cached)), name="other")
    cloud.run()
    if why == "too old":
        time.sleep(1.05)
    execution = cloud.run("other" if why == "another pipeline" else "line")
    assert "CacheHitResult" not in cloud.steps(execution)["Train"]
    assert len(cloud.jobs.jobs) == 2


def test_a_stopped_execution_stops_its_jobs_and_starts_nothing(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("One")
    cloud.create(document(training("One"), training("Two", DependsOn=["One"])))
    execution = cloud.start()
    cloud.until(execution, "One", "Executing")
    cloud.stop(execution)
    assert cloud.wait(execution) == "Stopped"
    assert statuses(cloud, execution) == {"One": "Stopped"}
    assert cloud.jobs.of("One")[0]["TrainingJobStatus"] == "Stopped"
    changes = [event["currentPipelineExecutionStatus"] for event in cloud.sent(EXECUTION_EVENT)]
    assert changes == ["Executing", "Stopping", "Stopped"]
    with pytest.raises(ValidationError, match="has status 'Stopped'"):
        cloud.stop(execution)


def test_a_step_that_waits_for_its_next_attempt_stops_at_once(cloud: FakeCloud) -> None:
    cloud.jobs.failures["Train"] = ["InternalServerError: gone"]
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 600}
    cloud.create(document(training("Train", RetryPolicies=[policy])))
    execution = cloud.start()
    for _ in patiently("the second attempt"):
        if cloud.steps(execution).get("Train", {}).get("AttemptCount") == 2:
            break
    cloud.stop(execution)
    assert cloud.wait(execution) == "Stopped"


def test_a_job_that_somebody_else_stops_fails_its_step(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("Train")
    cloud.create(document(training("Train")))
    execution = cloud.start()
    cloud.until(execution, "Train", "Executing")
    cloud.jobs.end("Train", "Stopped")
    assert cloud.wait(execution) == "Failed"
    assert "was stopped" in cloud.steps(execution)["Train"]["FailureReason"]


def test_a_failed_execution_can_be_retried_from_where_it_failed(cloud: FakeCloud) -> None:
    cloud.jobs.failures["Two"] = ["AlgorithmError: no"]
    cloud.create(document(training("One"), training("Two", DependsOn=["One"]), training("Three", DependsOn=["Two"])))
    execution = cloud.run()
    assert statuses(cloud, execution) == {"One": "Succeeded", "Two": "Failed"}
    cloud.retry(execution)
    assert cloud.wait(execution) == "Succeeded"
    assert statuses(cloud, execution) == {"One": "Succeeded", "Two": "Succeeded", "Three": "Succeeded"}
    assert [len(cloud.jobs.of(step)) for step in ("One", "Two", "Three")] == [1, 2, 1]
    assert "FailureReason" not in cloud.describe(execution)
    with pytest.raises(ConflictError, match="has status 'Succeeded'"):
        cloud.retry(execution)


def test_a_stopped_execution_can_be_retried(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("Two")
    cloud.create(document(training("One"), training("Two", DependsOn=["One"])))
    execution = cloud.start()
    cloud.until(execution, "Two", "Executing")
    cloud.stop(execution)
    assert cloud.wait(execution) == "Stopped"
    cloud.jobs.held.clear()
    cloud.retry(execution)
    assert cloud.wait(execution) == "Succeeded"
    assert [len(cloud.jobs.of(step)) for step in ("One", "Two")] == [1, 2]


def test_a_restart_goes_on_with_the_job_that_runs(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("One")
    cloud.create(document(training("One"), training("Two", DependsOn=["One"])))
    execution = cloud.start()
    cloud.until(execution, "One", "Executing")
    cloud.restart()
    assert cloud.describe(execution)["PipelineExecutionStatus"] == "Executing"
    cloud.jobs.release("One")
    assert cloud.wait(execution) == "Succeeded"
    assert len(cloud.jobs.of("One")) == 1


def test_a_restart_takes_the_result_of_a_job_that_ended_meanwhile(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("One")
    cloud.create(document(training("One"), training("Two", DependsOn=["One"])))
    execution = cloud.start()
    cloud.until(execution, "One", "Executing")
    # While the cloud is down nobody is told.
    cloud.jobs.jobs[cloud.jobs.of("One")[0]["TrainingJobName"]]["TrainingJobStatus"] = "Completed"
    cloud.restart()
    assert cloud.wait(execution) == "Succeeded"


def test_an_execution_that_a_restart_cannot_resume_fails_and_keeps_nothing_from_going(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("One")
    cloud.create(document(training("One")))
    execution = cloud.start()
    cloud.until(execution, "One", "Executing")
    place = (USER.account, USER.region, execution.partition(":pipeline/")[2].replace("/execution/", "/"))
    cloud.service.store.update(
        "pipeline-execution", *place, lambda found: found.update(Definition="of another version")
    )
    cloud.restart()
    assert cloud.wait(execution) == "Failed"
    assert cloud.describe(execution)["FailureReason"].startswith("InternalServerError")
    assert cloud.sent(EXECUTION_EVENT)[-1]["currentPipelineExecutionStatus"] == "Failed"
    cloud.call("DeletePipeline", {"PipelineName": "line", "ClientRequestToken": "delete-line".ljust(32, "-")})


def test_an_execution_that_the_engine_breaks_on_fails_and_is_told(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Execution) -> None:
        raise RuntimeError("a mistake in the engine")

    monkeypatch.setattr(Execution, "_start_ready", broken)
    cloud.create(document(training("One")))
    execution = cloud.start()
    assert cloud.wait(execution) == "Failed"
    assert cloud.describe(execution)["FailureReason"] == "InternalServerError: The local cloud failed; see its log."
    assert cloud.sent(EXECUTION_EVENT)[-1]["currentPipelineExecutionStatus"] == "Failed"


@pytest.mark.parametrize("covered", [True, False])
def test_a_job_that_the_restart_ended_is_run_again_only_under_a_retry_policy(cloud: FakeCloud, covered: bool) -> None:
    cloud.jobs.held.add("Train")
    policy = {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "IntervalSeconds": 0}
    cloud.create(document(training("Train", RetryPolicies=[policy] if covered else [])))
    execution = cloud.start()
    cloud.until(execution, "Train", "Executing")
    cloud.jobs.held.clear()
    job = cloud.jobs.of("Train")[0]
    reason = "InternalServerError: The local cloud was stopped while the job ran."
    job.update(TrainingJobStatus="Failed", FailureReason=reason)
    cloud.restart()
    assert cloud.wait(execution) == ("Succeeded" if covered else "Failed")
    if not covered:
        assert cloud.steps(execution)["Train"]["FailureReason"] == reason


def test_a_restart_between_the_name_and_the_call_starts_the_job_once_under_that_name(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: StepRun, operation: str, request: dict[str, Any]) -> None:
        raise Interrupted

    cloud.create(document(training("Train")))
    with monkeypatch.context() as patched:
        patched.setattr(StepRun, "_call", killed)
        execution = cloud.start()
        key = execution.partition(":pipeline/")[2].replace("/execution/", "/")
        name = ""
        for _ in patiently("the job's name to be in the store"):
            found = cloud.service.store.get("pipeline-execution", USER.account, USER.region, key)
            if found and "JobName" in found["Steps"].get("Train", {}):
                name = found["Steps"]["Train"]["JobName"]
                break
    cloud.restart()
    assert cloud.wait(execution) == "Succeeded"
    assert list(cloud.jobs.jobs) == [name]


def test_stopping_the_cloud_ends_every_thread_of_an_execution(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It gives up on what does not end; here nothing is given up on.
    monkeypatch.setattr(pipeline_execution, "CLOSE_S", 60)
    cloud.jobs.held |= {"One", "Two"}
    cloud.create(document(training("One"), training("Two")))
    execution = cloud.start()
    cloud.until(execution, "One", "Executing")
    cloud.until(execution, "Two", "Executing")
    ours = [thread for thread in threading.enumerate() if execution.rpartition("/")[2] in thread.name]
    assert len(ours) == 3, "one that decides, and one for each step"
    cloud.restart()
    assert not [thread.name for thread in ours if thread.is_alive()]
    cloud.stop(execution)
    assert cloud.wait(execution) == "Stopped"


def test_events_tell_of_every_change(cloud: FakeCloud) -> None:
    arn = cloud.create(document(processing("Prepare")))
    execution = cloud.start(PipelineExecutionDisplayName="nightly", PipelineExecutionDescription="every night")
    cloud.wait(execution)
    first, last = cloud.sent(EXECUTION_EVENT)
    assert "previousPipelineExecutionStatus" not in first
    assert first["currentPipelineExecutionStatus"] == "Executing"
    assert last.pop("executionEndTime").endswith("Z")
    assert last.pop("executionStartTime").endswith("Z")
    assert last == {
        "pipelineExecutionDisplayName": "nightly",
        "pipelineExecutionDescription": "every night",
        "currentPipelineExecutionStatus": "Succeeded",
        "previousPipelineExecutionStatus": "Executing",
        "pipelineArn": arn,
        "pipelineExecutionArn": execution,
    }
    steps = cloud.sent(STEP_EVENT)
    assert [(event.get("previousStepStatus"), event["currentStepStatus"]) for event in steps] == [
        (None, "Starting"),
        ("Starting", "Executing"),
        ("Executing", "Succeeded"),
    ]
    (job,) = cloud.jobs.of("Prepare")
    assert steps[-1]["metadata"] == {"processingJob": {"arn": job["ProcessingJobArn"]}}
    assert (steps[-1]["stepName"], steps[-1]["stepType"]) == ("Prepare", "Processing")
    assert "stepEndTime" in steps[-1]
    assert cloud.platform.events[0]["resources"] == [arn, execution]


def test_who_sees_an_end_is_never_ahead_of_the_event_that_tells_of_it(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = pipeline_execution.send_execution_event

    def late(*arguments: Any) -> None:
        time.sleep(0.05)
        tell(*arguments)

    monkeypatch.setattr(pipeline_execution, "send_execution_event", late)
    cloud.create(document(training("Train")))
    cloud.run()
    assert [event["currentPipelineExecutionStatus"] for event in cloud.sent(EXECUTION_EVENT)] == [
        "Executing",
        "Succeeded",
    ]


def test_an_execution_that_has_ended_does_not_end_again(cloud: FakeCloud) -> None:
    cloud.create(document(training("Train")))
    execution = cloud.run()
    ended = cloud.describe(execution)
    for _ in patiently("the execution to be forgotten"):
        if not executions_in(cloud.service)._running:
            break
    executions_in(cloud.service).run(USER.account, USER.region, execution_name(execution))
    assert not executions_in(cloud.service)._running
    assert cloud.describe(execution) == ended
    assert len(cloud.sent(EXECUTION_EVENT)) == 2


def test_an_execution_tells_of_itself(cloud: FakeCloud) -> None:
    definition = document(
        training("Train", DisplayName="Fit it", Description="XGBoost"),
        parameters=[
            {"Name": "Depth", "Type": "Integer", "DefaultValue": 5},
            {"Name": "Eta", "Type": "Float", "DefaultValue": 0.2},
        ],
        PipelineExperimentConfig={
            "ExperimentName": get("Execution.PipelineName"),
            "TrialName": get("Execution.PipelineExecutionId"),
        },
    )
    cloud.create(definition)
    execution = cloud.run(PipelineParameters=[{"Name": "Depth", "Value": "7"}])
    described = cloud.describe(execution)
    assert described["PipelineExecutionDisplayName"].startswith("execution-")
    assert described["CreatedBy"] == {"IamIdentity": {"Arn": USER.arn}}
    assert described["PipelineExperimentConfig"] == {
        "ExperimentName": "line",
        "TrialName": execution.rpartition("/")[2],
    }
    by_arn = {"PipelineExecutionArn": execution}
    parameters = cloud.call("ListPipelineParametersForExecution", by_arn)["PipelineParameters"]
    assert parameters == [{"Name": "Depth", "Value": "7"}, {"Name": "Eta", "Value": "0.2"}]
    assert cloud.call("DescribePipelineDefinitionForExecution", by_arn)["PipelineDefinition"] == definition
    step = cloud.steps(execution)["Train"]
    assert (step["StepDisplayName"], step["StepDescription"]) == ("Fit it", "XGBoost")
    assert step["StartTime"] <= step["EndTime"]
    cloud.call("UpdatePipelineExecution", {**by_arn, "PipelineExecutionDisplayName": "better"})
    (summary,) = cloud.call("ListPipelineExecutions", {"PipelineName": "line"})["PipelineExecutionSummaries"]
    assert summary["PipelineExecutionDisplayName"] == "better"
    assert summary["PipelineExecutionStatus"] == "Succeeded"


def test_steps_are_listed_latest_first_and_in_pages(cloud: FakeCloud) -> None:
    cloud.create(document(training("One"), training("Two", DependsOn=["One"]), training("Three", DependsOn=["Two"])))
    execution = cloud.run()
    request = {"PipelineExecutionArn": execution, "MaxResults": 2}
    first = cloud.call("ListPipelineExecutionSteps", request)
    second = cloud.call("ListPipelineExecutionSteps", {**request, "NextToken": first["NextToken"]})
    names = [step["StepName"] for answer in (first, second) for step in answer["PipelineExecutionSteps"]]
    assert names == ["Three", "Two", "One"]


def test_a_running_execution_keeps_the_definition_that_it_started_with(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("One")
    cloud.create(document(training("One"), training("Two", DependsOn=["One"])))
    execution = cloud.start()
    cloud.until(execution, "One", "Executing")
    update = {"PipelineName": "line", "PipelineDefinition": document(training("Other"))}
    assert cloud.call("UpdatePipeline", update)["PipelineVersionId"] == 2
    cloud.jobs.release("One")
    assert cloud.wait(execution) == "Succeeded"
    assert list(cloud.steps(execution)) == ["One", "Two"]
    assert list(cloud.steps(cloud.run())) == ["Other"]


def test_a_pipeline_is_made_changed_listed_and_deleted(cloud: FakeCloud) -> None:
    arn = cloud.create(document(training("Train")))
    described = cloud.call("DescribePipeline", {"PipelineName": arn})
    assert (described["PipelineName"], described["PipelineStatus"], described["RoleArn"]) == ("line", "Active", ROLE)
    cloud.call("UpdatePipeline", {"PipelineName": "line", "PipelineDescription": "better"})
    changed = cloud.call("DescribePipeline", {"PipelineName": "line"})
    assert changed["PipelineDescription"] == "better"
    assert changed["PipelineDefinition"] == described["PipelineDefinition"]
    cloud.create(document(training("Train")), name="another")
    summaries = cloud.call("ListPipelines", {"SortBy": "Name", "SortOrder": "Ascending"})["PipelineSummaries"]
    assert [summary["PipelineName"] for summary in summaries] == ["another", "line"]
    prefixed = cloud.call("ListPipelines", {"PipelineNamePrefix": "lin"})["PipelineSummaries"]
    assert [summary["PipelineName"] for summary in prefixed] == ["line"]
    cloud.run()
    deletion = {"PipelineName": "line", "ClientRequestToken": "d" * 32}
    assert cloud.call("DeletePipeline", deletion) == {"PipelineArn": arn}
    with pytest.raises(ResourceNotFound, match=f"Pipeline '{arn}' does not exist"):
        cloud.call("DescribePipeline", {"PipelineName": "line"})


def test_a_pipeline_that_is_made_again_has_no_past(cloud: FakeCloud) -> None:
    token = "start".ljust(32, "-")
    cloud.create(document(training("Train", **CACHED)))
    first = cloud.run(ClientRequestToken=token)
    cloud.call("DeletePipeline", {"PipelineName": "line", "ClientRequestToken": "d" * 32})
    cloud.create(document(training("Train", **CACHED)))
    second = cloud.run(ClientRequestToken=token)
    assert second != first
    assert "CacheHitResult" not in cloud.steps(second)["Train"]


def test_a_pipeline_with_a_running_execution_is_not_deleted(cloud: FakeCloud) -> None:
    cloud.jobs.held.add("Train")
    cloud.create(document(training("Train")))
    execution = cloud.start()
    with pytest.raises(ConflictError, match=execution):
        cloud.call("DeletePipeline", {"PipelineName": "line", "ClientRequestToken": "d" * 32})
    cloud.jobs.release("Train")


def test_the_same_request_twice_does_its_work_once(cloud: FakeCloud) -> None:
    assert cloud.create(document(training("Train"))) == cloud.create(document(training("Train")))
    token = "start".ljust(32, "-")
    assert cloud.start(ClientRequestToken=token) == cloud.start(ClientRequestToken=token)
    assert len(cloud.call("ListPipelineExecutions", {"PipelineName": "line"})["PipelineExecutionSummaries"]) == 1
    with pytest.raises(ValidationError, match="Pipeline names must be unique within an AWS account and region"):
        cloud.call(
            "CreatePipeline",
            {
                "PipelineName": "line",
                "PipelineDefinition": document(training("Train")),
                "RoleArn": ROLE,
                "ClientRequestToken": "another".ljust(32, "-"),
            },
        )


def test_a_definition_is_read_from_s3_by_who_may_read_it(cloud: FakeCloud) -> None:
    request = {
        "PipelineName": "line",
        "PipelineDefinitionS3Location": {"Bucket": "definitions", "ObjectKey": "line.json"},
        "RoleArn": ROLE,
        "ClientRequestToken": "c" * 32,
    }
    with pytest.raises(ValidationError, match=r"Unable to access pipeline definition at s3://definitions/line\.json"):
        cloud.call("CreatePipeline", request)
    cloud.platform.objects["definitions/line.json"] = document(training("Train")).encode()
    cloud.platform.denials[USER.arn, "s3:GetObject"] = "User: tester is not authorized"
    with pytest.raises(ValidationError, match="not authorized"):
        cloud.call("CreatePipeline", request)
    cloud.platform.denials.clear()
    cloud.call("CreatePipeline", request)
    assert cloud.wait(cloud.start()) == "Succeeded"


def test_who_may_not_pass_the_role_makes_no_pipeline(cloud: FakeCloud) -> None:
    cloud.platform.denials[USER.arn, "iam:PassRole"] = "User: tester is not authorized to perform: iam:PassRole"
    with pytest.raises(AccessDenied, match="iam:PassRole"):
        cloud.create(document(training("Train")))


def test_what_is_not_emulated_is_refused_by_name(cloud: FakeCloud) -> None:
    cloud.create(document(training("Train")))
    refused: tuple[tuple[str, Any], ...] = (
        ("SelectiveExecutionConfig", {"SelectedSteps": [{"StepName": "Train"}]}),
        ("MlflowExperimentName", "x"),
        ("PipelineVersionAlias", "x"),
        ("PipelineVersionId", 7),
    )
    for member, value in refused:
        with pytest.raises(NotEmulated, match=member):
            cloud.start(**{member: value})
    with pytest.raises(NotEmulated, match="SendPipelineExecutionStepSuccess"):
        cloud.call("SendPipelineExecutionStepSuccess", {"CallbackToken": "a" * 10})
    with pytest.raises(ValidationError, match="RoleArn cannot be given"):
        cloud.start(RoleArn=ROLE)


def test_what_is_not_there_is_said(cloud: FakeCloud) -> None:
    missing = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/line/execution/none"
    for operation in (
        "DescribePipelineExecution",
        "ListPipelineExecutionSteps",
        "ListPipelineParametersForExecution",
        "DescribePipelineDefinitionForExecution",
        "UpdatePipelineExecution",
    ):
        with pytest.raises(ResourceNotFound, match=missing):
            cloud.call(operation, {"PipelineExecutionArn": missing})
    with pytest.raises(ResourceNotFound, match="pipeline/line"):
        cloud.start()


def test_a_step_adds_little_to_what_its_job_takes(cloud: FakeCloud) -> None:
    names = [f"S{number}" for number in range(10)]
    chained = zip(names, [None, *names], strict=False)
    cloud.create(document(*(training(name, DependsOn=[before] if before else []) for name, before in chained)))

    def seconds_a_step() -> float:
        started = time.monotonic()
        execution = cloud.run()
        took = time.monotonic() - started
        assert cloud.describe(execution)["PipelineExecutionStatus"] == "Succeeded"
        return took / len(names)

    assert fastest(seconds_a_step, bound=0.5) < 0.5
