"""How updates are guarded: the choice that the settings leave, what SageMaker is told, and what it would not guard."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk.assertions import Template
from sagestack import settings
from sagestack.settings.update_checks import chosen_update, update_problems, waits_in_seconds
from sagestack.update_policy import UpdatePolicy, update_policy

REGISTERED = "arn:aws:sagemaker:us-east-1:111111111111:model-package/sagestack-dev-housing/3"
CANARY = {"kind": "canary"}
ROLLING = {"kind": "rolling"}


def real_time(count: int = 2, **changes: Any) -> settings.RealTime:
    return settings.RealTime.model_validate(
        {"kind": "real-time", "instance_type": "ml.m5.large", "initial_instance_count": count, **changes}
    )


def asynchronous(count: int = 2, **changes: Any) -> settings.Asynchronous:
    return settings.Asynchronous.model_validate(
        {"kind": "asynchronous", "instance_type": "ml.m5.large", "initial_instance_count": count, **changes}
    )


def components(copies: int = 2, **changes: Any) -> settings.InferenceComponents:
    return settings.InferenceComponents.model_validate(
        {
            "kind": "inference-components",
            "instance_type": "ml.m5.large",
            "initial_instance_count": 1,
            "max_instance_count": 2,
            "copies": copies,
            "cpus_per_copy": 1,
            "memory_per_copy_in_mb": 1024,
            **changes,
        }
    )


SERVERLESS = settings.Serverless(kind="serverless", memory_in_mb=2048, max_concurrency=5)


def scaled(least: int, most: int = 4, **changes: Any) -> dict[str, Any]:
    return {"min_capacity": least, "max_capacity": most, "cpu_percent": 70.0, **changes}


def endpoint_of(policy: UpdatePolicy, alarms: int = 2) -> dict[str, Any]:
    """The endpoint's properties as they are deployed."""
    stack = cdk.Stack()
    watched = [cloudwatch.Alarm.from_alarm_name(stack, f"Alarm{number}", f"alarm-{number}") for number in range(alarms)]
    sagemaker.CfnEndpoint(
        stack,
        "Endpoint",
        endpoint_config_name="config",
        deployment_config=policy.deployment_config(watched),
        retain_all_variant_properties=policy.retain_all_variant_properties,
        exclude_retained_variant_properties=policy.exclude_retained_variant_properties,
    )
    (endpoint,) = Template.from_stack(stack).find_resources("AWS::SageMaker::Endpoint").values()
    properties: dict[str, Any] = endpoint["Properties"]
    return properties


def refusal(hosting: settings.Hosting) -> str:
    with pytest.raises(ValueError, match=r"\w") as refused:
        update_policy(hosting)
    return str(refused.value)


@pytest.mark.parametrize(
    ("hosting", "kind"),
    [
        (real_time(2), "canary"),
        (real_time(1), "all-at-once"),
        (real_time(3, autoscaling=scaled(1)), "all-at-once"),
        (real_time(3, autoscaling=scaled(2)), "canary"),
        (asynchronous(2), "canary"),
        (components(2), "rolling"),
    ],
)
def test_the_default_is_a_canary_wherever_one_is_less_than_everything(hosting: settings.Hosting, kind: str) -> None:
    update = chosen_update(hosting)

    assert update is not None
    assert update.kind == kind
    assert update_problems(hosting) == []


def test_a_schedule_that_leaves_one_instance_at_night_leaves_no_room_for_a_canary() -> None:
    night = {"at": "cron(0 22 * * ? *)", "min_capacity": 1, "max_capacity": 1}

    update = chosen_update(real_time(2, autoscaling=scaled(2, schedule=[night])))

    assert update is not None
    assert update.kind == "all-at-once"


def test_what_sagemaker_cannot_guard_has_no_policy() -> None:
    assert endpoint_of(update_policy(SERVERLESS)).get("DeploymentConfig") is None
    assert chosen_update(components(1)) is None


def test_a_canary_is_watched_at_both_stages_and_rolled_back_by_the_alarms() -> None:
    assert endpoint_of(update_policy(real_time(2)))["DeploymentConfig"] == {
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "alarm-0"}, {"AlarmName": "alarm-1"}]},
        "BlueGreenUpdatePolicy": {
            "MaximumExecutionTimeoutInSeconds": 3600,
            "TerminationWaitInSeconds": 0,
            "TrafficRoutingConfiguration": {
                "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                "Type": "CANARY",
                "WaitIntervalInSeconds": 600,
            },
        },
    }


def test_linear_and_all_at_once_say_their_own_sizes() -> None:
    linear = endpoint_of(update_policy(real_time(4, update={"kind": "linear", "step_percent": 50})))
    at_once = endpoint_of(
        update_policy(real_time(1, update={"kind": "all-at-once", "termination_wait_in_seconds": 60}))
    )

    assert linear["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"] == {
        "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        "Type": "LINEAR",
        "WaitIntervalInSeconds": 600,
    }
    blue_green = at_once["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert blue_green["TrafficRoutingConfiguration"] == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 600}
    assert blue_green["TerminationWaitInSeconds"] == 60


def test_rolling_goes_forward_in_batches_and_back_at_once() -> None:
    config = endpoint_of(update_policy(real_time(4, update=ROLLING)))["DeploymentConfig"]

    assert "BlueGreenUpdatePolicy" not in config
    assert config["RollingUpdatePolicy"] == {
        "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
        "MaximumExecutionTimeoutInSeconds": 7200,
        "RollbackMaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 100},
        "WaitIntervalInSeconds": 300,
    }


def test_inference_components_roll_by_copies_and_their_endpoint_has_no_guardrails() -> None:
    policy = update_policy(components(4))
    stack = cdk.Stack()
    alarm = cloudwatch.Alarm.from_alarm_name(stack, "Alarm", "alarm")
    sagemaker.CfnInferenceComponent(
        stack, "Component", endpoint_name="e", deployment_config=policy.component_deployment_config([alarm])
    )

    (component,) = Template.from_stack(stack).find_resources("AWS::SageMaker::InferenceComponent").values()
    config = component["Properties"]["DeploymentConfig"]
    assert config["RollingUpdatePolicy"]["MaximumBatchSize"] == {"Type": "CAPACITY_PERCENT", "Value": 50}
    assert config["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "alarm"}]}
    assert policy.deployment_config([alarm]) is None
    assert update_policy(components(1)).component_deployment_config([alarm]) is None


def test_an_update_keeps_the_instance_count_that_autoscaling_has_found() -> None:
    endpoint = endpoint_of(update_policy(real_time(2, autoscaling=scaled(2))))

    assert endpoint["RetainAllVariantProperties"] is True
    assert endpoint["ExcludeRetainedVariantProperties"] == [{"VariantPropertyType": "DesiredWeight"}]


def test_without_autoscaling_the_count_and_the_weights_are_those_of_git() -> None:
    endpoint = endpoint_of(update_policy(real_time(2)))

    assert endpoint["RetainAllVariantProperties"] is True
    assert endpoint["ExcludeRetainedVariantProperties"] == [
        {"VariantPropertyType": "DesiredWeight"},
        {"VariantPropertyType": "DesiredInstanceCount"},
    ]


def test_more_alarms_than_sagemaker_watches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"11 alarms .* 10 at most"):
        endpoint_of(update_policy(real_time(2)), alarms=11)


@pytest.mark.parametrize(
    ("hosting", "words"),
    [
        (real_time(1, update=CANARY), ["update.canary_percent", "as small as 1 (initial_instance_count)"]),
        (
            real_time(3, update=CANARY, autoscaling=scaled(1)),
            ["update.canary_percent", "as small as 1 (autoscaling.min_capacity)"],
        ),
        (real_time(1, update={"kind": "linear"}), ["update.step_percent", "raise initial_instance_count to 2"]),
        (real_time(1, update=ROLLING), ["update.batch_percent", "write kind: all-at-once"]),
        (components(1, update=ROLLING), ["update.batch_percent", "2 copies", "leave update out"]),
    ],
)
def test_the_first_part_of_a_fleet_is_never_all_of_it(hosting: settings.Hosting, words: list[str]) -> None:
    text = refusal(hosting)

    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "others",
    [
        {
            "variants": {
                "B": {"served_version": 2, "weight": 1.0, "instance_type": "ml.m5.large", "initial_instance_count": 1}
            }
        },
        {"shadow": {"served_version": 2, "instance_type": "ml.m5.large", "initial_instance_count": 1}},
    ],
)
def test_rolling_is_for_one_variant_alone(others: dict[str, Any]) -> None:
    text = refusal(real_time(4, update=ROLLING, **others))

    assert "update.kind: 'rolling' is for endpoints with one variant, and this one has 2 (AllTraffic, " in text


def test_asynchronous_endpoints_may_roll() -> None:
    assert "RollingUpdatePolicy" in endpoint_of(update_policy(asynchronous(4, update=ROLLING)))["DeploymentConfig"]


@pytest.mark.parametrize("name", ["AllTraffic", "Shadow", "alltraffic"])
def test_the_names_of_our_own_variants_are_taken(name: str) -> None:
    variant = {"served_version": 2, "weight": 1.0, "instance_type": "ml.m5.large", "initial_instance_count": 1}

    assert "the same variant names; choose another" in refusal(real_time(2, variants={name: variant}))


def test_inferentia_1_is_only_updated_unguarded_and_only_by_somebody_who_says_so() -> None:
    assert "gets no guarded updates" in refusal(real_time(2, instance_type="ml.inf1.xlarge"))
    assert "gets no guarded updates" in refusal(
        real_time(2, instance_type="ml.inf1.xlarge", update={"kind": "all-at-once", "bake_in_seconds": 300})
    )

    knowing = real_time(2, instance_type="ml.inf1.xlarge", update={"kind": "all-at-once", "bake_in_seconds": 0})
    assert endpoint_of(update_policy(knowing)).get("DeploymentConfig") is None


def test_a_marketplace_package_is_refused_and_a_registered_version_is_not() -> None:
    update_policy(real_time(2), model_package_arns=[REGISTERED])

    with pytest.raises(ValueError, match="comes from AWS Marketplace"):
        update_policy(
            real_time(2), model_package_arns=["arn:aws:sagemaker:us-east-1:865070037744:model-package/some-product"]
        )


def test_a_bake_that_ends_before_the_alarms_can_ring_is_refused() -> None:
    text = refusal(real_time(2, update={**CANARY, "bake_in_seconds": 120}))

    assert "update.bake_in_seconds: 120 is over before the roll-back alarms can see anything" in text
    assert "write 180 at least" in text
    assert update_problems(real_time(2, update={**CANARY, "bake_in_seconds": 180})) == []
    assert update_problems(real_time(2, update={"kind": "all-at-once", "bake_in_seconds": 0})) == []


@pytest.mark.parametrize(
    ("update", "waits"),
    [
        ({**CANARY, "bake_in_seconds": 1500, "termination_wait_in_seconds": 600}, 3600),
        ({"kind": "linear", "step_percent": 15, "bake_in_seconds": 600}, 4200),
        ({"kind": "all-at-once", "bake_in_seconds": 3000, "termination_wait_in_seconds": 600}, 3600),
        ({**ROLLING, "batch_percent": 10, "bake_in_seconds": 720}, 7200),
    ],
)
def test_an_update_that_waits_longer_than_it_may_take_is_refused(update: dict[str, Any], waits: int) -> None:
    hosting = real_time(10, update=update)
    chosen = chosen_update(hosting)

    assert chosen is not None
    assert waits_in_seconds(chosen) == waits
    assert f"it waits {waits} seconds in all" in refusal(hosting)
    longer = {**update, "maximum_execution_in_seconds": waits + 600}
    assert update_problems(real_time(10, update=longer)) == []


def test_an_error_limit_that_a_canary_of_failures_stays_below_is_refused() -> None:
    text = refusal(real_time(2, rollback={"error_percent": 10.0}))

    assert text.startswith("rollback.error_percent: 10 would let a version through that fails on every request")
    assert update_problems(real_time(2, rollback={"error_percent": 9.0})) == []
    assert update_problems(real_time(1, rollback={"error_percent": 50.0})) == []


def test_a_canary_too_small_for_the_99th_percentile_is_refused() -> None:
    text = refusal(real_time(2, update={**CANARY, "canary_percent": 1}, rollback={"error_percent": 0.5}))

    assert "update.canary_percent: 1 percent of the requests do not show in the 99th percentile" in text
