"""What is refused at synth, and what the person who made the mistake reads."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from botocore.model import Shape, StructureShape
from botocore.validate import ParamValidator
from sagestack.pipeline import (
    BooleanParameter,
    CacheConfig,
    ConditionStep,
    Equals,
    ExecutionVariables,
    FailStep,
    FloatParameter,
    GreaterThan,
    In,
    IntegerParameter,
    Join,
    Or,
    PipelineDefinition,
    PipelineError,
    ProcessingStep,
    PropertyFile,
    RetryOn,
    RetryPolicy,
    StringParameter,
    TrainingStep,
    model,
)
from sagestack.pipeline.checks import find_mistakes
from sagestack.pipeline.shapes import constraint_mistake, is_reference, python_pattern

from tests.housing_pipeline import HousingPipeline

Json = dict[str, Any]
Spoil = Callable[[HousingPipeline], None]


def mistakes_of(spoil: Spoil) -> list[str]:
    pipeline = HousingPipeline()
    spoil(pipeline)
    try:
        pipeline.definition()
    except PipelineError as error:
        return error.mistakes
    return []


def put(step: str, path: str, value: object) -> Spoil:
    """Sets one member of a step's arguments: `put("train", "ResourceConfig.InstanceCount", "1")`."""

    def spoil(pipeline: HousingPipeline) -> None:
        place = getattr(pipeline, step).arguments
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            place = place[part]
        place[last] = value

    return spoil


def drop(step: str, path: str) -> Spoil:
    return put(step, path, None)


def change(**members: object) -> Spoil:
    """Sets attributes of steps: `change(train__retry=[...])`."""

    def spoil(pipeline: HousingPipeline) -> None:
        for member, value in members.items():
            step, attribute = member.split("__")
            setattr(getattr(pipeline, step), attribute, value)

    return spoil


def declare(**parameters: object) -> Spoil:
    """Replaces parameters of the pipeline; the steps go on using the old objects, which have the same names."""

    def spoil(pipeline: HousingPipeline) -> None:
        for name, parameter in parameters.items():
            setattr(pipeline, name, parameter)

    return spoil


def test_the_pipeline_that_the_cases_spoil_is_right() -> None:
    assert mistakes_of(lambda pipeline: None) == []


# --- arguments against the API's shapes ---------------------------------------------------------------

ARGUMENTS: list[tuple[Spoil, str]] = [
    (
        put("train", "ResourceConfig.InstanceCount", "1"),
        "Step \"Train\": Arguments.ResourceConfig.InstanceCount: '1' is a string, CreateTrainingJob takes an integer",
    ),
    (
        put("train", "ResourceConfig.InstanceCount", True),
        'Step "Train": Arguments.ResourceConfig.InstanceCount: True is a boolean, CreateTrainingJob takes an integer',
    ),
    (
        put("train", "HyperParameters.max_depth", 5),
        'Step "Train": Arguments.HyperParameters.max_depth: 5 is an integer, CreateTrainingJob takes a string (write it as text)',
    ),
    (
        put("train", "ResourceConfig.InstancesCount", 1),
        'Step "Train": Arguments.ResourceConfig.InstancesCount: ResourceConfig of CreateTrainingJob has no such member (value 1)'
        "; did you mean 'InstanceCount'?",
    ),
    (
        drop("evaluate", "AppSpecification.ImageUri"),
        'Step "Evaluate": Arguments.AppSpecification.ImageUri is missing: CreateProcessingJob requires it in AppSpecification',
    ),
    (
        drop("train", "OutputDataConfig"),
        'Step "Train": Arguments.OutputDataConfig is missing: CreateTrainingJob requires it in CreateTrainingJobRequest',
    ),
    (
        put("train", "AlgorithmSpecification.TrainingInputMode", "Files"),
        "Step \"Train\": Arguments.AlgorithmSpecification.TrainingInputMode: 'Files' is not a TrainingInputMode"
        "; did you mean 'File'?; allowed: Pipe, File, FastFile",
    ),
    (
        put("preprocess", "ProcessingResources.ClusterConfig.InstanceType", "ml.m5.larg"),
        "did you mean 'ml.m5.large'?; allowed: ",
    ),
    (
        put("preprocess", "StoppingCondition.MaxRuntimeInSeconds", 0),
        'Step "Preprocess": Arguments.StoppingCondition.MaxRuntimeInSeconds: 0 is below the minimum of 1',
    ),
    (
        put("preprocess", "ProcessingResources.ClusterConfig.VolumeSizeInGB", 20000),
        "20000 is above the maximum of 16384",
    ),
    (
        put("train", "RoleArn", "SageMakerRole"),
        "Step \"Train\": Arguments.RoleArn: 'SageMakerRole' has 13 characters, which is below the minimum of 20",
    ),
    (
        put("train", "RoleArn", "arn:aws:iam::12:role/a-role-of-mine"),
        "Step \"Train\": Arguments.RoleArn: 'arn:aws:iam::12:role/a-role-of-mine' does not match the pattern of RoleArn: arn:aws",
    ),
    (
        put("preprocess", "AppSpecification.ContainerArguments", "preprocess"),
        "Step \"Preprocess\": Arguments.AppSpecification.ContainerArguments: 'preprocess' is a string, "
        "CreateProcessingJob takes a list (put it in a list)",
    ),
    (
        put("preprocess", "AppSpecification.ContainerArguments", []),
        "has 0 items, CreateProcessingJob wants at least 1",
    ),
    (
        put("train", "VpcConfig", {"Subnets": ["subnet-1"] * 17, "SecurityGroupIds": ["sg-1"]}),
        "has 17 items, CreateTrainingJob takes at most 16",
    ),
    (
        put("preprocess", "Environment", {"not a name": "1"}),
        "Arguments.Environment: the key 'not a name': 'not a name' does not match the pattern of ProcessingEnvironmentKey",
    ),
    (
        put("register", "ModelPackageDescription", "null \0 character"),
        "does not match the pattern of EntityDescription",
    ),
    (
        lambda p: put("train", "InputDataConfig", [cast(Json, p.train.arguments)["InputDataConfig"][0]] * 2)(p),
        "Step \"Train\": Arguments.InputDataConfig: ChannelName 'train' is given 2 times",
    ),
    (put("train", "RoleArn", 5), "5 is an integer, CreateTrainingJob takes a string"),
    (put("train", "HyperParameters", ["a"]), "['a'] is a list, CreateTrainingJob takes a map"),
    (put("train", "ResourceConfig", "ml.m5.large"), "'ml.m5.large' is a string, CreateTrainingJob takes a structure"),
    (put("train", "HyperParameters.at", object()), "is an object, which JSON cannot hold"),
    (put("train", "HyperParameters.at", float("nan")), "nan is no JSON number"),
    (put("train", "HyperParameters", {1: "a"}), "the key 1 is an int; JSON keys are strings"),
]

NOT_IN_A_STEP: list[tuple[Spoil, str]] = [
    (
        put("train", "TrainingJobName", "mine"),
        "Step \"Train\": Arguments.TrainingJobName: 'mine' does not belong in a step: Pipelines names the job",
    ),
    (put("preprocess", "ProcessingJobName", "mine"), "does not belong in a step: Pipelines names the job"),
    (put("register", "ModelPackageName", "mine"), "a fixed name can be registered only once"),
    (put("register", "ClientToken", "mine"), "a fixed token would make every execution return the first one's package"),
    (put("register", "CertifyForMarketplace", False), "the pipelines service refuses it"),
    (drop("register", "ModelPackageGroupName"), "Arguments.ModelPackageGroupName is missing: say which group"),
    (
        put("train", "ExperimentConfig", {"ExperimentName": "mine", "TrialComponentDisplayName": "fine"}),
        "Arguments.ExperimentConfig.ExperimentName: 'mine' does not belong in a step",
    ),
]

REFERENCES: list[tuple[Spoil, str]] = [
    (
        put("train", "RoleArn", StringParameter("Rol")),
        "Step \"Train\": Arguments.RoleArn: there is no parameter 'Rol' in the pipeline; "
        "it has: InputDataUri, QualityThreshold, ModelApprovalStatus",
    ),
    (
        put("train", "ResourceConfig.InstanceCount", StringParameter("InputDataUri")),
        "{'Get': 'Parameters.InputDataUri'} is a String, but an Integer is wanted here",
    ),
    (
        put("train", "ResourceConfig.InstanceCount", FloatParameter("QualityThreshold")),
        "{'Get': 'Parameters.QualityThreshold'} is a Float, but an Integer is wanted here",
    ),
    (
        put("train", "HyperParameters.eta", FloatParameter("QualityThreshold")),
        "{'Get': 'Parameters.QualityThreshold'} is a Float, but a String is wanted here; use .to_string()",
    ),
    (
        put("train", "EnableNetworkIsolation", Join(["true"])),
        "is a String, but a Boolean is wanted here",
    ),
    (
        put("train", "VpcConfig", {"Subnets": StringParameter("InputDataUri"), "SecurityGroupIds": ["sg-1"]}),
        "Arguments.VpcConfig.Subnets: {'Get': 'Parameters.InputDataUri'} stands for one value, but a list is wanted here",
    ),
    (
        put("train", "ResourceConfig", StringParameter("InputDataUri")),
        "stands for one value, but a structure is wanted here",
    ),
    (
        put("train", "RoleArn", {"Get": "Steps.Trian.RoleArn"}),
        "there is no step 'Trian' in the pipeline; did you mean 'Train'?",
    ),
    (
        put("train", "RoleArn", {"Get": "Steps.Preprocess.Role"}),
        "Steps.Preprocess has no member 'Role' (DescribeProcessingJob",
    ),
    (put("train", "RoleArn", {"Get": "Steps.Preprocess.AppSpecification"}), "is a structure, not a single value"),
    (put("train", "RoleArn", {"Get": "Steps.Preprocess"}), "is a structure, not a single value"),
    (put("train", "RoleArn", {"Get": "Steps.Preprocess.RoleArn[x]"}), "cannot be read from '[x]' on"),
    (put("train", "RoleArn", {"Get": "Steps.QualityMissed.ErrorMessage"}), "which nothing may refer to"),
    (put("train", "RoleArn", {"Get": "Parameter.X"}), "starts with none of Parameters., Execution., Steps."),
    (put("train", "RoleArn", {"Get": 5}), "Get takes the name of a value, not 5"),
    (
        put("train", "RoleArn", {"Get": "Execution.Id"}),
        "there is no execution variable 'Id'; there are: CurrentDateTime",
    ),
    (
        put("preprocess", "Environment", {"JOB": ExecutionVariables.TRAINING_JOB_NAME}),
        "Execution.TrainingJobName has no meaning in a Processing step",
    ),
    (
        lambda p: put("train", "InputDataConfig.0.DataSource.S3DataSource.S3Uri", p.preprocess.output("training"))(p),
        "Outputs has no 'training' in the step's arguments; there is: train, validation, test",
    ),
    (
        put("evaluate", "Environment", {"A": {"Get": "Steps.Train.InputDataConfig[7].ChannelName"}}),
        "InputDataConfig has 2 items in the step's arguments, so there is no [7]",
    ),
    (
        put("train", "RoleArn", {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Evaluate"}, "Path": "a"}}),
        """PropertyFile must be {"Get": "Steps.<step>.PropertyFiles.<name>"}, not {'Get': 'Steps.Evaluate'}""",
    ),
    (put("train", "RoleArn", {"Std:Join": {"On": "/"}}), "Std:Join takes On and Values"),
    (put("train", "RoleArn", Join([])), "Std:Join of nothing: Values is empty"),
    (put("train", "RoleArn", Join(["a"], on=cast(str, 5))), "Std:Join takes a string On and a list of Values"),
    (put("train", "RoleArn", Join([cast(str, ["a"])])), "Std:Join joins single values, not ['a']"),
    (put("train", "RoleArn", {"Std:JsonGet": {"S3Uri": "s3://a/b"}}), "Std:JsonGet takes PropertyFile and Path"),
]

PROPERTY_FILES: list[tuple[Spoil, str]] = [
    (lambda p: setattr(p.rmse, "path", ""), "'' is no path into a JSON file; write for example metrics.rmse.value"),
    (lambda p: setattr(p.rmse, "path", "a..b"), "'a..b' is no path into a JSON file"),
    (
        lambda p: setattr(p.rmse, "property_file", "Other"),
        "step 'Evaluate' has no property file 'Other'; it has: Evaluation",
    ),
    (
        lambda p: setattr(p.rmse, "step", "Train"),
        "step 'Train' is a Training step; only Processing steps have property files",
    ),
    (lambda p: setattr(p.rmse, "step", "Nobody"), "there is no step 'Nobody' in the pipeline"),
    (
        change(evaluate__property_files=[PropertyFile("Evaluation", "report", "evaluation.json")]),
        "Step \"Evaluate\": PropertyFiles[0].OutputName: the step has no output 'report'; its outputs: 'evaluation'",
    ),
    (
        change(evaluate__property_files=[PropertyFile("Evaluation", "evaluation", "/evaluation.json")]),
        "PropertyFiles[0].FilePath: '/evaluation.json' must be a path below the output's prefix",
    ),
    (
        change(evaluate__property_files=[PropertyFile("Evaluation", "evaluation", "a.json")] * 2),
        'Property file "Evaluation": 2 property files have this name',
    ),
    (
        change(evaluate__property_files=[PropertyFile("The evaluation", "evaluation", "a.json")]),
        "PropertyFiles[0].PropertyFileName: 'The evaluation' must be 1 to 64 letters, digits, - or _",
    ),
]

PARAMETERS: list[tuple[Spoil, str]] = [
    (
        declare(threshold=FloatParameter("QualityThreshold", cast(float, "4"))),
        "Parameter \"QualityThreshold\": DefaultValue: '4' is a string, not a Float",
    ),
    (
        declare(approval=StringParameter("ModelApprovalStatus", "Maybe", enum_values=["Approved", "Rejected"])),
        "Parameter \"ModelApprovalStatus\": DefaultValue: 'Maybe' is not one of EnumValues: 'Approved', 'Rejected'",
    ),
    (
        declare(approval=StringParameter("ModelApprovalStatus", "Approved", enum_values=["Approved", "Refused"])),
        "Arguments.ModelApprovalStatus: parameter ModelApprovalStatus can hold what does not fit here: 'Refused' "
        "is not a ModelApprovalStatus",
    ),
    (
        declare(input_data=StringParameter("InputDataUri", "housing.csv")),
        "parameter InputDataUri can hold what does not fit here: 'housing.csv' does not match the pattern of S3Uri",
    ),
    (
        declare(approval=StringParameter("Approval", "Approved")),
        'Parameter "Approval" is used by no step: whoever sets it would change nothing; use it or remove it',
    ),
    (declare(approval=StringParameter("a b", "x")), "Parameter \"a b\": Name: 'a b' does not match the pattern"),
    (declare(approval=StringParameter("", "x")), 'Parameter "": Name: the name is empty'),
    (declare(approval=StringParameter("a" * 65, "x")), "Name: 65 characters, SageMaker takes at most 64"),
    (
        declare(approval=StringParameter("InputDataUri", "s3://a/b")),
        'Parameter "InputDataUri": 2 parameters have this name',
    ),
    (
        declare(approval=StringParameter("ModelApprovalStatus", enum_values=[str(n) for n in range(17)])),
        "EnumValues: 17 values, SageMaker takes at most 16",
    ),
    (
        declare(input_data=StringParameter("InputDataUri", "s3://" + "a" * 2048)),
        'Parameter "InputDataUri": DefaultValue: 2,053 characters, SageMaker takes at most 2,048',
    ),
]

POLICIES: list[tuple[Spoil, str]] = [
    (
        change(train__cache=CacheConfig("30 days")),
        "Step \"Train\": CacheConfig.ExpireAfter: '30 days' is no ISO 8601 duration",
    ),
    (change(train__cache=CacheConfig("")), "CacheConfig.ExpireAfter: '' is no ISO 8601 duration"),
    (change(train__cache=CacheConfig("P")), "CacheConfig.ExpireAfter: 'P' is no ISO 8601 duration"),
    (change(train__cache=CacheConfig("P1DT")), "CacheConfig.ExpireAfter: 'P1DT' is no ISO 8601 duration"),
    (
        change(register__retry=[RetryPolicy([RetryOn.CAPACITY_ERROR], max_attempts=1)]),
        "Step \"Register\": RetryPolicies[0].ExceptionType: 'SageMaker.CAPACITY_ERROR' cannot be retried in a RegisterModel "
        "step; allowed: Step.SERVICE_FAULT, Step.THROTTLING",
    ),
    (
        change(train__retry=[RetryPolicy([cast(RetryOn, "SageMaker.JOB_CAPACITY_ERROR")])]),
        "'SageMaker.JOB_CAPACITY_ERROR' cannot be retried in a Training step; did you mean 'SageMaker.CAPACITY_ERROR'?",
    ),
    (change(train__retry=[RetryPolicy([])]), "RetryPolicies[0].ExceptionType is empty"),
    (
        change(train__retry=[RetryPolicy([RetryOn.THROTTLING], max_attempts=1, expire_after_minutes=1)]),
        'Step "Train": RetryPolicies[0]: give MaxAttempts or ExpireAfterMin, not both',
    ),
    (
        change(train__retry=[RetryPolicy([RetryOn.THROTTLING], max_attempts=21)]),
        "RetryPolicies[0].MaxAttempts: 21 must be a whole number from 0 to 20",
    ),
    (
        change(train__retry=[RetryPolicy([RetryOn.THROTTLING], expire_after_minutes=14401)]),
        "RetryPolicies[0].ExpireAfterMin: 14401 must be a whole number from 0 to 14400",
    ),
    (
        change(train__retry=[RetryPolicy([RetryOn.THROTTLING], interval_seconds=43201)]),
        "RetryPolicies[0].IntervalSeconds: 43201 must be a whole number from 0 to 43200",
    ),
    (
        change(train__retry=[RetryPolicy([RetryOn.THROTTLING], backoff_rate=-1)]),
        "RetryPolicies[0].BackoffRate: -1 must be a number of at least 0",
    ),
]

CONDITIONS: list[tuple[Spoil, str]] = [
    (change(check__conditions=[]), 'Step "CheckQuality": Arguments.Conditions is empty'),
    (change(check__if_steps=[], check__else_steps=[]), "neither branch has a step, so the condition decides nothing"),
    (
        lambda p: setattr(p.check, "else_steps", [p.register]),
        'Step "Register": 2 steps have this name; names are unique',
    ),
    (
        lambda p: setattr(
            p.check, "else_steps", [ConditionStep("Inner", conditions=p.check.conditions, if_steps=[p.missed])]
        ),
        'Step "Inner": a condition step cannot stand in a branch of another one ("CheckQuality")',
    ),
    (
        lambda p: setattr(p.check, "conditions", [GreaterThan(p.threshold, cast(float, "4"))]),
        "Step \"CheckQuality\": Arguments.Conditions[0].RightValue: '4' is a String, but it is compared with a Float",
    ),
    (
        lambda p: setattr(p.check, "conditions", [GreaterThan(p.approval, "A")]),
        "Arguments.Conditions[0].LeftValue: {'Get': 'Parameters.ModelApprovalStatus'} is a String, GreaterThan compares numbers",
    ),
    (
        lambda p: setattr(p.check, "conditions", [In(p.approval, ["Approved", 1])]),
        "Arguments.Conditions[0].Values[1]: 1 is an Integer, but it is compared with a String",
    ),
    (lambda p: setattr(p.check, "conditions", [In(p.approval, [])]), "Values is empty, so the condition never holds"),
    (change(check__conditions=[Or([])]), "Arguments.Conditions[0].Conditions is empty"),
    (
        lambda p: setattr(p.check, "conditions", [Equals(p.approval, cast(str, ["A"]))]),
        "RightValue: ['A'] is a list; conditions compare single values",
    ),
    (
        lambda p: setattr(p.check, "conditions", [Equals(StringParameter("Nobody"), "A")]),
        "Arguments.Conditions[0].LeftValue: there is no parameter 'Nobody'",
    ),
    (
        lambda p: setattr(p.check, "conditions", [p.check.conditions[0]] * 201),
        "Arguments.Conditions: 201 conditions, SageMaker takes at most 200",
    ),
    (
        lambda p: setattr(p.check, "conditions", [Or([Equals(p.approval, "Approved")] * 201)]),
        "Arguments.Conditions[0].Conditions: 201 conditions, SageMaker takes at most 200",
    ),
    (
        lambda p: setattr(p.missed, "error_message", Join([p.rmse] * 200)),
        "Steps: 201 Std:JsonGet functions, SageMaker takes at most 200",
    ),
    (
        lambda p: setattr(p.check, "else_steps", [FailStep(f"F{n}", error_message="x") for n in range(21)]),
        "Arguments.ElseSteps: 21 steps, SageMaker takes at most 20",
    ),
    (
        change(missed__error_message=FloatParameter("QualityThreshold")),
        "{'Get': 'Parameters.QualityThreshold'} is a Float, but a String is wanted",
    ),
    (change(missed__error_message="x" * 3073), "has 3073 characters, which is above the maximum of 3072"),
]

ORDER: list[tuple[Spoil, str]] = [
    (change(train__name="Train it"), "Step \"Train it\": Name: 'Train it' does not match the pattern of StepName"),
    (change(train__name="a" * 65), "has 65 characters, which is above the maximum of 64"),
    (change(train__name=""), 'Step "": Name: the name is empty'),
    (change(train__name="Preprocess"), 'Step "Preprocess": 2 steps have this name'),
    (change(train__display_name="a" * 257), 'Step "Train": DisplayName: '),
    (change(train__depends_on=["Nobody"]), "Step \"Train\": DependsOn: there is no step 'Nobody' in the pipeline"),
    (
        change(train__depends_on=["QualityMissed"]),
        "Step \"Train\": DependsOn: 'QualityMissed' is a Fail step, which is always the last to run",
    ),
    (change(train__depends_on=["Train"]), "Steps: Train -> Train is a cycle"),
    (change(preprocess__depends_on=["Evaluate"]), "is a cycle: each would have to end before the next one starts"),
    (change(evaluate__depends_on=["Register"]), "is a cycle"),
    (change(check__depends_on=["Register"]), "is a cycle"),
    (put("preprocess", "Environment", {"A": {"Get": "Steps.Train.TrainingJobArn"}}), "is a cycle"),
    (
        lambda p: setattr(
            p.check, "else_steps", [FailStep("Stop", error_message=p.register.properties.ModelPackageArn)]
        ),
        'Step "Stop" needs "Register", which stands in the other branch of "CheckQuality": only one of them ever runs',
    ),
]

EVERYTHING = ARGUMENTS + NOT_IN_A_STEP + REFERENCES + PROPERTY_FILES + PARAMETERS + POLICIES + CONDITIONS + ORDER


@pytest.mark.parametrize(("spoil", "said"), EVERYTHING, ids=[said[:70] for _, said in EVERYTHING])
def test_a_mistake_is_refused_with_its_place_and_its_value(spoil: Spoil, said: str) -> None:
    found = mistakes_of(spoil)
    assert any(said in mistake for mistake in found), "\n".join(found) or "nothing was refused"


@pytest.mark.parametrize(
    ("spoil", "said"), ARGUMENTS + NOT_IN_A_STEP, ids=[said[:70] for _, said in ARGUMENTS + NOT_IN_A_STEP]
)
def test_one_wrong_argument_is_one_line(spoil: Spoil, said: str) -> None:
    assert len(mistakes_of(spoil)) == 1


def test_all_mistakes_are_in_one_error_one_per_line() -> None:
    pipeline = HousingPipeline()
    put("train", "ResourceConfig.InstanceCount", "1")(pipeline)
    put("evaluate", "RoleArn", None)(pipeline)
    pipeline.check.depends_on = ["Nobody"]
    with pytest.raises(PipelineError) as caught:
        pipeline.definition()
    assert isinstance(caught.value, ValueError)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The pipeline definition has 3 mistakes:"
    assert [line.split('"')[1] for line in lines[1:]] == ["Train", "Evaluate", "CheckQuality"]
    assert len(caught.value.mistakes) == 3


def test_a_pipeline_has_steps_but_not_too_many() -> None:
    with pytest.raises(PipelineError, match="Steps: the pipeline has none"):
        PipelineDefinition(steps=[])
    with pytest.raises(PipelineError, match="Steps: 51 steps, SageMaker takes at most 50"):
        PipelineDefinition(steps=[FailStep(f"F{n}", error_message="x") for n in range(51)])


def test_a_pipeline_has_not_too_many_parameters() -> None:
    flags = [BooleanParameter(f"P{n}") for n in range(201)]
    stop = FailStep("Stop", error_message=Join(flags))
    with pytest.raises(PipelineError, match="Parameters: 201 parameters, SageMaker takes at most 200"):
        PipelineDefinition(parameters=flags, steps=[stop])


def test_a_pipeline_has_not_too_many_property_files() -> None:
    pipeline = HousingPipeline()
    pipeline.evaluate.property_files = [PropertyFile("Evaluation", "evaluation", "evaluation.json")] + [
        PropertyFile(f"P{n}", "evaluation", f"{n}.json") for n in range(10)
    ]
    with pytest.raises(PipelineError, match="Steps: 11 property files, SageMaker takes at most 10"):
        pipeline.definition()


def test_a_definition_is_not_longer_than_the_service_takes() -> None:
    pipeline = HousingPipeline()
    cast(Json, pipeline.train.arguments)["HyperParameters"] = {f"h{n}": "x" * 2500 for n in range(100)}
    steps = [TrainingStep(f"T{n}", arguments=pipeline.train.arguments) for n in range(5)]
    with pytest.raises(
        PipelineError, match=r"The definition: 1,\d{3},\d{3} characters, SageMaker takes at most 1,048,576"
    ):
        PipelineDefinition(parameters=[pipeline.input_data], steps=[pipeline.preprocess, *steps])


def test_an_integer_parameter_fills_an_integer_and_a_float_place_and_text_only_through_to_string() -> None:
    count = IntegerParameter("Count", 2)
    pipeline = HousingPipeline()
    arguments = cast(Json, pipeline.train.arguments)
    arguments["ResourceConfig"]["InstanceCount"] = count
    arguments["HyperParameters"]["count"] = count.to_string()
    PipelineDefinition(
        parameters=[count, pipeline.input_data, pipeline.threshold, pipeline.approval],
        steps=[pipeline.preprocess, pipeline.train, pipeline.evaluate, pipeline.check],
    )


def test_a_default_out_of_the_bounds_of_its_place_is_refused() -> None:
    size = IntegerParameter("Size", 20000)
    arguments = cast(Json, copy.deepcopy(HousingPipeline().preprocess.arguments))
    arguments["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] = size
    arguments["ProcessingInputs"][0]["S3Input"]["S3Uri"] = "s3://bucket/data"
    with pytest.raises(
        PipelineError,
        match=r"VolumeSizeInGB: parameter Size can hold what does not fit here: 20000 is above the maximum of 16384",
    ):
        PipelineDefinition(parameters=[size], steps=[ProcessingStep("Preprocess", arguments=arguments)])


# --- against botocore ---------------------------------------------------------------------------------


def test_every_pattern_of_the_api_can_be_checked() -> None:
    shapes = [model.shape(name) for name in model.service_model().shape_names]
    patterns = {shape.metadata["pattern"] for shape in shapes if "pattern" in shape.metadata}
    assert len(patterns) > 200
    for pattern in patterns:
        re.compile(python_pattern(pattern, "Ärger 1: 雪 & a-b_c"))


@pytest.mark.parametrize(
    ("shape", "value", "fits"),
    [
        ("EntityDescription", "Größe: 5 m², 雪", True),
        ("EntityDescription", "bell \a", False),
        ("TagKey", "sagestack:Modell/Größe", True),
        ("TagKey", "what?", False),
        ("AthenaQueryString", "select '😀'", True),
        ("StepName", "Train-1_a", True),
        ("StepName", "Train.1", False),
    ],
)
def test_patterns_mean_what_they_mean_in_java(shape: str, value: str, fits: bool) -> None:
    assert (constraint_mistake(model.shape(shape), value) is None) == fits


WRONG_VALUES: tuple[object, ...] = ("text", 7, 1.5, True, [], ["text"], {}, {"Unknown": 1})


def places(value: object, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place inside `value`; references are places, too, but nothing inside them is."""
    if way:
        yield way
    if isinstance(value, dict) and not is_reference(value):
        for key, member in value.items():
            yield from places(member, (*way, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*way, index))


def resolved(value: object) -> object:
    """As the service sees it: a value instead of each reference. In these steps, all of them stand for text."""
    if is_reference(value):
        return "PendingManualApproval" if "Approval" in str(value) else "s3://bucket/resolved"
    if isinstance(value, dict):
        return {key: resolved(member) for key, member in value.items()}
    return [resolved(item) for item in value] if isinstance(value, list) else value


def botocore_refuses(step: Json) -> bool:
    kind = model.STEP_KINDS[step["Type"]]
    shape: Shape = model.shape(kind.request)
    given_by_pipelines = {
        name: "generated" for name in kind.left_out if name in cast(StructureShape, shape).required_members
    }
    request = cast(Json, resolved(step["Arguments"])) | given_by_pipelines
    return bool(ParamValidator().validate(request, shape).has_errors())


@pytest.mark.parametrize("name", ["Preprocess", "Train", "Evaluate", "Register"])
def test_whatever_botocore_refuses_is_refused(name: str) -> None:
    """Puts eight wrong values into, and removes, every place of a step's arguments."""
    definition = cast(Json, HousingPipeline().definition().to_dict())

    def find(whole: Json) -> Json:
        return next(s for s in [*whole["Steps"], *whole["Steps"][-1]["Arguments"]["IfSteps"]] if s["Name"] == name)

    assert not botocore_refuses(find(definition))
    refused = 0
    for way in list(places(find(definition)["Arguments"])):
        for wrong in (*WRONG_VALUES, None):
            spoiled = copy.deepcopy(definition)
            place: Any = find(spoiled)["Arguments"]
            for part in way[:-1]:
                place = place[part]
            if wrong is None:
                del place[way[-1]]
            else:
                place[way[-1]] = wrong
            if botocore_refuses(find(spoiled)):
                refused += 1
                assert find_mistakes(spoiled), f"{way} = {wrong!r} is refused by botocore, not here"
    assert refused > 100
