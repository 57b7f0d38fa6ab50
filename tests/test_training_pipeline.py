"""The pipeline takes a model from data to a registered version, and stops where the version is not good enough."""

import json
import re
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template
from sagestack.guardrails import findings, not_accepted
from sagestack.settings import Environment, PipelineSize, load_environment, load_model

from stacks import TrainingStack
from tests.synthesis import NETWORK, Templates, build, copy_project, pipeline_definition, served, synthesize

JOBS = ("Preprocess", "Train", "Evaluate")


@pytest.fixture(scope="module")
def definition(templates: Templates) -> dict[str, Any]:
    return pipeline_definition(templates)


def steps_of(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All steps by name, those of branches too."""
    found: dict[str, dict[str, Any]] = {}
    waiting = list(definition["Steps"])
    while waiting:
        step = waiting.pop(0)
        found[step["Name"]] = step
        waiting += step["Arguments"].get("IfSteps", []) + step["Arguments"].get("ElseSteps", [])
    return found


@pytest.fixture(scope="module")
def steps(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return steps_of(definition)


def test_the_steps_are_those_that_lead_to_a_version(steps: dict[str, dict[str, Any]]) -> None:
    assert {name: step["Type"] for name, step in steps.items()} == {
        "Preprocess": "Processing",
        "Train": "Training",
        "Evaluate": "Processing",
        "CheckQuality": "Condition",
        "Register": "RegisterModel",
        "QualityMissed": "Fail",
    }


def test_the_parameters_have_defaults_from_the_repository(definition: dict[str, Any], project: Path) -> None:
    parameters = {parameter["Name"]: parameter["DefaultValue"] for parameter in definition["Parameters"]}
    assert parameters["InputDataUri"].endswith("/housing/input/")
    assert parameters["QualityThreshold"] == load_model("housing", project).quality.threshold
    assert parameters["ModelApprovalStatus"] == "PendingManualApproval"


def test_a_model_that_misses_the_bar_is_not_registered_and_the_failure_says_by_how_much(
    steps: dict[str, dict[str, Any]],
) -> None:
    check = steps["CheckQuality"]["Arguments"]
    score = {
        "Std:JsonGet": {
            "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Evaluation"},
            "Path": "regression_metrics.rmse.value",
        }
    }
    threshold = {"Get": "Parameters.QualityThreshold"}
    assert check["Conditions"] == [{"Type": "LessThanOrEqualTo", "LeftValue": score, "RightValue": threshold}]
    assert [step["Name"] for step in check["IfSteps"]] == ["Register"]
    assert [step["Name"] for step in check["ElseSteps"]] == ["QualityMissed"]
    message = steps["QualityMissed"]["Arguments"]["ErrorMessage"]["Std:Join"]
    assert message["Values"] == [
        "Nothing was registered: regression_metrics.rmse.value is",
        score,
        "and must be at most",
        threshold,
    ]


def test_a_version_carries_what_it_scored(steps: dict[str, dict[str, Any]]) -> None:
    arguments = steps["Register"]["Arguments"]
    assert arguments["ModelPackageGroupName"] == "sagestack-dev-housing"
    assert arguments["ModelApprovalStatus"] == {"Get": "Parameters.ModelApprovalStatus"}
    assert (
        arguments["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]["Std:Join"]["Values"][-1] == "evaluation.json"
    )


def test_a_version_says_where_its_golden_records_are(steps: dict[str, dict[str, Any]]) -> None:
    (where,) = steps["Register"]["Arguments"]["CustomerMetadataProperties"].items()
    key, value = where
    assert key == "golden-records"
    assert value["Std:Join"]["Values"][-1] == "golden-records.json"


def test_another_description_of_the_model_does_not_replace_its_registry(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "project")
    file = root / "model_code" / "housing" / "model.yaml"

    def group() -> dict[str, Any]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        made = synthesize(build(root, load_environment("dev", root), out))
        return made.properties("AWS::SageMaker::ModelPackageGroup")

    before, text = group(), file.read_text()
    file.write_text(text.replace("description: ", "description: New. "))
    assert "New. " in file.read_text()
    assert group() == before


def test_every_run_writes_below_a_folder_of_its_own(steps: dict[str, dict[str, Any]]) -> None:
    uris = [
        output["S3Output"]["S3Uri"]
        for name in ("Preprocess", "Evaluate")
        for output in steps[name]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    ]
    uris.append(steps["Train"]["Arguments"]["OutputDataConfig"]["S3OutputPath"])
    assert len(uris) == 5
    for uri in uris:
        assert {"Get": "Execution.PipelineExecutionId"} in uri["Std:Join"]["Values"]


def test_what_jobs_write_is_encrypted_on_disk_and_in_the_bucket(steps: dict[str, dict[str, Any]]) -> None:
    for name in ("Preprocess", "Evaluate"):
        assert "Key" in steps[name]["Arguments"]["ProcessingOutputConfig"]["KmsKeyId"]
        assert "Key" in steps[name]["Arguments"]["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"]
    assert "Key" in steps["Train"]["Arguments"]["OutputDataConfig"]["KmsKeyId"]
    assert "Key" in steps["Train"]["Arguments"]["ResourceConfig"]["VolumeKmsKeyId"]


def test_jobs_have_no_network_and_the_jobs_role(steps: dict[str, dict[str, Any]]) -> None:
    for name in JOBS:
        arguments = steps[name]["Arguments"]
        isolation = arguments if name == "Train" else arguments["NetworkConfig"]
        assert isolation["EnableNetworkIsolation"] is True
        assert "VpcConfig" not in isolation
        assert arguments["RoleArn"].startswith("<PipelineJobRole")


def test_nothing_is_cached_since_new_data_under_an_old_key_must_be_seen(steps: dict[str, dict[str, Any]]) -> None:
    assert not any("CacheConfig" in step for step in steps.values())


def test_a_lost_machine_is_tried_again_and_a_bad_script_is_not(steps: dict[str, dict[str, Any]]) -> None:
    for name in JOBS:
        lost, full = steps[name]["RetryPolicies"]
        assert "SageMaker.JOB_INTERNAL_ERROR" in lost["ExceptionType"]
        assert lost["MaxAttempts"] == 3
        # A zone without capacity is not full for seconds.
        assert full["ExceptionType"] == ["SageMaker.CAPACITY_ERROR"]
        assert full["IntervalSeconds"] * sum(full["BackoffRate"] ** n for n in range(full["MaxAttempts"])) >= 3600


def test_training_gets_the_models_hyperparameters(steps: dict[str, dict[str, Any]], project: Path) -> None:
    expected = load_model("housing", project).training.hyperparameter_texts
    assert steps["Train"]["Arguments"]["HyperParameters"] == expected


def test_the_jobs_of_a_network_run_in_it(project: Path, tmp_path: Path) -> None:
    environment = load_environment("dev", project).model_copy(update={"network": NETWORK})
    steps = steps_of(pipeline_definition(synthesize(build(project, environment, tmp_path))))
    config = {"Subnets": NETWORK.subnet_ids, "SecurityGroupIds": NETWORK.security_group_ids}
    assert steps["Train"]["Arguments"]["VpcConfig"] == config
    for name in ("Preprocess", "Evaluate"):
        assert steps[name]["Arguments"]["NetworkConfig"] == {"EnableNetworkIsolation": True, "VpcConfig": config}


def test_disks_that_encrypt_themselves_get_no_key(project: Path, tmp_path: Path) -> None:
    environment = load_environment("dev", project)
    size = environment.models["housing"].pipeline.model_copy(update={"training_instance_type": "ml.g5.xlarge"})
    steps = steps_of(pipeline_definition(synthesize(build(project, _with_pipeline(environment, size), tmp_path))))
    assert "VolumeKmsKeyId" not in steps["Train"]["Arguments"]["ResourceConfig"]
    assert "VolumeKmsKeyId" in steps["Preprocess"]["Arguments"]["ProcessingResources"]["ClusterConfig"]


def test_higher_is_better_where_the_model_says_so(tmp_path: Path, project: Path) -> None:
    root = copy_project(tmp_path / "project")
    file = root / "model_code" / "housing" / "model.yaml"
    text = file.read_text()
    line = next(line for line in text.splitlines() if line.startswith("quality:"))
    file.write_text(text.replace(line, "quality: {metric: regression_metrics.r2.value, at_least: 0.8}"))
    steps = steps_of(pipeline_definition(synthesize(build(root, load_environment("dev", root), tmp_path / "out"))))
    (condition,) = steps["CheckQuality"]["Arguments"]["Conditions"]
    assert condition["Type"] == "GreaterThanOrEqualTo"
    assert "and must be at least" in steps["QualityMissed"]["Arguments"]["ErrorMessage"]["Std:Join"]["Values"]


def test_who_may_start_it_may_start_this_one_alone(project: Path) -> None:
    app = build(project, load_environment("dev", project))
    training = app.node.find_child("sagestack-dev-housing-training")
    assert isinstance(training, TrainingStack)
    person = iam.User(cdk.Stack(app, "People"), "Person")
    training.pipeline.grant_start_execution(person)
    training.registry.grant_approve(person)
    template = Template.from_stack(cdk.Stack.of(person))
    for action in ("sagemaker:StartPipelineExecution", "sagemaker:UpdateModelPackage"):
        template.has_resource_properties(
            "AWS::IAM::Policy",
            {
                "PolicyDocument": {
                    "Statement": Match.array_with(
                        [
                            Match.object_like(
                                {
                                    "Action": Match.array_with([action]),
                                    "Resource": Match.array_with([Match.string_like_regexp("sagestack-dev-housing")]),
                                }
                            )
                        ]
                    )
                }
            },
        )


def test_its_metrics_are_those_that_sagemaker_publishes(project: Path) -> None:
    app = build(project, load_environment("dev", project))
    training = app.node.find_child("sagestack-dev-housing-training")
    assert isinstance(training, TrainingStack)
    pipeline = training.pipeline
    metrics = [
        pipeline.metric_execution_succeeded(),
        pipeline.metric_execution_failed(),
        pipeline.metric_execution_duration(),
    ]
    assert [metric.metric_name for metric in metrics] == ["ExecutionSucceeded", "ExecutionFailed", "ExecutionDuration"]
    for metric in metrics:
        assert metric.namespace == "AWS/Sagemaker/ModelBuildingPipeline"
        assert metric.dimensions == {"PipelineName": "sagestack-dev-housing"}


def _with_pipeline(environment: Environment, size: Any) -> Environment:
    models = {name: model.model_copy(update={"pipeline": size}) for name, model in environment.models.items()}
    return environment.model_copy(update={"models": models})


def dev_with(root: Path, **pipeline: Any) -> Environment:
    """dev, served, with another pipeline size."""
    environment = served(load_environment("dev", root))
    (name,) = environment.models
    model = environment.models[name]
    size = PipelineSize.model_validate({**model.pipeline.model_dump(), **pipeline})
    return environment.model_copy(update={"models": {name: model.model_copy(update={"pipeline": size})}})


def test_on_spot_capacity_a_run_has_checkpoints_of_its_own(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "project")
    app = build(root, dev_with(root, spot={"max_wait_in_seconds": 7200}))
    made = synthesize(app)
    assert not_accepted(findings(app)) == []
    train = steps_of(pipeline_definition(made))["Train"]["Arguments"]
    assert train["EnableManagedSpotTraining"] is True
    assert train["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert train["CheckpointConfig"]["S3Uri"]["Std:Join"]["Values"][1:] == [
        {"Get": "Execution.PipelineExecutionId"},
        "Checkpoints",
    ]
    (delete,) = [one for one in made.statements("PipelineJobRole") if one["Action"] == "s3:DeleteObject"]
    assert "/housing/*/Checkpoints/*" in str(delete["Resource"])


def test_without_spot_nothing_of_it_is_asked_for(steps: dict[str, dict[str, Any]]) -> None:
    train = steps["Train"]["Arguments"]
    assert not {"EnableManagedSpotTraining", "CheckpointConfig"} & set(train)
    assert train["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}


def test_several_hosts_share_the_rows(tmp_path: Path, steps: dict[str, dict[str, Any]]) -> None:
    def distribution(train: dict[str, Any]) -> set[str]:
        return {
            channel["DataSource"]["S3DataSource"]["S3DataDistributionType"]
            for channel in train["Arguments"]["InputDataConfig"]
        }

    assert distribution(steps["Train"]) == {"FullyReplicated"}
    root = copy_project(tmp_path / "project")
    environment = dev_with(root, training_instance_count=2)
    train = steps_of(pipeline_definition(synthesize(build(root, environment))))["Train"]
    assert train["Arguments"]["ResourceConfig"]["InstanceCount"] == 2
    assert distribution(train) == {"ShardedByS3Key"}


def test_a_graviton_endpoint_gets_an_image_for_arm_and_the_jobs_keep_theirs(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "project")
    environment = served(load_environment("dev", root))
    model = environment.models["housing"]
    arm = model.endpoint.model_copy(update={"instance_type": "ml.c7g.large"})
    environment = environment.model_copy(
        update={"models": {"housing": model.model_copy(update={"endpoint": arm})}},
    )
    made = synthesize(build(root, environment, tmp_path / "out"))
    steps = steps_of(pipeline_definition(made))
    jobs = {steps[name]["Arguments"]["AppSpecification"]["ImageUri"] for name in ("Preprocess", "Evaluate")}
    jobs.add(steps["Train"]["Arguments"]["AlgorithmSpecification"]["TrainingImage"])
    (registered,) = steps["Register"]["Arguments"]["InferenceSpecification"]["Containers"]
    assert len(jobs) == 1
    assert registered["Image"] not in jobs
    files = list((tmp_path / "out").glob("*training.assets.json"))
    images = json.loads(files[0].read_text())["dockerImages"]
    assert images[registered["Image"].rpartition(":")[2]]["source"]["platform"] == "linux/arm64"


def test_sagemaker_finds_the_metrics_of_each_round_in_the_log(steps: dict[str, dict[str, Any]]) -> None:
    definitions = steps["Train"]["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"]
    assert [definition["Name"] for definition in definitions] == ["train:rmse", "validation:rmse"]
    line = "[12] #011train-rmse:2.10000 #011validation-rmse:2.90000"
    found = [re.search(definition["Regex"], line) for definition in definitions]
    assert [match and match[1] for match in found] == ["2.10000", "2.90000"]
