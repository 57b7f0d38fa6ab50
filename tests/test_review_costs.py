"""What an environment costs: each line says how it was computed, what is idle apart from the load, what is unknown by name.

Totals are checked against published ones: `infracost`, the expected outputs of its tests (what the AWS Price List answered), and
AWS's own examples.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sagestack.review.assembly import Assembly, StackTemplate
from sagestack.review.costs import estimate, expected_load
from sagestack.review.costs.capacity import vcpus
from sagestack.review.costs.estimate import is_free
from sagestack.review.costs.hours import hours_between
from sagestack.review.costs.reading import UNKNOWN, Reading
from sagestack.review.prices import Prices, PriceTable, load_prices
from sagestack.review.results import CostEstimate, CostLine
from sagestack.settings import LOCAL_ACCOUNT, PROJECT_ROOT, SettingsError, load_environment
from sagestack.settings.load import Load, ModelLoad

from tests.endpoint_kinds import project_of_all_kinds
from tests.review_samples import STACK, assembly, synthesized

Resources = Mapping[str, Mapping[str, Any]]
PRICES = load_prices()
NOTHING = Load(
    requests_per_second=0,
    training_runs=0,
    notebook_hours=0,
    stored_gb=0,
    object_writes=0,
    object_reads=0,
    log_gb=0,
    network_gb=0,
    function_calls=0,
    image_gb=0,
)
"""What an environment costs at this load is what it costs idle."""


def cost(resources: Resources, load: Load = NOTHING, prices: Prices = PRICES, **parts: Any) -> CostEstimate:
    return estimate(assembly(resources, **parts), prices, load)


def the(lines: CostEstimate, what: str) -> CostLine:
    """The one line whose words begin so."""
    (line,) = [line for line in lines.lines if line.what.startswith(what)]
    return line


def cents(usd: float | None) -> float:
    assert usd is not None
    return round(usd, 2)


def endpoint(*variants: Mapping[str, Any], **config: Any) -> dict[str, dict[str, Any]]:
    """An endpoint with its config."""
    return {
        "Config": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "Properties": {"ProductionVariants": list(variants), **config},
        },
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {
                "EndpointName": "houses",
                "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
            },
        },
    }


def instances(instance_type: Any = "ml.m5.large", count: Any = 2, **more: Any) -> dict[str, Any]:
    return {
        "VariantName": "AllTraffic",
        "ModelName": "model",
        "InstanceType": instance_type,
        "InitialInstanceCount": count,
        "InitialVariantWeight": 1,
        **more,
    }


def scaled(
    least: int, most: int, *policies: Mapping[str, Any], variant: str = "AllTraffic", **target: Any
) -> Resources:
    """Application Auto Scaling on the variant."""
    resources: dict[str, Mapping[str, Any]] = {
        "Target": {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
            "Properties": {
                "ResourceId": f"endpoint/houses/variant/{variant}",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
                "MinCapacity": least,
                "MaxCapacity": most,
                **target,
            },
        }
    }
    for place, policy in enumerate(policies):
        resources[f"Policy{place}"] = {
            "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
            "Properties": {"PolicyType": "TargetTrackingScaling", "ScalingTargetId": {"Ref": "Target"}, **policy},
        }
    return resources


def tracking(value: float, metric: str = "SageMakerVariantInvocationsPerInstance", **more: Any) -> dict[str, Any]:
    return {
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": value,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            **more,
        }
    }


# --- Instances ---


def test_an_endpoint_costs_its_instances_all_month_and_says_how() -> None:
    found = cost(endpoint(instances()))
    line = the(found, "2 x ml.m5.large, real-time")
    assert (line.kind, line.how, line.resource.logical_id) == ("idle", "2 x $0.115 x 730 h", "Endpoint")
    assert line.usd_per_month == pytest.approx(167.90)
    assert found.idle == found.total == pytest.approx(167.90)


@pytest.mark.parametrize(
    ("variant", "usd"),
    [
        # infracost, sagemaker_endpoint_configuration_test: 1,460 hours 335.80; 730 hours 83.95 and 167.90.
        (instances("ml.m5.xlarge", 2), 335.80),
        (instances("ml.m5.large", 1), 83.95),
        (instances("ml.m5.xlarge", 1), 167.90),
    ],
    ids=["two-xlarge", "large", "xlarge"],
)
def test_instances_cost_what_others_publish(variant: Mapping[str, Any], usd: float) -> None:
    assert cents(cost(endpoint(variant)).idle) == usd


def test_the_prices_make_the_total_of_aws_s_own_example() -> None:
    # AWS's cost page of the Extension for Stable Diffusion on AWS: 1 ml.g5.2xlarge, 8 hours on 20 days, 240 GB of gp2: $276.00.
    table = PRICES.tables["us-east-1"].prices
    hours, storage = table["sagemaker.hosting.ml.g5.2xlarge"].usd, table["sagemaker.hosting.storage"].usd
    assert cents(8 * 20 * hours + 240 * storage) == 276.00


def test_each_variant_and_the_shadow_have_instances_of_their_own() -> None:
    found = cost(
        endpoint(
            instances(count=2),
            instances("ml.c5.xlarge", 1, VariantName="challenger"),
            ShadowProductionVariants=[instances(count=1, VariantName="shadow")],
        )
    )
    assert cents(the(found, "2 x ml.m5.large, real-time").usd_per_month) == 167.90
    assert cents(the(found, "1 x ml.c5.xlarge, real-time").usd_per_month) == 148.92
    assert cents(the(found, "1 x ml.m5.large, real-time, shadow").usd_per_month) == 83.95


def test_a_volume_whose_size_is_said_costs_by_the_gb_and_one_whose_size_is_not_is_unknown() -> None:
    said = cost(endpoint(instances(VolumeSizeInGB=50)))
    assert cents(the(said, "storage volumes of ml.m5.large").usd_per_month) == 14.00
    unsaid = cost(endpoint(instances()))
    assert [line.what for line in unsaid.unknown] == ["storage volumes of ml.m5.large, real-time"]
    assert "VolumeSizeInGB" in unsaid.unknown[0].how


def test_an_instance_with_disks_of_its_own_has_no_volume() -> None:
    assert [line.what for line in cost(endpoint(instances("ml.g5.2xlarge", 1))).lines] == [
        "1 x ml.g5.2xlarge, real-time"
    ]


def test_a_type_without_a_known_price_is_unknown_and_named() -> None:
    found = cost(endpoint(instances("ml.m7i.large", 1)))
    line = the(found, "1 x ml.m7i.large")
    assert line.usd_per_month is None
    assert "no price of sagemaker.hosting.ml.m7i.large in us-east-1" in line.how
    assert (found.total, line in found.unknown) == (0, True)


def test_an_endpoint_whose_config_is_elsewhere_is_unknown() -> None:
    resources = {
        "Endpoint": {"Type": "AWS::SageMaker::Endpoint", "Properties": {"EndpointConfigName": {"Fn::ImportValue": "x"}}}
    }
    assert cost(resources).unknown[0].how == "its endpoint config is not in the template"


@pytest.mark.parametrize(
    "variant",
    [instances(count={"Fn::ImportValue": "count"}), instances({"Ref": "TypeFromParameterStore"})],
    ids=["count", "type"],
)
def test_what_only_the_deployment_knows_is_unknown(variant: Mapping[str, Any]) -> None:
    parameters = {"TypeFromParameterStore": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/a/name"}}
    (line,) = cost(endpoint(variant), Parameters=parameters).lines
    assert (line.usd_per_month, "only the deployment knows" in line.how) == (None, True)


# --- Autoscaling ---


def test_a_scaled_endpoint_idles_at_its_least_and_grows_with_the_load() -> None:
    resources = {**endpoint(instances(count=4)), **scaled(2, 6, tracking(600))}
    idle = cost(resources)
    assert the(idle, "2 x ml.m5.large").how.startswith("2 x $0.115 x 730 h; the least of 2 to 6")
    busy = cost(resources, NOTHING.model_copy(update={"requests_per_second": 45.0}))
    line = the(busy, "more ml.m5.large")
    # 45 a second are 2,700 a minute, which need 5 instances of 600: three more.
    assert (line.kind, cents(line.usd_per_month)) == ("load", cents(3 * 0.115 * 730))
    assert "45 requests a second need 5 at 600 a minute each, (5 - 2) x 730 h" in line.how
    assert busy.idle == idle.idle


def test_it_grows_no_further_than_it_may() -> None:
    resources = {**endpoint(instances()), **scaled(2, 3, tracking(600))}
    busy = cost(resources, NOTHING.model_copy(update={"requests_per_second": 1000.0}))
    assert cents(the(busy, "more ml.m5.large").usd_per_month) == 83.95


def test_only_the_variants_own_share_of_the_requests_makes_it_grow() -> None:
    variants = (instances(InitialVariantWeight=9), instances(VariantName="b", InitialVariantWeight=1))
    resources = {**endpoint(*variants), **scaled(1, 9, tracking(60), variant="b")}
    busy = cost(resources, NOTHING.model_copy(update={"requests_per_second": 30.0}))
    assert "3 requests a second need 3" in the(busy, "more ml.m5.large").how


def test_a_target_that_counts_no_requests_tells_nothing_of_the_load() -> None:
    policy = tracking(70, "SageMakerVariantConcurrentRequestsPerModelHighResolution")
    resources = {**endpoint(instances()), **scaled(1, 9, policy)}
    busy = cost(resources, NOTHING.model_copy(update={"requests_per_second": 1000.0}))
    assert not [line for line in busy.lines if line.what.startswith("more")]


def test_a_schedule_is_said_and_not_counted() -> None:
    resources = {**endpoint(instances()), **scaled(2, 6, ScheduledActions=[{"Schedule": "cron(0 7 * * ? *)"}])}
    assert "scheduled actions set other bounds at times, which are not counted" in the(cost(resources), "2 x").how


def test_target_tracking_makes_two_alarms_of_its_own() -> None:
    resources = {**endpoint(instances()), **scaled(2, 6, tracking(600))}
    assert cents(the(cost(resources), "2 alarms that target tracking makes").usd_per_month) == 0.20


ASYNC = {"AsyncInferenceConfig": {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4}, "OutputConfig": {}}}


def test_an_asynchronous_endpoint_that_scales_to_zero_idles_for_nothing() -> None:
    backlog = {"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 5, "ScaleInCooldown": 600}}
    resources = {**endpoint(instances(count=1), **ASYNC), **scaled(0, 4, backlog)}
    idle = cost(resources)
    assert cents(idle.idle) == 0.20
    assert not [line for line in idle.lines if "ml.m5.large" in line.what]
    # 730 requests in a month, one an hour: each keeps an instance up for its own 6 s and the cooldown.
    hourly = cost(resources, NOTHING.model_copy(update={"requests_per_second": 1 / 3600, "request_seconds": 6.0}))
    line = the(hourly, "more ml.m5.large, asynchronous")
    assert line.usd_per_month == pytest.approx(730 * 606 / 3600 * 0.115)
    assert (
        "at the price of sagemaker.hosting.ml.m5.large: that of sagemaker.asynchronous.ml.m5.large is not known"
        in line.how
    )


def test_an_asynchronous_endpoint_under_steady_load_never_sleeps() -> None:
    resources = {**endpoint(instances(count=1), **ASYNC), **scaled(0, 4)}
    busy = cost(resources, NOTHING.model_copy(update={"requests_per_second": 10.0, "request_seconds": 1.0}))
    # 10 at the same time, 4 an instance.
    assert cents(the(busy, "more ml.m5.large").usd_per_month) == cents(3 * 730 * 0.115)


def test_inference_components_share_instances_by_their_cpu() -> None:
    variant = {
        "VariantName": "AllTraffic",
        "InstanceType": "ml.m5.xlarge",
        "InitialInstanceCount": 1,
        "ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 3},
    }
    component = {
        "Type": "AWS::SageMaker::InferenceComponent",
        "Properties": {
            "InferenceComponentName": "houses-copies",
            "EndpointName": "houses",
            "Specification": {"ComputeResourceRequirements": {"NumberOfCpuCoresRequired": 1}},
            "RuntimeConfig": {"CopyCount": 2},
        },
    }
    target = scaled(
        2,
        8,
        tracking(60, "SageMakerInferenceComponentInvocationsPerCopy"),
        ResourceId="inference-component/houses-copies",
        ScalableDimension="sagemaker:inference-component:DesiredCopyCount",
    )
    resources = {**endpoint(variant), "Copies": component, **target}
    assert cents(the(cost(resources), "1 x ml.m5.xlarge").usd_per_month) == 167.90
    busy = cost(resources, NOTHING.model_copy(update={"requests_per_second": 6.0}))
    line = the(busy, "more ml.m5.xlarge")
    assert "6 copies need 2 by their CPU" in line.how
    assert cents(line.usd_per_month) == 167.90


@pytest.mark.parametrize(
    ("instance_type", "count"),
    [("ml.m5.large", 2), ("ml.g4dn.xlarge", 4), ("ml.c5.9xlarge", 36), ("ml.m5.metal", None)],
)
def test_the_size_says_the_vcpus(instance_type: str, count: int | None) -> None:
    assert vcpus(instance_type) == count


# --- Serverless, data ---


def serverless(memory: int = 2048, **config: Any) -> dict[str, Any]:
    return {
        "VariantName": "AllTraffic",
        "ServerlessConfig": {"MemorySizeInMB": memory, "MaxConcurrency": 20, **config},
        "InitialVariantWeight": 1,
    }


def test_a_serverless_endpoint_costs_the_seconds_that_it_works_and_idles_for_nothing() -> None:
    assert cost(endpoint(serverless())).lines == ()
    # infracost: 500,000 seconds at 2 GB are $20.00.
    load = NOTHING.model_copy(update={"requests_per_second": 1_000_000 / (730 * 3600), "request_seconds": 0.5})
    busy = cost(endpoint(serverless()), load)
    assert cents(the(busy, "requests to 2 GB, serverless").usd_per_month) == 20.00
    assert busy.idle == 0


def test_what_is_kept_warm_is_idle_and_its_price_is_not_known_yet() -> None:
    found = cost(
        endpoint(serverless(ProvisionedConcurrency=2)), NOTHING.model_copy(update={"requests_per_second": 1.0})
    )
    warm, requests = the(found, "2 x 2 GB kept warm"), the(found, "requests to 2 GB, serverless, on what is kept warm")
    assert (warm.kind, warm.usd_per_month, requests.usd_per_month) == ("idle", None, None)
    assert "2 x ? x 730 h x 3600 s" in warm.how


def test_data_goes_in_and_out_and_is_captured_at_the_stated_load() -> None:
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 50,
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    }
    # 10 GB in and 10 GB out; infracost: 20 GB of processed data are $0.32.
    load = NOTHING.model_copy(
        update={"requests_per_second": 1024 * 1024 / (730 * 3600), "request_kb": 10.0, "answer_kb": 10.0}
    )
    found = cost(endpoint(instances(), DataCaptureConfig=capture), load)
    assert cents(the(found, "data in and out").usd_per_month) == 0.32
    assert the(found, "captured data").usd_per_month == pytest.approx(10 * 0.023)
    capture["EnableCapture"] = False
    off = cost(endpoint(instances(), DataCaptureConfig=capture), load)
    assert not [line for line in off.lines if line.what.startswith("captured")]


# --- Pipelines ---


def pipeline(*steps: Mapping[str, Any], parameters: Any = ()) -> dict[str, dict[str, Any]]:
    body = json.dumps({"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps)})
    start, _, rest = body.partition("PLACE")
    joined = {"Fn::Join": ["", [start, {"Fn::ImportValue": "bucket"}, rest]]} if rest else body
    return {
        "Pipeline": {
            "Type": "AWS::SageMaker::Pipeline",
            "Properties": {"PipelineDefinition": {"PipelineDefinitionBody": joined}},
        }
    }


def training(seconds: Any = 3600, instance_type: Any = "ml.m5.large", count: Any = 1, **more: Any) -> dict[str, Any]:
    return {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": count, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
            "OutputDataConfig": {"S3OutputPath": "s3://PLACE/"},
            **more,
        },
    }


RUNS = NOTHING.model_copy(update={"training_runs": 10.0})


def test_a_run_costs_at_most_what_its_jobs_may_and_the_line_says_that_it_is_a_bound() -> None:
    line = the(cost(pipeline(training(1800, count=2)), RUNS), "step Train: 2 x ml.m5.large, training")
    assert (line.kind, cents(line.usd_per_month)) == ("load", cents(10 * 2 * 0.5 * 0.115))
    assert line.how == "10 runs x 2 x $0.115 x 0.5 h, an upper bound: it may run 30 min and no longer"
    assert cost(pipeline(training())).lines == ()


def test_a_stated_duration_counts_but_no_longer_than_the_job_may_run() -> None:
    ten, long = (RUNS.model_copy(update={"job_minutes": minutes}) for minutes in (6.0, 600.0))
    assert "10 runs x 1 x $0.115 x 0.1 h, as long as the load says" in the(cost(pipeline(training()), ten), "step").how
    assert "x 1 h, as long as the load says" in the(cost(pipeline(training()), long), "step").how


def test_a_parameter_counts_with_its_default_and_one_without_is_unknown() -> None:
    step = training(instance_type={"Get": "Parameters.Type"})
    known = cost(pipeline(step, parameters=[{"Name": "Type", "Type": "String", "DefaultValue": "ml.c5.xlarge"}]), RUNS)
    assert the(known, "step Train: 1 x ml.c5.xlarge").usd_per_month == pytest.approx(10 * 0.204)
    unknown = cost(pipeline(step, parameters=[{"Name": "Type", "Type": "String"}]), RUNS)
    assert the(unknown, "step Train").usd_per_month is None


def test_both_branches_of_a_condition_are_counted() -> None:
    choice = {
        "Name": "If",
        "Type": "Condition",
        "Arguments": {"IfSteps": [training()], "ElseSteps": [{"Name": "No", "Type": "Fail"}]},
    }
    assert the(cost(pipeline(choice), RUNS), "step Train").usd_per_month == pytest.approx(1.15)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"Name": "Emr", "Type": "EMR", "Arguments": {}}, "what a step of type EMR costs is not known here"),
        ({"Name": "Quality", "Type": "QualityCheck", "Arguments": {}}, "of type QualityCheck costs is not known"),
    ],
    ids=["emr", "quality-check"],
)
def test_a_step_that_is_paid_in_other_ways_is_unknown_by_name(step: Mapping[str, Any], says: str) -> None:
    (line,) = cost(pipeline(step), RUNS).lines
    assert (line.usd_per_month, says in line.how) == (None, True)


def test_spot_is_counted_as_on_demand_and_said() -> None:
    line = the(cost(pipeline(training(EnableManagedSpotTraining=True)), RUNS), "step Train")
    assert line.how.endswith("; on spot capacity it is cheaper")


def test_tuning_counts_as_many_jobs_as_it_may_start_and_a_job_without_a_limit_a_day() -> None:
    job = training()["Arguments"]
    del job["StoppingCondition"]
    tuning = {
        "Name": "Tune",
        "Type": "Tuning",
        "Arguments": {
            "HyperParameterTuningJobConfig": {"ResourceLimits": {"MaxNumberOfTrainingJobs": 5}},
            "TrainingJobDefinition": job,
        },
    }
    line = the(cost(pipeline(tuning), RUNS), "step Tune")
    assert line.usd_per_month == pytest.approx(10 * 5 * 24 * 0.115)


def test_a_definition_in_a_bucket_is_unknown() -> None:
    resources = {
        "P": {
            "Type": "AWS::SageMaker::Pipeline",
            "Properties": {"PipelineDefinition": {"PipelineDefinitionS3Location": {}}},
        }
    }
    assert cost(resources, RUNS).unknown[0].how == "its definition is not in the template"


# --- Notebooks ---


def notebook(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::SageMaker::NotebookInstance", "Properties": {"InstanceType": "ml.t3.medium", **properties}}


def lifecycle(script: str) -> dict[str, Any]:
    content = base64.b64encode(script.encode()).decode()
    return {
        "Type": "AWS::SageMaker::NotebookInstanceLifecycleConfig",
        "Properties": {"OnStart": [{"Content": content}]},
    }


def test_a_notebook_that_nothing_stops_runs_all_month() -> None:
    found = cost({"Notebook": notebook(VolumeSizeInGB=20)}, NOTHING.model_copy(update={"notebook_hours": 40.0}))
    line = the(found, "notebook, ml.t3.medium")
    assert (line.kind, cents(line.usd_per_month)) == ("idle", 36.50)
    assert "nothing stops it" in line.how
    assert cents(the(found, "storage volume of the notebook").usd_per_month) == 2.80


@pytest.mark.parametrize(
    "resources",
    [
        {
            "Notebook": notebook(LifecycleConfigName={"Fn::GetAtt": ["Stop", "NotebookInstanceLifecycleConfigName"]}),
            "Stop": lifecycle("#!/bin/bash\npython autostop.py --time 3600"),
        },
        {"Notebook": notebook(Tags=[{"Key": "sagestack:auto-stop", "Value": "60"}])},
    ],
    ids=["lifecycle", "tag"],
)
def test_a_notebook_that_stops_by_itself_runs_as_long_as_the_load_says(resources: Resources) -> None:
    found = cost(resources, NOTHING.model_copy(update={"notebook_hours": 40.0}))
    line = the(found, "notebook, ml.t3.medium")
    assert (line.kind, cents(line.usd_per_month)) == ("load", 2.00)
    assert cents(found.idle) == 0.70


def test_a_lifecycle_that_stops_nothing_does_not_count_as_one_that_does() -> None:
    resources = {
        "Notebook": notebook(LifecycleConfigName={"Ref": "Setup"}),
        "Setup": lifecycle("#!/bin/bash\npip install pandas"),
    }
    assert the(cost(resources), "notebook").kind == "idle"


def schedule(direction: str, expression: str, **properties: Any) -> dict[str, Any]:
    """As the workbench's hours make it: the name is known, the partition is not."""
    arn = {
        "Fn::Join": [
            "",
            ["arn:", {"Ref": "AWS::Partition"}, f":scheduler:::aws-sdk:sagemaker:{direction}NotebookInstance"],
        ]
    }
    return {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "ScheduleExpression": expression,
            "Target": {"Arn": arn, "Input": '{"NotebookInstanceName":"explore"}'},
            **properties,
        },
    }


WORKDAYS = {"Start": schedule("start", "cron(0 8 ? * MON-FRI *)"), "Stop": schedule("stop", "cron(0 19 ? * * *)")}
AUTO_STOP = {"Tags": [{"Key": "sagestack:auto-stop", "Value": "60"}]}


@pytest.mark.parametrize(
    ("properties", "schedules", "hours", "kind", "why"),
    [
        ({}, WORKDAYS, 11 * 5 / 168 * 730, "idle", "whether somebody works in it or not"),
        ({}, {"Stop": WORKDAYS["Stop"]}, 80.0, "load", "since cron(0 19 ? * * *) stops it"),
        (AUTO_STOP, WORKDAYS, 80.0, "load", "since it stops by itself"),
        (
            AUTO_STOP,
            {**WORKDAYS, "Stop": schedule("stop", "cron(0 9 ? * * *)")},
            5 / 168 * 730,
            "load",
            "its hours let it",
        ),
        ({}, {"Start": WORKDAYS["Start"]}, 730.0, "idle", "nothing stops it"),
        ({}, {"Stop": schedule("stop", "cron(0 19 ? * * *)", State="DISABLED")}, 730.0, "idle", "nothing stops it"),
        ({"NotebookInstanceName": "other"}, WORKDAYS, 730.0, "idle", "nothing stops it"),
        ({}, {**WORKDAYS, "Start": schedule("start", "cron(0 8 1 * ? *)")}, 80.0, "load", "stops it"),
    ],
    ids=["hours", "stop-only", "auto-stop", "short-hours", "start-only", "disabled", "of-another", "not-weekly"],
)
def test_a_notebook_runs_between_its_hours(
    properties: dict[str, Any], schedules: Resources, hours: float, kind: str, why: str
) -> None:
    resources = {"Notebook": notebook(**{"NotebookInstanceName": "explore", **properties}), **schedules}
    line = the(cost(resources, NOTHING.model_copy(update={"notebook_hours": 80.0})), "notebook, ml.t3.medium")
    assert (line.kind, cents(line.usd_per_month)) == (kind, cents(hours * 0.05))
    assert why in line.how


@pytest.mark.parametrize(
    ("start", "stop", "a_week"),
    [
        ("cron(0 8 ? * MON-FRI *)", "cron(0 19 ? * MON-FRI *)", 55),
        ("cron(30 8 ? * 2-6 *)", "cron(0 19 ? * * *)", 52.5),
        ("cron(0 22 ? * SAT *)", "cron(0 6 ? * SUN *)", 8),
        ("cron(0 22 ? * FRI-MON *)", "cron(0 6 ? * * *)", 32),
        ("cron(0 8 ? * MON *)", "cron(0 18 ? * FRI *)", 106),
        ("cron(0 8,13 * * ? *)", "cron(0 12,18 * * ? *)", 63),
        ("cron(0 */12 * * ? *)", "cron(0 6-18/12 * * ? *)", 84),
        ("cron(0 8 ? * MON#1 *)", "cron(0 19 ? * * *)", None),
        ("cron(0 8 ? 6 MON *)", "cron(0 19 ? * * *)", None),
        ("rate(1 day)", "cron(0 19 ? * * *)", None),
    ],
    ids=[
        "days",
        "half-hour",
        "over-the-week",
        "days-over-the-week",
        "all-week",
        "twice",
        "steps",
        "nth",
        "month",
        "rate",
    ],
)
def test_hours_are_those_of_a_week(start: str, stop: str, a_week: float | None) -> None:
    found = hours_between(start, stop)
    assert found is None if a_week is None else found == pytest.approx(a_week / 168 * 730)


def test_a_domain_costs_what_is_kept_in_it_and_says_that_people_start_the_rest() -> None:
    found = cost(of("AWS::SageMaker::Domain", DomainName="d"), NOTHING.model_copy(update={"stored_gb": 10.0}))
    assert cents(the(found, "home directories in the domain's EFS").usd_per_month) == 3.00
    assert "people start them" in found.unknown[0].how


def test_a_spaces_volume_costs_whether_something_runs_in_it_or_not() -> None:
    """As the account did whose twelve months of such volumes were 1408.14 GB-months for 158 USD."""
    volume = {"SpaceStorageSettings": {"EbsStorageSettings": {"EbsVolumeSizeInGb": 50}}}
    (line,) = cost(of("AWS::SageMaker::Space", SpaceSettings=volume)).lines
    assert (line.kind, cents(line.usd_per_month)) == ("idle", 5.60)
    assert line.usd_per_month == pytest.approx(50 * 158 / 1408.14, rel=0.005)
    assert "50 GB x $0.112" in line.how
    assert cost(of("AWS::SageMaker::Space")).lines == ()


# --- Everything else, against published totals ---

HOUR = 730 * 3600


def of(kind: str, **properties: Any) -> dict[str, dict[str, Any]]:
    return {"It": {"Type": kind, "Properties": properties}}


@pytest.mark.parametrize(
    ("resources", "usd"),
    [
        # infracost: nat_gateway, vpc_endpoint (one subnet, two), kms_key, secretsmanager_secret, cloudwatch_dashboard,
        # cloudwatch_metric_alarm (standard, high, expression of two, a band).
        (of("AWS::EC2::NatGateway"), 32.85),
        (of("AWS::EC2::VPCEndpoint", VpcEndpointType="Interface", SubnetIds=["a"]), 7.30),
        (of("AWS::EC2::VPCEndpoint", VpcEndpointType="Interface", SubnetIds=["a", "b"]), 14.60),
        (of("AWS::EC2::VPCEndpoint", ServiceName="s3"), 0.0),
        (of("AWS::EC2::EIP"), 3.65),
        (of("AWS::KMS::Key", EnableKeyRotation=True), 1.00),
        (of("AWS::SecretsManager::Secret"), 0.40),
        (of("AWS::CloudWatch::Dashboard"), 3.00),
        (of("AWS::CloudWatch::Alarm", MetricName="m", Namespace="AWS/SageMaker", Period=60), 0.10),
        (of("AWS::CloudWatch::Alarm", MetricName="m", Namespace="AWS/SageMaker", Period=10), 0.30),
        (
            of(
                "AWS::CloudWatch::Alarm",
                Metrics=[
                    {"Id": "e", "Expression": "a/b"},
                    {"Id": "a", "MetricStat": {"Period": 60}},
                    {"Id": "b", "MetricStat": {"Period": 60}},
                ],
            ),
            0.20,
        ),
        (
            of(
                "AWS::CloudWatch::Alarm",
                Metrics=[
                    {"Id": "e", "Expression": "ANOMALY_DETECTION_BAND(a)"},
                    {"Id": "a", "MetricStat": {"Period": 10}},
                ],
            ),
            0.90,
        ),
    ],
    ids=[
        "nat",
        "interface-endpoint",
        "interface-endpoint-2",
        "gateway-endpoint",
        "ip",
        "key",
        "secret",
        "dashboard",
        "alarm",
        "high-resolution",
        "math",
        "band",
    ],
)
def test_what_is_there_all_month_costs_what_others_publish(resources: Resources, usd: float) -> None:
    found = cost(resources)
    assert found.unknown == ()
    assert cents(found.idle) == cents(found.total) == usd


API = {
    "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"ProtocolType": "HTTP"}},
    "Way": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {"IntegrationUri": {"Fn::GetAtt": ["It", "Arn"]}}},
}


@pytest.mark.parametrize(
    ("resources", "load", "usd"),
    [
        # infracost: 100 GB through a NAT gateway, 1,000 GB of logs, 10,000 requests of a queue's 1M, 1 GB of images.
        (of("AWS::EC2::NatGateway"), {"network_gb": 100.0}, 4.50),
        (of("AWS::Logs::LogGroup", RetentionInDays=1), {"log_gb": 1000.0}, 500.99),
        (of("AWS::ECR::Repository"), {"image_gb": 1.0}, 0.10),
        (of("AWS::EFS::FileSystem"), {"stored_gb": 230.0}, 69.00),
        (of("AWS::S3::Bucket"), {"stored_gb": 10000.0}, 230.00),
        (of("AWS::S3::Bucket"), {"object_writes": 10000.0}, 0.05),
        (of("AWS::SNS::Topic"), {"function_calls": 1_000_000.0}, 0.50),
        (of("AWS::SQS::Queue", FifoQueue=True), {"function_calls": 1_000_000.0}, 1.50),
        # infracost: 100,000 requests of 350 ms at 512 MB are $0.02 and $0.29; on Arm $0.23.
        (
            of("AWS::Lambda::Function", MemorySize=512, Timeout=9),
            {"function_calls": 1e5, "function_seconds": 0.35},
            0.31,
        ),
        (
            of("AWS::Lambda::Function", MemorySize=512, Timeout=9, Architectures=["arm64"]),
            {"function_calls": 1e5, "function_seconds": 0.35},
            0.25,
        ),
        # https://aws.amazon.com/lambda/pricing/, example 1, before the free tier: 3 million of 120 ms at 1,536 MB, 540,000 GB-s.
        (
            of("AWS::Lambda::Function", MemorySize=1536, Timeout=9),
            {"function_calls": 3e6, "function_seconds": 0.12},
            9.60,
        ),
        (
            of("AWS::StepFunctions::StateMachine", DefinitionString='{"States": {"a": {}}}'),
            {"function_calls": 5000.0},
            0.25,
        ),
        (
            {**API, **of("AWS::Lambda::Function", MemorySize=1024, Timeout=29)},
            {"requests_per_second": 300e6 / HOUR, "request_seconds": 0.05},
            300.00 + 60.00 + 500.00,
        ),
    ],
    ids=[
        "nat",
        "logs",
        "images",
        "files",
        "objects",
        "writes",
        "topic",
        "queue",
        "function",
        "function-arm",
        "function-aws",
        "states",
        "front-door",
    ],
)
def test_the_load_costs_what_others_publish(resources: Resources, load: dict[str, Any], usd: float) -> None:
    found = cost(resources, NOTHING.model_copy(update=load))
    assert found.unknown == ()
    assert found.load == pytest.approx(usd, abs=0.006)


def test_a_metric_that_is_not_aws_s_own_is_paid_for_once() -> None:
    own = {"MetricName": "Wrong", "Namespace": "Sagestack", "Dimensions": [{"Name": "EndpointName", "Value": "houses"}]}
    alarms = {name: {"Type": "AWS::CloudWatch::Alarm", "Properties": own} for name in ("First", "Second")}
    line = the(cost(alarms), "the custom metric")
    assert (line.resource.logical_id, line.kind, cents(line.usd_per_month)) == ("First", "load", 0.30)


# --- What is unknown, and what costs nothing ---


@pytest.mark.parametrize(
    "resources",
    [
        of("AWS::RDS::DBInstance"),
        of("AWS::CloudWatch::CompositeAlarm"),
        of("AWS::CloudWatch::Alarm", Metrics=[{"Id": "q", "Expression": "SELECT AVG(x) FROM y"}]),
        of("AWS::EC2::VPCEndpoint", VpcEndpointType="Interface", SubnetIds={"Fn::ImportValue": "subnets"}),
        of("AWS::SSM::Parameter", Tier="Advanced"),
    ],
    ids=["database", "composite", "query", "subnets", "advanced-parameter"],
)
def test_what_is_not_known_is_a_line_without_a_price_and_with_a_reason(resources: Resources) -> None:
    (line,) = cost(resources).lines
    assert (line.usd_per_month, bool(line.how), line.resource.logical_id) == (None, True, "It")


@pytest.mark.parametrize(
    "kind",
    [
        "AWS::Budgets::Budget",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::SageMaker::Model",
        "AWS::SageMaker::UserProfile",
        "AWS::Scheduler::Schedule",
        "Custom::SagestackDeploymentGate",
    ],
)
def test_what_costs_nothing_by_itself_has_no_line(kind: str) -> None:
    assert is_free(kind)
    assert cost(of(kind), Load()).lines == ()


def test_a_region_without_a_table_is_unknown_and_says_how_to_get_one() -> None:
    stack = StackTemplate("dev", STACK, "111111111111", "eu-west-1", {"Resources": of("AWS::EC2::NatGateway")})
    found = estimate(Assembly("dev", {STACK: stack}), PRICES, NOTHING)
    (line,) = found.unknown
    assert line.how == "no price table for eu-west-1; `sagestack prices refresh --region eu-west-1` fetches one"
    assert found.total == 0


def test_no_prices_at_all_is_no_reason_to_fail() -> None:
    found = cost({**endpoint(instances()), **pipeline(training())}, Load(), Prices({}))
    assert found.lines
    assert all(line.usd_per_month is None for line in found.lines)


@pytest.mark.parametrize("of_base", [None, Assembly("new", {})], ids=["no-side", "no-stack"])
def test_an_environment_that_is_not_there_costs_nothing(of_base: Assembly | None) -> None:
    assert estimate(of_base, PRICES).total == 0


def test_what_runs_in_the_local_cloud_costs_nothing() -> None:
    stack = StackTemplate("local", STACK, LOCAL_ACCOUNT, "us-east-1", {"Resources": endpoint(instances())})
    assert estimate(Assembly("local", {STACK: stack}), PRICES).lines == ()


@pytest.mark.parametrize(
    ("resources", "parts"),
    [
        (endpoint(instances(), AsyncInferenceConfig="no object"), {}),
        (endpoint("no variant"), {}),  # type: ignore[arg-type]
        (of("AWS::CloudWatch::Alarm", Metrics=[{"MetricStat": 3}]), {}),
        (
            of("AWS::SNS::Topic", DisplayName={"Ref": "x"})
            | {"Bad": {"Type": "AWS::EC2::NatGateway", "Condition": "Round", "Properties": {}}},
            {"Conditions": {"Round": {"Fn::Not": [{"Condition": "Given"}]}}},
        ),
    ],
    ids=["no-object", "no-variant", "no-metric", "no-condition"],
)
def test_a_definition_that_cannot_be_makes_no_estimate_fail(resources: Resources, parts: Mapping[str, Any]) -> None:
    assert cost(resources, Load(), **parts).unknown


# --- Conditions, parameters ---


CONDITIONS: dict[str, Any] = {
    "Parameters": {"Stage": {"Type": "String", "Default": "prod"}, "Given": {"Type": "String"}},
    "Conditions": {
        "IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
        "IsDev": {"Fn::Not": [{"Condition": "IsProd"}]},
        "IsGiven": {"Fn::Equals": [{"Ref": "Given"}, "yes"]},
        "Either": {"Fn::Or": [{"Condition": "IsGiven"}, {"Condition": "IsProd"}]},
        "Both": {"Fn::And": [{"Condition": "IsGiven"}, {"Condition": "IsProd"}]},
    },
    "Mappings": {"Sizes": {"prod": {"Count": 3}}},
}


@pytest.mark.parametrize(
    ("condition", "usd"), [("IsProd", 32.85), ("IsDev", 0.0), ("IsGiven", None), ("Either", 32.85), ("Both", None)]
)
def test_a_conditional_resource_is_there_is_not_or_is_unknown(condition: str, usd: float | None) -> None:
    resources = {"It": {"Type": "AWS::EC2::NatGateway", "Condition": condition, "Properties": {}}}
    found = cost(resources, **CONDITIONS)
    if usd is None:
        assert f"only if condition {condition} holds" in found.unknown[0].how
    else:
        assert (cents(found.total), found.unknown) == (usd, ())


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"Ref": "Stage"}, "prod"),
        ({"Ref": "Given"}, UNKNOWN),
        ({"Ref": "AWS::Region"}, "us-east-1"),
        ({"Fn::If": ["IsProd", 2, 1]}, 2),
        ({"Fn::If": ["IsGiven", 2, 1]}, UNKNOWN),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "Count"]}, 3),
        ({"Fn::FindInMap": ["Sizes", "dev", "Count"]}, UNKNOWN),
        ({"Fn::Select": ["1", ["a", "b"]]}, "b"),
        ({"Fn::Sub": "x-${Stage}-${!Kept}-${Thing.Arn}"}, "x-prod-${Kept}-${Thing.Arn}"),
        ({"Fn::Join": ["/", ["endpoint", {"Fn::GetAtt": ["E", "EndpointName"]}]]}, "endpoint/${E.EndpointName}"),
        ([1, {"Ref": "AWS::NoValue"}, 2], [1, 2]),
        ({"Key": {"Fn::If": ["IsDev", 1, {"Ref": "AWS::NoValue"}]}}, {}),
    ],
    ids=lambda value: json.dumps(value, default=repr)[:40],
)
def test_values_are_read_as_far_as_the_template_tells_them(value: Any, read: Any) -> None:
    (stack,) = assembly({}, **CONDITIONS).stacks.values()
    assert Reading(stack).value(value) == read


def test_a_number_from_a_condition_counts() -> None:
    found = cost(endpoint(instances(count={"Fn::If": ["IsProd", 3, 1]})), **CONDITIONS)
    assert the(found, "3 x ml.m5.large").how == "3 x $0.115 x 730 h"


# --- What the platform itself makes ---


@pytest.mark.long
def test_every_kind_of_endpoint_is_estimated_and_only_what_is_known_to_be_unknown_is(tmp_path: Path) -> None:
    root = project_of_all_kinds(tmp_path / "project")
    found = estimate(synthesized(root, load_environment("prod", root), tmp_path / "out"), PRICES)
    unknown = {
        (line.resource.type.removeprefix("AWS::SageMaker::"), line.what.split(",")[0].split(" of ")[0])
        for line in found.unknown
    }
    assert unknown == {
        ("Endpoint", "storage volumes"),
        ("Pipeline", "storage volumes"),
        ("Endpoint", "1 x 2 GB kept warm"),
        ("Endpoint", "requests to 2 GB"),
    }
    instances_of = {
        line.resource.stack.split("-", 2)[2].removesuffix("-serving"): line.what
        for line in found.lines
        if line.resource.type == "AWS::SageMaker::Endpoint" and line.kind == "idle" and " x ml." in line.what
    }
    assert instances_of == {
        "plain": "2 x ml.m5.large, real-time",
        "compared": "1 x ml.m5.xlarge, real-time",
        "shadowed": "1 x ml.m5.large, real-time, shadow",
        "scaled": "2 x ml.m5.large, real-time",
        "many": "2 x ml.m5.large, real-time",
        "chained": "2 x ml.m5.large, real-time",
        "named": "2 x ml.m5.large, real-time",
        "shared": "1 x ml.m5.xlarge, real-time, shared by inference components",
    }


# --- The load ---


def test_sums_are_of_unrounded_lines() -> None:
    table = PRICES.tables["us-east-1"]
    cheap = {**table.prices, "secrets.month": table.prices["s3.write"]}
    prices = Prices({"us-east-1": PriceTable("us-east-1", "2026-01-01", "", cheap, table.sources)})
    many = {f"Secret{place}": {"Type": "AWS::SecretsManager::Secret", "Properties": {}} for place in range(1000)}
    assert cost(many, prices=prices).idle == pytest.approx(0.005)


def test_the_estimate_says_which_load_it_is_for() -> None:
    found = cost({}, Load(requests_per_second=20, models={"houses": ModelLoad(training_runs=30)}))
    assert found.at_load.startswith(
        "20 requests a second and model, 0.1 s each, 4 kB in and 1 kB out; 4 runs of each pipeline"
    )
    assert found.at_load.endswith("; houses: training_runs 30")


def test_what_is_said_of_one_model_holds_for_its_stacks_and_the_rest_for_all() -> None:
    load = Load(requests_per_second=2, training_runs=1, models={"houses": ModelLoad(requests_per_second=7)})
    own = load.of_stack("dev", "sagestack-dev-houses-serving")
    assert (own.requests_per_second, own.training_runs) == (7, 1)
    assert load.of_stack("dev", "sagestack-dev-flats-serving").requests_per_second == 2
    assert load.of_stack("dev", "sagestack-dev-houses-in-town-serving").requests_per_second == 2


def test_an_environment_states_its_load(tmp_path: Path) -> None:
    root = _project(tmp_path, "load: {requests_per_second: 50, models: {housing: {training_runs: 30}}}\n")
    assert load_environment("dev", root).load.of("housing") == ModelLoad(requests_per_second=50, training_runs=30)
    assert expected_load(root, "dev").requests_per_second == 50
    assert expected_load(root, "staging") == Load()
    assert expected_load(root, "no-such") == Load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("load: {requests_per_secnd: 5}", "load.requests_per_secnd: unknown key; did you mean 'requests_per_second'"),
        ("load: {requests_per_second: -1}", "load.requests_per_second"),
        ("load: {notebook_hours: 800}", "hours, 0 to 730"),
        ("load: {models: {huosing: {training_runs: 1}}}", "there is no model 'huosing'; did you mean 'housing'?"),
    ],
    ids=["unknown-key", "negative", "too-many-hours", "unknown-model"],
)
def test_a_load_that_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    root = _project(tmp_path, text + "\n")
    with pytest.raises(SettingsError) as caught:
        load_environment("dev", root)
    assert says in str(caught.value)
    assert "environments/dev.yaml:" in str(caught.value)


def _project(root: Path, load: str) -> Path:
    import shutil

    for folder in ("environments", "model_code/housing"):
        shutil.copytree(
            PROJECT_ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "*.pins.yaml")
        )
    file = root / "environments" / "dev.yaml"
    file.write_text(file.read_text() + load)
    return root
