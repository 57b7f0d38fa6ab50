"""A pipeline definition is refused before it runs, in words that name the step; what is accepted resolves as SageMaker does."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.pipelines import retry_policy
from local_cloud.sagemaker.pipelines.pipeline_definition import cache_duration_s, parse
from local_cloud.sagemaker.pipelines.pipeline_shapes import fit, request_shape
from local_cloud.sagemaker.pipelines.pipeline_values import (
    ValueProblem,
    condition_values,
    holds,
    look_up,
    parse_json_path,
    parse_path,
    resolve,
)
from local_cloud.sagemaker.pipelines.step_types import ELSEWHERE, TRAINING
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


class KnownValues:
    """A scope in which everything is known."""

    def parameter(self, name: str) -> Any:
        return {"Depth": 5, "Eta": 0.2, "Name": "housing", "Verbose": True}[name]

    def execution(self, name: str) -> Any:
        return {"PipelineExecutionId": "abc123"}[name]

    def step_output(self, step: str) -> Any:
        return {
            "TrainingJobName": "job",
            "ProcessingOutputConfig": {
                "Outputs": [
                    {"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}},
                    {"OutputName": "test", "S3Output": {"S3Uri": "s3://b/test"}},
                ]
            },
            "FinalMetricDataList": [{"MetricName": "validation:rmse", "Value": 3.5}],
        }

    def property_file(self, step: str, name: str) -> Any:
        return {"regression_metrics": {"rmse": {"value": 2.5}, "odd key": [1, 2]}}

    def json_object(self, uri: str) -> Any:
        return {"uri": uri}


SCOPE = KnownValues()


def refusal(*steps: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        parse(document(*steps, **more))
    assert caught.value.message.startswith("Unable to parse pipeline definition. ")
    return caught.value.message


def test_every_kind_of_step_is_read() -> None:
    rmse = json_get("Evaluate", "Report", "rmse")
    definition = parse(
        document(
            processing("Prepare", CacheConfig={"Enabled": True, "ExpireAfter": "P1DT2H"}, DisplayName="Prepare it"),
            training("Train", DependsOn=["Prepare"], RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"]}]),
            processing("Evaluate", Description="How good is it?"),
            condition(
                "Check",
                at_most(rmse, get("Parameters.Threshold")),
                then=[register("Register", "group", get("Steps.Train.ModelArtifacts.S3ModelArtifacts"))],
                otherwise=[fail("Missed", join("RMSE ", rmse))],
            ),
            parameters=[{"Name": "Threshold", "Type": "Float", "DefaultValue": 4}],
        )
    )
    steps = definition.steps
    assert list(steps) == ["Prepare", "Train", "Evaluate", "Check", "Register", "Missed"]
    assert steps["Train"].depends_on == {"Prepare"}
    assert steps["Check"].depends_on == {"Evaluate"}
    assert (steps["Register"].branch, steps["Missed"].branch) == (("Check", True), ("Check", False))
    assert steps["Register"].depends_on == {"Check", "Train"}
    assert steps["Missed"].depends_on == {"Check", "Evaluate"}
    assert steps["Prepare"].reuse_s == 26 * 3600
    assert steps["Prepare"].display_name == "Prepare it"
    assert steps["Train"].retry_policies[0].exception_types == ("Step.THROTTLING",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "It is not JSON"),
        ("[]", "It is not a JSON object"),
        ('{"Version": "2020-12-01"}', "Steps must be a list"),
        ('{"Version": "2019-01-01", "Steps": []}', "Version must be '2020-12-01', got '2019-01-01'"),
        ('{"Version": "2020-12-01", "Stepz": []}', "Unexpected attribute 'Stepz'"),
    ],
)
def test_a_broken_frame_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValidationError, match="Unable to parse pipeline definition") as caught:
        parse(text)
    assert says in caught.value.message


def test_a_name_twice_is_refused_also_inside_a_condition() -> None:
    check = condition("Check", at_most(1, 2), then=[training("Train")])
    assert "'Train' is there twice" in refusal(training("Train"), check)


@pytest.mark.parametrize("step_type", ELSEWHERE)
def test_a_step_type_that_is_not_emulated_is_refused_by_name(step_type: str) -> None:
    with pytest.raises(NotEmulated) as caught:
        parse(document({"Name": "Other", "Type": step_type, "Arguments": {}}))
    assert f"type {step_type} (step 'Other')" in caught.value.message


def test_an_unknown_step_type_is_refused() -> None:
    assert "unknown Type 'Trainig'" in refusal({"Name": "Train", "Type": "Trainig", "Arguments": {}})


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("Parameters.Depht", "no parameter 'Depht'; it has: Depth"),
        ("Execution.PipelineId", "the execution variables are"),
        ("Steps.Prepar.ProcessingJobArn", "no step 'Prepar'"),
        ("Steps.Prepare.ProcessingJobAm", "has no 'ProcessingJobAm'"),
        ("Steps.Prepare.ProcessingOutputConfig.Outputs['rapport'].S3Output.S3Uri", "'rapport'; there is: report"),
        ("Steps.Prepare.ProcessingJobArn.Deeper", "has no members"),
        ("Steps.Prepare", "is no reference"),
        ("Stages.Prepare.X", "is no reference"),
        ("Parameters", "is no reference"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(reference: str, says: str) -> None:
    message = refusal(
        processing("Prepare"),
        training("Train", Arguments={"HyperParameters": {"depth": get(reference)}}),
        parameters=[{"Name": "Depth", "Type": "Integer"}],
    )
    assert says in message
    assert "Step 'Train'" in message


def test_a_property_file_must_be_there_and_in_an_output() -> None:
    prepare = processing("Prepare")
    check = condition("Check", at_most(json_get("Prepare", "Raport", "rmse"), 4), then=[training("Train")])
    assert "no such property file; it has: Report" in refusal(prepare, check)
    prepare["PropertyFiles"][0]["OutputName"] = "reports"
    assert "in output 'reports', which the step has not; it has: report" in refusal(prepare)


def test_a_step_that_depends_on_nothing_known_is_refused() -> None:
    assert "depends on step 'Prepare', which the pipeline has not" in refusal(training("Train", DependsOn=["Prepare"]))


def test_a_circle_is_refused_and_shown() -> None:
    message = refusal(training("A", DependsOn=["B"]), training("B", DependsOn=["C"]), training("C", DependsOn=["A"]))
    shown = message.partition("in a circle: ")[2].rstrip(".").split(" -> ")
    assert set(itertools.pairwise(shown)) == {("A", "B"), ("B", "C"), ("C", "A")}


def test_a_circle_through_a_reference_is_refused() -> None:
    message = refusal(
        training("A", Arguments={"HyperParameters": {"x": get("Steps.B.TrainingJobName")}}),
        training("B", DependsOn=["A"]),
    )
    assert "in a circle" in message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"AlgoritmSpecification": {}}, "'AlgoritmSpecification' is no argument of CreateTrainingJob"),
        ({"ResourceConfig": {"InstanceSize": "big"}}, "'ResourceConfig.InstanceSize' is not known"),
        (
            {"AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "Files"}},
            "Value 'Files' for 'AlgorithmSpecification.TrainingInputMode' failed to satisfy enum value set: [Pipe, File",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "i"}},
            "'AlgorithmSpecification.TrainingInputMode' must not be null",
        ),
        ({"HyperParameters": ["max_depth"]}, "for 'HyperParameters' must be an object"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": "an hour"}}, "must be a number"),
    ],
)
def test_arguments_that_do_not_fit_the_call_are_refused(arguments: dict[str, Any], says: str) -> None:
    message = refusal(training("Train", Arguments=arguments))
    assert says in message
    assert "(step 'Train')" in message


def test_a_missing_argument_is_refused() -> None:
    step = training("Train")
    del step["Arguments"]["RoleArn"]
    assert "'RoleArn' is missing in the arguments for CreateTrainingJob" in refusal(step)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"Retries": 3}, "unexpected attribute 'Retries'"),
        ({"CacheConfig": {"Enabled": True, "ExpireAfter": "a month"}}, "must be an ISO 8601 duration such as P30D"),
        ({"CacheConfig": {"Enabled": True}}, "must be an ISO 8601 duration"),
        ({"CacheConfig": {"Enabled": "yes"}}, "Enabled must be true or false"),
        ({"RetryPolicies": [{"ExceptionType": ["Everything"]}]}, "ExceptionType must list some of"),
        (
            {"RetryPolicies": [{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 21}]},
            "MaxAttempts must be a number between 0 and 20, got 21",
        ),
        (
            {"RetryPolicies": [{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 1, "ExpireAfterMin": 1}]},
            "MaxAttempts or ExpireAfterMin, not both",
        ),
    ],
)
def test_a_malformed_member_of_a_step_is_refused(more: dict[str, Any], says: str) -> None:
    assert says in refusal(training("Train", **more))


def test_what_a_step_type_cannot_have_is_refused() -> None:
    policies = [{"ExceptionType": ["Step.THROTTLING"]}]
    assert "which has no RetryPolicies" in refusal(fail("Missed", "x", RetryPolicies=policies))
    cache = {"Enabled": True, "ExpireAfter": "P1D"}
    assert "which cannot be cached" in refusal(register("Register", "group", "s3://b/m.tar.gz", CacheConfig=cache))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"Type": "Equal", "LeftValue": 1, "RightValue": 1}, "must be one of Equals,"),
        ({"Type": "Equals", "LeftValue": 1}, "of type Equals needs RightValue"),
        ({"Type": "In", "QueryValue": 1, "Values": 1}, "are a list"),
        ({"Type": "Not"}, "of type Not needs Condition"),
        ({"Type": "Or", "Conditions": []}, "of type Or needs Conditions"),
    ],
)
def test_a_malformed_condition_is_refused(bad: dict[str, Any], says: str) -> None:
    assert says in refusal(condition("Check", bad, then=[training("Train")]))


def test_a_run_condition_is_refused_by_name() -> None:
    step = training("Train", DependsOn=[{"Step": "Prepare", "Trigger": "Failed"}])
    with pytest.raises(NotEmulated, match="run conditions"):
        parse(document(processing("Prepare"), step))


PARAMETERS: list[dict[str, Any]] = [
    {"Name": "Depth", "Type": "Integer", "DefaultValue": 5},
    {"Name": "Eta", "Type": "Float", "DefaultValue": 1},
    {"Name": "Verbose", "Type": "Boolean", "DefaultValue": False},
    {"Name": "Approval", "Type": "String", "DefaultValue": "Pending", "EnumValues": ["Pending", "Approved"]},
    {"Name": "Data", "Type": "String"},
]


def values(**given: str) -> dict[str, Any]:
    definition = parse(document(training("Train"), parameters=PARAMETERS))
    return definition.parameter_values([{"Name": name, "Value": value} for name, value in given.items()])


def test_parameters_have_their_types_and_defaults() -> None:
    assert values(Data="s3://b", Depth="7", Eta="0.5", Verbose="True") == {
        "Depth": 7,
        "Eta": 0.5,
        "Verbose": True,
        "Approval": "Pending",
        "Data": "s3://b",
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"Data": "x", "Dept": "1"}, "no parameters [Dept]; it has: Depth, Eta, Verbose, Approval, Data"),
        ({"Data": "x", "Depth": "five"}, "'Depth' is of type Integer, got 'five'"),
        ({"Data": "x", "Eta": "x"}, "'Eta' is of type Float"),
        ({"Data": "x", "Verbose": "1"}, "'Verbose' is of type Boolean"),
        ({"Data": "x", "Approval": "Maybe"}, "'Approval' must be one of [Pending, Approved], got 'Maybe'"),
        ({}, "[Data] have no default value"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(given: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        values(**given)
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ({"Name": "A", "Type": "Number"}, "must have a Type of String, Integer, Float, Boolean"),
        ({"Name": "A", "Type": "Integer", "DefaultValue": "5"}, "is of type Integer, and '5' is not"),
        ({"Name": "A", "Type": "Integer", "DefaultValue": True}, "is of type Integer, and True is not"),
        ({"Name": "A", "Type": "String", "DefaultValue": "x", "EnumValues": ["y"]}, "not one of its EnumValues"),
        ({"Name": "A b", "Type": "String"}, "needs a Name"),
    ],
)
def test_a_malformed_parameter_is_refused(parameter: dict[str, Any], says: str) -> None:
    assert says in refusal(training("Train"), parameters=[parameter])


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        (get("Parameters.Depth"), 5),
        (get("Execution.PipelineExecutionId"), "abc123"),
        (get("Steps.Prepare.ProcessingOutputConfig.Outputs['test'].S3Output.S3Uri"), "s3://b/test"),
        (get("Steps.Prepare.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri"), "s3://b/train"),
        (get("Steps.Train.FinalMetricDataList['validation:rmse'].Value"), 3.5),
        (join("s3:/", get("Parameters.Name"), join("a", "b"), on="/"), "s3://housing/ab"),
        (join(get("Parameters.Depth"), get("Parameters.Eta"), get("Parameters.Verbose"), on=","), "5,0.2,true"),
        (json_get("Evaluate", "Report", "regression_metrics.rmse.value"), 2.5),
        (json_get("Evaluate", "Report", "$.regression_metrics['odd key'][1]"), 2),
        ({"Std:JsonGet": {"S3Uri": join("s3://b/", get("Parameters.Name")), "Path": "uri"}}, "s3://b/housing"),
        ({"a": [get("Parameters.Depth"), "x"], "b": None}, {"a": [5, "x"], "b": None}),
    ],
)
def test_values_resolve(value: Any, resolved: Any) -> None:
    assert resolve(value, SCOPE) == resolved


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(ValueProblem) as caught:
        resolve(json_get("Evaluate", "Report", "regression_metrics.mse.value"), SCOPE)
    assert str(caught.value) == (
        "property file 'Report' of step 'Evaluate' has no 'regression_metrics.mse'; there is: odd key, rmse"
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a.b", ["a", "b"]),
        ("a['b c'].d[0]", ["a", "b c", "d", 0]),
        ('a["b"]', ["a", "b"]),
        ("['a'].b", ["a", "b"]),
    ],
)
def test_paths(text: str, path: list[Any]) -> None:
    assert parse_path(text) == path
    assert parse_json_path(f"$.{text}") == path


@pytest.mark.parametrize("text", ["", "a..b", "a[", "a['b", "a[x]", "a.*", "a[?(@.b)]", "$"])
def test_broken_paths(text: str) -> None:
    with pytest.raises(ValueProblem):
        parse_json_path(text)


@pytest.mark.parametrize(
    ("kind", "left", "right", "expected"),
    [
        ("Equals", 1, 1.0, True),
        ("Equals", "a", "b", False),
        ("Equals", "2.5", 2.5, True),
        ("Equals", True, 1, False),
        ("Equals", "x", 1, False),
        ("GreaterThan", 2, 1, True),
        ("GreaterThan", "10", 9, True),
        ("GreaterThanOrEqualTo", 1, 1, True),
        ("LessThan", "a", "b", True),
        ("LessThanOrEqualTo", 4.1, 4.0, False),
    ],
)
def test_comparisons(kind: str, left: Any, right: Any, expected: bool) -> None:
    assert holds({"Type": kind, "LeftValue": left, "RightValue": right}, SCOPE) is expected


def test_conditions_combine() -> None:
    low, high = at_most(get("Parameters.Depth"), 4), at_most(get("Parameters.Depth"), 6)
    assert holds({"Type": "Or", "Conditions": [low, high]}, SCOPE)
    assert holds({"Type": "Not", "Condition": low}, SCOPE)
    assert not holds({"Type": "Not", "Expression": high}, SCOPE)
    assert holds({"Type": "In", "QueryValue": get("Parameters.Name"), "Values": ["x", "housing"]}, SCOPE)
    assert list(condition_values({"Type": "Not", "Condition": low})) == [get("Parameters.Depth"), 4]


@pytest.mark.parametrize(("left", "right"), [("a", 1), (True, 1), ({}, 1), (None, 1)])
def test_what_has_no_order_is_not_ordered(left: Any, right: Any) -> None:
    with pytest.raises(ValueProblem, match="cannot order"):
        holds({"Type": "LessThan", "LeftValue": left, "RightValue": right}, SCOPE)


def test_numbers_become_texts_where_the_call_wants_texts() -> None:
    request = {"HyperParameters": {"a": 5, "b": 0.2, "c": True}, "ResourceConfig": {"InstanceCount": 1.0}, "Tags": None}
    assert fit(request, request_shape(TRAINING)) == {
        "HyperParameters": {"a": "5", "b": "0.2", "c": "true"},
        "ResourceConfig": {"InstanceCount": 1},
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("P30D", 30 * 86_400),
        ("30d", 30 * 86_400),
        ("PT1H", 3_600),
        ("T16m", 960),
        ("P1M", 30 * 86_400),
        ("P1DT2H3M4S", 86_400 + 2 * 3_600 + 180 + 4),
        ("", None),
        ("P", None),
        ("30 days", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert cache_duration_s(text) == seconds


def test_look_up_says_when_a_value_has_no_members() -> None:
    with pytest.raises(ValueProblem, match=r"the thing has no 'a\.b'; there is: 1"):
        look_up({"a": 1}, ["a", "b"], "the thing")


def test_retries_wait_longer_each_time_and_end() -> None:
    (policy,) = retry_policy.parse(
        [{"ExceptionType": ["Step.THROTTLING"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 2}]
    )
    assert [policy.delay(retries, 0) for retries in range(3)] == [2, 6, None]
    (bounded,) = retry_policy.parse([{"ExceptionType": "SageMaker.CAPACITY_ERROR", "ExpireAfterMin": 1}])
    assert bounded.delay(10, 0) is None
    assert bounded.delay(3, 50) == 8
    assert bounded.delay(4, 50) is None


def test_failures_are_told_apart_for_retries() -> None:
    assert retry_policy.of_job_failure("InternalServerError: x") == "SageMaker.JOB_INTERNAL_ERROR"
    assert retry_policy.of_job_failure("CapacityError: x") == "SageMaker.CAPACITY_ERROR"
    assert retry_policy.of_job_failure("AlgorithmError: x") is None
    assert retry_policy.of_refused_call("ThrottlingException", 400) == "Step.THROTTLING"
    assert retry_policy.of_refused_call("ResourceLimitExceeded", 400) == "SageMaker.RESOURCE_LIMIT"
    assert retry_policy.of_refused_call("InternalFailure", 500) == "Step.SERVICE_FAULT"
    assert retry_policy.of_refused_call("AccessDeniedException", 400) is None
    assert retry_policy.of_refused_call("UnsupportedOperation", 501) is None


def test_only_service_faults_and_throttling_are_retried_unasked() -> None:
    assert retry_policy.covering((), "Step.SERVICE_FAULT") is retry_policy.AUTOMATIC
    assert retry_policy.covering((), "SageMaker.JOB_INTERNAL_ERROR") is None


def test_a_definition_of_the_builders_is_read() -> None:
    from tests.housing_pipeline import HousingPipeline

    definition = parse(HousingPipeline().definition().to_json())
    assert definition.steps["CheckQuality"].depends_on == {"Evaluate"}
    assert json.loads(HousingPipeline().definition().to_json())["Version"] == "2020-12-01"
