"""What the builders write: the JSON that SageMaker runs, and what becomes of CDK tokens in it."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk.assertions import Template
from sagestack.pipeline import (
    BooleanParameter,
    CacheConfig,
    ConditionStep,
    Equals,
    ExecutionVariables,
    FailStep,
    FloatParameter,
    In,
    IntegerParameter,
    Join,
    JsonGet,
    LessThan,
    Not,
    Or,
    PipelineDefinition,
    PipelineError,
    RetryOn,
    RetryPolicy,
    StringParameter,
    Value,
    channel,
    hyperparameters,
)

from tests.housing_pipeline import HousingPipeline

Json = dict[str, Any]


@pytest.fixture(scope="module")
def definition() -> Json:
    return cast(Json, HousingPipeline().definition().to_dict())


def step(definition: Json, name: str) -> Json:
    top: list[Json] = definition["Steps"]
    branches = [s for c in top if c["Type"] == "Condition" for b in ("IfSteps", "ElseSteps") for s in c["Arguments"][b]]
    return next(s for s in top + branches if s["Name"] == name)


def test_the_frame_is_that_of_the_schema_version(definition: Json) -> None:
    assert definition["Version"] == "2020-12-01"
    assert [s["Name"] for s in definition["Steps"]] == ["Preprocess", "Train", "Evaluate", "CheckQuality"]
    assert [s["Type"] for s in definition["Steps"]] == ["Processing", "Training", "Processing", "Condition"]


def test_each_parameter_says_its_type_its_default_and_its_allowed_values(definition: Json) -> None:
    assert definition["Parameters"][1:] == [
        {"Name": "QualityThreshold", "Type": "Float", "DefaultValue": 4.0},
        {
            "Name": "ModelApprovalStatus",
            "Type": "String",
            "DefaultValue": "PendingManualApproval",
            "EnumValues": ["PendingManualApproval", "Approved", "Rejected"],
        },
    ]
    assert IntegerParameter("Depth", 0).declaration() == {"Name": "Depth", "Type": "Integer", "DefaultValue": 0}
    assert BooleanParameter("Fast", False).declaration() == {"Name": "Fast", "Type": "Boolean", "DefaultValue": False}
    assert StringParameter("Needed").declaration() == {"Name": "Needed", "Type": "String"}


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (StringParameter("P"), {"Get": "Parameters.P"}),
        (ExecutionVariables.PIPELINE_EXECUTION_ID, {"Get": "Execution.PipelineExecutionId"}),
        (
            Join(["a", IntegerParameter("P"), 1], on="/"),
            {"Std:Join": {"On": "/", "Values": ["a", {"Get": "Parameters.P"}, 1]}},
        ),
        (FloatParameter("P").to_string(), {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.P"}]}}),
        (HousingPipeline().train.model_artifacts, {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}),
        (
            HousingPipeline().preprocess.output("train"),
            {"Get": "Steps.Preprocess.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"},
        ),
        (
            HousingPipeline().train.properties.InputDataConfig[0].DataSource.S3DataSource.S3Uri,
            {"Get": "Steps.Train.InputDataConfig[0].DataSource.S3DataSource.S3Uri"},
        ),
        (HousingPipeline().train.properties.HyperParameters["eta"], {"Get": "Steps.Train.HyperParameters['eta']"}),
        (HousingPipeline().register.properties.ModelPackageArn, {"Get": "Steps.Register.ModelPackageArn"}),
        (HousingPipeline().check.properties.Outcome, {"Get": "Steps.CheckQuality.Outcome"}),
        (
            HousingPipeline().rmse,
            {
                "Std:JsonGet": {
                    "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Evaluation"},
                    "Path": "regression_metrics.rmse.value",
                }
            },
        ),
    ],
)
def test_a_value_is_written_in_the_syntax_of_pipelines(value: Value, json_value: Json) -> None:
    assert value.to_request() == json_value


def test_the_output_of_a_step_is_its_s3_uri_in_long_form() -> None:
    preprocess = HousingPipeline().preprocess
    long = preprocess.properties.ProcessingOutputConfig.Outputs["test"].S3Output.S3Uri
    assert preprocess.output("test").to_request() == long.to_request()


def test_conditions_are_written_in_the_syntax_of_pipelines() -> None:
    status = StringParameter("Status")
    both = Or([Not(Equals(status, "a")), In(status, ["b", "c"])])
    assert both.to_request() == {
        "Type": "Or",
        "Conditions": [
            {
                "Type": "Not",
                "Condition": {"Type": "Equals", "LeftValue": {"Get": "Parameters.Status"}, "RightValue": "a"},
            },
            {"Type": "In", "QueryValue": {"Get": "Parameters.Status"}, "Values": ["b", "c"]},
        ],
    }


def test_cache_retries_property_files_and_order_are_members_of_the_step(definition: Json) -> None:
    assert step(definition, "Preprocess")["CacheConfig"] == {"Enabled": True, "ExpireAfter": "P30D"}
    assert step(definition, "Train")["RetryPolicies"] == [
        {
            "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR"],
            "IntervalSeconds": 30,
            "BackoffRate": 2.0,
            "MaxAttempts": 3,
        }
    ]
    assert step(definition, "Register")["RetryPolicies"][0]["ExpireAfterMin"] == 10
    assert step(definition, "Evaluate")["PropertyFiles"] == [
        {"PropertyFileName": "Evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    ]
    pipeline = HousingPipeline()
    last = FailStep("Last", error_message="so it ends", depends_on=[pipeline.check, "Train"])
    made = PipelineDefinition(
        parameters=[pipeline.input_data, pipeline.threshold, pipeline.approval],
        steps=[pipeline.preprocess, pipeline.train, pipeline.evaluate, pipeline.check, last],
    )
    assert step(cast(Json, made.to_dict()), "Last")["DependsOn"] == ["CheckQuality", "Train"]


def test_branches_hold_whole_steps(definition: Json) -> None:
    check = step(definition, "CheckQuality")["Arguments"]
    assert [(s["Name"], s["Type"]) for s in check["IfSteps"]] == [("Register", "RegisterModel")]
    assert [(s["Name"], s["Type"]) for s in check["ElseSteps"]] == [("QualityMissed", "Fail")]
    assert check["ElseSteps"][0]["Arguments"]["ErrorMessage"]["Std:Join"]["Values"][1].keys() == {"Std:JsonGet"}


def test_members_that_are_none_are_left_out() -> None:
    pipeline = HousingPipeline()
    cast(Json, pipeline.train.arguments)["VpcConfig"] = None
    assert "VpcConfig" not in step(cast(Json, pipeline.definition().to_dict()), "Train")["Arguments"]


def test_hyperparameters_become_text_as_json_writes_them() -> None:
    depth = IntegerParameter("Depth", 5)
    assert hyperparameters({"a": 5, "b": 0.2, "c": True, "d": "text"}) == {
        "a": "5",
        "b": "0.2",
        "c": "true",
        "d": "text",
    }
    assert cast(Value, hyperparameters({"depth": depth})["depth"]).to_request() == depth.to_string().to_request()


def test_a_channel_names_a_content_type_only_where_one_is_given() -> None:
    assert "ContentType" not in channel("train", "s3://bucket/train")
    assert channel("train", "s3://bucket/train", content_type="text/csv")["ContentType"] == "text/csv"


def test_two_compilations_are_equal_byte_for_byte() -> None:
    program = "from tests.housing_pipeline import HousingPipeline; print(HousingPipeline().definition().to_json())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert json.loads(runs[0])["Version"] == "2020-12-01"


def test_what_to_dict_returns_is_the_callers_own() -> None:
    made = HousingPipeline().definition()
    before = made.to_json()
    cast(Json, made.to_dict())["Steps"].clear()
    assert made.to_json() == before


def test_the_builders_import_no_cdk() -> None:
    program = "import sys, sagestack.pipeline; sys.exit('aws_cdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- refused where it is written ---------------------------------------------------------------------


def test_a_property_that_the_service_does_not_return_is_refused_where_it_is_written() -> None:
    train = HousingPipeline().train
    with pytest.raises(PipelineError) as caught:
        _ = train.properties.ModelArtifacts.S3ModelArtifact
    assert str(caught.value) == (
        "Step \"Train\": properties.ModelArtifacts has no member 'S3ModelArtifact' (ModelArtifacts); "
        "did you mean 'S3ModelArtifacts'?"
    )


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda p: p.train.properties.ModelArtifacts["x"], "is a structure: name one of its members with a dot"),
        (lambda p: p.train.properties.HyperParameters.eta, "is a map: give a key in brackets"),
        (lambda p: p.train.properties.InputDataConfig.train, "is a list: give an index in brackets"),
        (lambda p: p.train.properties.InputDataConfig[-1], "SageMaker counts from 0 upwards"),
        (lambda p: p.train.properties.SecondaryStatusTransitions["x"], "whose items have no name"),
        (lambda p: p.train.properties.RoleArn.Name, "is a string and has no members"),
        (lambda p: p.check.properties.Result, "has no member 'Result'"),
        (lambda p: p.missed.properties, "a Fail step ends the execution and has no properties"),
        (
            lambda p: JsonGet(p.evaluate, "Evaluations", "a.b"),
            "has no property file 'Evaluations'; it has 'Evaluation'",
        ),
        (lambda p: JsonGet(p.preprocess, "Evaluation", "a.b"), "it has none: give it property_files"),
    ],
)
def test_a_wrong_path_is_refused_where_it_is_written(write: Any, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        write(HousingPipeline())
    assert said in str(caught.value)


def test_a_value_cannot_be_formatted_into_text_by_accident() -> None:
    with pytest.raises(PipelineError, match=r"StringParameter\(name='Bucket'.*put it into a Join"):
        _ = f"s3://{StringParameter('Bucket')}/x"
    with pytest.raises(PipelineError, match="put it into a Join"):
        str(HousingPipeline().train.model_artifacts)


# --- CDK tokens ---------------------------------------------------------------------------------------


class Deployed(cdk.Stack):
    def __init__(self) -> None:
        super().__init__(cdk.App(), "Deployed")
        bucket = s3.Bucket(self, "Bucket")
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        count = cdk.CfnParameter(self, "Count", type="Number").value_as_number
        subnets = cdk.CfnParameter(self, "Subnets", type="CommaDelimitedList").value_as_list
        pipeline = HousingPipeline(bucket=bucket.bucket_name, role=role.role_arn)
        arguments = cast(Json, pipeline.train.arguments)
        arguments["ResourceConfig"]["InstanceCount"] = count
        arguments["VpcConfig"] = {"Subnets": subnets, "SecurityGroupIds": ["sg-1"]}
        self.definition = pipeline.definition()
        sagemaker.CfnPipeline(
            self,
            "Pipeline",
            pipeline_name="housing",
            role_arn=role.role_arn,
            pipeline_definition={"PipelineDefinitionBody": self.definition.to_json(self)},
        )


def fill_in(body: Any, values: dict[str, str]) -> str:
    """What CloudFormation makes of the body."""
    if isinstance(body, str):
        return body
    if "Ref" in body:
        return next(value for name, value in values.items() if body["Ref"].startswith(name))
    if "Fn::GetAtt" in body:
        return next(value for name, value in values.items() if body["Fn::GetAtt"][0].startswith(name))
    if "Fn::Join" in body:
        glue, parts = body["Fn::Join"]
        return cast(str, glue).join([fill_in(part, values) for part in parts])
    raise AssertionError(f"no value for {body}")


def test_cdk_tokens_arrive_in_the_template_as_what_cloudformation_fills_in() -> None:
    stack = Deployed()
    template = Template.from_stack(stack)
    (pipeline,) = template.find_resources("AWS::SageMaker::Pipeline").values()
    body = pipeline["Properties"]["PipelineDefinition"]["PipelineDefinitionBody"]
    assert "Fn::Join" in body
    assert "Token[" not in json.dumps(body)

    values = {
        "Bucket": "the-bucket",
        "Role": "arn:aws:iam::000000000000:role/it",
        "Count": "3",
        # A list has no text form in CloudFormation: the CDK adds a custom resource that writes one.
        "CdkJsonStringify": '["subnet-1","subnet-2"]',
    }
    deployed = json.loads(fill_in(body, values))
    train = step(deployed, "Train")["Arguments"]
    assert train["RoleArn"] == "arn:aws:iam::000000000000:role/it"
    assert train["ResourceConfig"]["InstanceCount"] == 3
    assert train["VpcConfig"]["Subnets"] == ["subnet-1", "subnet-2"]
    expected = HousingPipeline(bucket="the-bucket", role="arn:aws:iam::000000000000:role/it").definition().to_dict()
    for changed in ("ResourceConfig", "VpcConfig"):
        train.pop(changed)
        step(cast(Json, expected), "Train")["Arguments"].pop(changed, None)
    assert deployed == expected


def test_without_a_stack_tokens_are_refused_rather_than_written() -> None:
    with pytest.raises(PipelineError, match="only a stack can resolve"):
        Deployed().definition.to_json()


def test_a_string_token_where_a_number_belongs_is_refused() -> None:
    pipeline = HousingPipeline()
    cast(Json, pipeline.train.arguments)["ResourceConfig"]["InstanceCount"] = cdk.Token.as_string({"Ref": "Count"})
    with pytest.raises(PipelineError, match=r"InstanceCount: .* takes an integer \(use cdk.Token.as_number\)"):
        pipeline.definition()


def test_a_token_object_that_is_no_text_yet_is_refused() -> None:
    pipeline = HousingPipeline()
    cast(Json, pipeline.train.arguments)["RoleArn"] = cdk.Fn.get_att("Role", "Arn")
    with pytest.raises(PipelineError, match=r'Step "Train": Arguments.RoleArn: .*wrap it in cdk.Token.as_string'):
        pipeline.definition()


def test_the_smallest_pipeline_has_one_step_and_no_parameter() -> None:
    made = PipelineDefinition(steps=[FailStep("Stop", error_message="always")])
    assert made.to_dict()["Parameters"] == []


def test_a_condition_may_stand_before_jobs_and_compare_parameters_of_any_type() -> None:
    flag, text, number = BooleanParameter("Flag", True), StringParameter("Text", "a"), IntegerParameter("Number", 1)
    check = ConditionStep(
        "Check",
        conditions=[Equals(flag, True), In(text, ["a", "b"]), LessThan(number, 2.5), Or([Not(Equals(number, 3))])],
        else_steps=[FailStep("Stop", error_message=Join(["Number was ", number]))],
    )
    PipelineDefinition(parameters=[flag, text, number], steps=[check])


def test_a_retry_may_say_never_and_may_leave_the_end_to_sagemaker() -> None:
    never = RetryPolicy([RetryOn.SERVICE_FAULT], max_attempts=0)
    assert never.to_request()["MaxAttempts"] == 0
    by_default = RetryPolicy([RetryOn.THROTTLING]).to_request()
    assert by_default.keys() == {"ExceptionType", "IntervalSeconds", "BackoffRate"}


@pytest.mark.parametrize("duration", ["P30D", "p30d", "30d", "T16m", "30dT5h", "P1Y2M3W4DT5H6M", "PT12H"])
def test_every_documented_way_to_write_a_cache_duration_is_taken(duration: str) -> None:
    pipeline = HousingPipeline()
    pipeline.train.cache = CacheConfig(duration)
    pipeline.definition()


# --- the reference page ---------------------------------------------------------------------------------

PAGE = (Path(__file__).parent.parent / "docs" / "reference" / "pipeline-builders.md").read_text()
EXAMPLE = PAGE.split("```python\n")[1].split("sagemaker.CfnPipeline")[0]


def run_example(program: str) -> Json:
    names: Json = {
        "image_uri": "an-image",
        "bucket": SimpleNamespace(bucket_name="a-bucket"),
        "role": SimpleNamespace(role_arn="arn:aws:iam::000000000000:role/mine"),
    }
    exec(program, names)
    return cast(Json, names["definition"].to_dict())


def test_the_example_of_the_reference_page_works() -> None:
    assert [s["Name"] for s in run_example(EXAMPLE)["Steps"]] == ["Preprocess", "Train"]


def test_the_error_on_the_reference_page_is_what_one_sees() -> None:
    spoiled = (
        EXAMPLE.replace('hyperparameters({"max_depth": depth, "eta": 0.2})', '{"max_depth": depth}')
        .replace('"ResourceConfig": {"InstanceCount": 1', '"ResourceConfig": {"InstanceCount": "1"')
        .replace("parameters=[depth]", 'parameters=[depth, IntegerParameter("Eta")]')
    )
    with pytest.raises(PipelineError) as caught:
        run_example(spoiled)
    assert f"sagestack.pipeline.errors.PipelineError: {caught.value}" in PAGE
