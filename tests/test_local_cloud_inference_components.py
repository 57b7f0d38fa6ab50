"""Inference components: copies of models on the instances of one endpoint, as many as there is room for, down to none."""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.clock import Clock
from local_cloud.sagemaker.deployments import alarm_watch
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.inference_components import inference_components_hosts, inference_components_rolling
from local_cloud.sagemaker.inference_components.inference_components_instances import Resources, resources_of
from local_cloud.sagemaker.inference_components.inference_components_placement import (
    BINPACK,
    SPREAD,
    NoRoom,
    Slot,
    choose,
    idle,
    instances_for,
)
from local_cloud.sagemaker.inference_components.inference_components_rolling import RolledBack
from tests.hosted_images import BUCKET, LOGS, READ, Hosting, fits
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

SIZE = Resources(2, 8192)
NEED = Resources(1, 2048)


# --- Placement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance_type", "cpus", "memory_in_mb"),
    [
        ("ml.m5.large", 2, 8192),
        ("ml.c6i.2xlarge", 8, 16384),
        ("ml.r5.xlarge", 4, 32768),
        ("ml.t2.medium", 2, 4096),
        ("ml.c4.8xlarge", 36, 61440),
    ],
)
def test_an_instance_has_what_its_type_says(instance_type: str, cpus: float, memory_in_mb: int) -> None:
    assert resources_of(instance_type) == Resources(cpus, memory_in_mb)


@pytest.mark.parametrize("instance_type", ["ml.g5.xlarge", "ml.inf2.xlarge", "ml.m5.gigantic"])
def test_a_type_whose_numbers_are_not_known_is_refused_by_name(instance_type: str) -> None:
    with pytest.raises(NotEmulated, match=instance_type):
        resources_of(instance_type)


def test_copies_are_spread_or_packed_as_the_component_says() -> None:
    slots = [Slot(NEED, "a")]
    assert choose(slots, ["a", "b"], SIZE, NEED, SPREAD) == "b"
    assert choose(slots, ["a", "b"], SIZE, NEED, BINPACK) == "a"


@pytest.mark.parametrize("need", [Resources(1.5, 100), Resources(0.1, 7000), Resources(3, 100)])
def test_a_copy_that_does_not_fit_beside_the_others_has_no_place(need: Resources) -> None:
    assert choose([Slot(NEED, "a")], ["a"], SIZE, need) is None


def test_the_number_of_instances_for_copies_counts_cores_and_memory() -> None:
    assert instances_for([NEED] * 5, SIZE) == 3
    assert instances_for([Resources(0.1, 5000)] * 2, SIZE) == 2
    assert instances_for([], SIZE) == 0
    assert instances_for([Resources(4, 100)], SIZE) is None


def test_the_newest_empty_instances_go_and_the_minimum_stays() -> None:
    assert idle([Slot(NEED, "b")], ["a", "b", "c"], 0) == ["c", "a"]
    assert idle([Slot(NEED, "b")], ["a", "b", "c"], 2) == ["c"]
    assert idle([], ["a"], 1) == []


@pytest.mark.parametrize(
    ("size", "copies", "expected"),
    [
        ({"Type": "COPY_COUNT", "Value": 2}, 10, 2),
        ({"Type": "CAPACITY_PERCENT", "Value": 25}, 10, 3),
        ({"Type": "CAPACITY_PERCENT", "Value": 5}, 1, 1),
        (None, 4, 7),
    ],
)
def test_a_batch_has_one_copy_at_least(size: dict[str, Any] | None, copies: int, expected: int) -> None:
    assert inference_components_rolling.batch(size, copies, 7) == expected


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ({"Type": "CAPACITY_PERCENT", "Value": 60}, "between 5% and 50% of the copies, got 60%"),
        ({"Type": "COPY_COUNT", "Value": 3}, "at most 50% of the copies, which are 4: 2, got 3"),
    ],
)
def test_a_batch_of_more_than_half_the_copies_is_refused(size: dict[str, Any], words: str) -> None:
    config = {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": 0}}
    with pytest.raises(ValidationError, match=words):
        inference_components_rolling.check(config, 4)


# --- Updates copy by copy ---------------------------------------------------------------------------------------------


class FakeGeneration:
    """Copies that only count; told how many are too many, or that there is no room beside the others."""

    def __init__(self, count: int, *, breaks_at: int = 99, room: Callable[[], int] = lambda: 99) -> None:
        self.count, self.ended = count, False
        self._breaks_at, self._room = breaks_at, room

    def grow(self, count: int) -> None:
        if count - self.count > self._room():
            raise NoRoom("no room")
        if count >= self._breaks_at:
            raise RolledBack("a copy is not healthy")
        self.count = count

    def shrink(self, count: int) -> None:
        self.count = count

    def end(self) -> None:
        self.count, self.ended = 0, True


class Alarms:
    """An alarm that trips after it was looked at so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, trips_after: int = 1_000_000) -> None:
        self.looked, self._trips_after = 0, trips_after

        @contextlib.contextmanager
        def watching(*_: object) -> Iterator[Alarms]:
            yield self

        monkeypatch.setattr(alarm_watch, "watching", watching)

    def tripped(self) -> str | None:
        self.looked += 1
        return "too many errors" if self.looked > self._trips_after else None


def roll(old: FakeGeneration, new: FakeGeneration, **policy: Any) -> list[tuple[FakeGeneration, ...]]:
    """Who got requests, in order."""
    shown: list[tuple[FakeGeneration, ...]] = []
    service = SimpleNamespace(clock=Clock(240), platform=None)
    hosting = SimpleNamespace(service=service, stopping=threading.Event())
    pending = {
        "Target": {"Planned": {"ExecutionRoleArn": "role"}},
        "DeploymentConfig": {"RollingUpdatePolicy": {"WaitIntervalInSeconds": 0, **policy}},
    }
    caller = SimpleNamespace(region="us-east-1")
    with contextlib.suppress(RolledBack):
        inference_components_rolling.roll(hosting, caller, old, new, pending, shown.append)  # type: ignore[arg-type]
    return shown


def test_copies_are_replaced_in_batches_and_the_old_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms, old, new = Alarms(monkeypatch), FakeGeneration(5), FakeGeneration(0)
    shown = roll(old, new, MaximumBatchSize={"Type": "COPY_COUNT", "Value": 2})
    assert shown == [(old, new), (new,)]
    assert (old.ended, new.count) == (True, 5)
    # Once after each batch of 2, 2 and 1.
    assert alarms.looked == 3


@pytest.mark.parametrize("value", [1, 2])
def test_an_alarm_a_copy_that_fails_and_a_timeout_bring_all_old_copies_back(
    monkeypatch: pytest.MonkeyPatch, value: int
) -> None:
    size = {"Type": "COPY_COUNT", "Value": value}
    for trips_after, breaks_at, policy in (
        (1, 99, {}),
        (99, 3, {}),
        (99, 99, {"MaximumExecutionTimeoutInSeconds": 1, "WaitIntervalInSeconds": 300}),
    ):
        Alarms(monkeypatch, trips_after)
        old, new = FakeGeneration(4), FakeGeneration(0, breaks_at=breaks_at)
        shown = roll(old, new, MaximumBatchSize=size, **policy)
        assert shown == [(old, new), (old,)]
        assert (old.count, new.ended) == (4, True)


def test_going_back_ends_new_copies_first_where_there_is_no_room_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Alarms(monkeypatch, 1)
    new = FakeGeneration(0)
    old = FakeGeneration(4, room=lambda: 4 - old.count - new.count)
    roll(old, new, MaximumBatchSize={"Type": "COPY_COUNT", "Value": 2})
    assert (old.count, new.ended) == (4, True)


# --- Updates of the endpoint ------------------------------------------------------------------------------------------


def component(copies: int, cpus: float = 1) -> dict[str, Any]:
    return {
        "InferenceComponentName": "mine",
        "VariantName": "AllTraffic",
        "CopyCount": copies,
        "Deployed": {"Need": {"cpus": cpus, "memory_in_mb": 1024}},
        "Pending": None,
    }


def host(count: int, most: int | None = None, **changes: Any) -> dict[str, Any]:
    scaling = {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": most} if most else None
    return {
        "VariantName": "AllTraffic",
        "Containers": [],
        "InstanceType": "ml.m5.large",
        "DesiredInstanceCount": count,
        "ManagedInstanceScaling": scaling,
        **changes,
    }


def test_an_update_of_the_endpoint_gives_its_components_the_instances_that_they_need() -> None:
    plan = {"Variants": [host(1, most=4)]}
    inference_components_hosts.check_room({"EndpointArn": "arn"}, plan, [component(5)])
    assert plan["Variants"][0]["DesiredInstanceCount"] == 3


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        (host(2), "need 3 instances of ml.m5.large; it would have 2"),
        (host(9, InstanceType="ml.t2.medium", VariantName="Other"), "Delete them first, or keep the variant"),
        (host(9, Containers=[{}]), "Delete them first, or keep the variant"),
    ],
)
def test_an_update_that_leaves_components_without_a_place_is_refused(variant: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        inference_components_hosts.check_room({"EndpointArn": "arn"}, {"Variants": [variant]}, [component(5)])


# --- A local cloud ----------------------------------------------------------------------------------------------------


class Components:
    """What a test says to a local cloud of its inference components."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.hosting = Hosting(cloud)
        self.sagemaker = cloud.client("sagemaker")
        self.cloud = cloud
        self.role = cloud.role("components", READ, LOGS)

    def variant(self, **changes: Any) -> dict[str, Any]:
        return {"VariantName": "AllTraffic", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1, **changes}

    def config(self, name: str, role: str = "", **variant: Any) -> str:
        arguments = {"ExecutionRoleArn": role or self.role}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[self.variant(**variant)], **arguments
        )
        return name

    def create(self, name: str, endpoint: str, model: str, *, cpus: float = 1, memory: int = 1024, **more: Any) -> None:
        self.sagemaker.create_inference_component(
            InferenceComponentName=name,
            EndpointName=endpoint,
            **{"Specification": self.specification(model, cpus, memory), "RuntimeConfig": {"CopyCount": 1}, **more},
        )

    def specification(self, model: str, cpus: float = 1, memory: int = 1024) -> dict[str, Any]:
        return {
            "ModelName": model,
            "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": cpus, "MinMemoryRequiredInMb": memory},
        }

    def settled(self, name: str) -> dict[str, Any]:
        """DescribeInferenceComponent once nothing changes any more."""

        def found() -> dict[str, Any] | None:
            described = dict(self.sagemaker.describe_inference_component(InferenceComponentName=name))
            fits("DescribeInferenceComponent", described)
            return described if described["InferenceComponentStatus"] in ("InService", "Failed") else None

        return dict(wait_for(found))

    def scale(self, name: str, count: int) -> dict[str, Any]:
        self.sagemaker.update_inference_component_runtime_config(
            InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": count}
        )
        return self.settled(name)

    def gone(self, name: str) -> bool:
        listed = self.sagemaker.list_inference_components(NameContains=name)["InferenceComponents"]
        return not listed

    def remove(self, name: str) -> None:
        self.sagemaker.delete_inference_component(InferenceComponentName=name)
        wait_for(lambda: self.gone(name))

    def instances(self, endpoint: str) -> int:
        described = self.sagemaker.describe_endpoint(EndpointName=endpoint)
        fits("DescribeEndpoint", described)
        (variant,) = described["ProductionVariants"]
        assert variant["CurrentInstanceCount"] == variant["DesiredInstanceCount"]
        return int(variant["CurrentInstanceCount"])

    def ask(self, endpoint: str, component: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.hosting.ask(endpoint, body or {}, InferenceComponentName=component)

    def metric(self, name: str, component: str) -> float:
        now = datetime.datetime.now(datetime.UTC)
        points = self.cloud.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": "InferenceComponentName", "Value": component}],
            StartTime=now - datetime.timedelta(minutes=10),
            EndTime=now + datetime.timedelta(minutes=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))


@pytest.fixture(scope="module")
def components(cloud: LocalCloud) -> Components:
    return Components(cloud)


@pytest.fixture(scope="module")
def shared(components: Components) -> Iterator[str]:
    """An endpoint of one to two instances, with two models to put on it."""
    for model in ("first", "second"):
        components.hosting.model(model, components.role)
    scaling = {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 2}
    components.hosting.endpoint("shared", components.config("shared", ManagedInstanceScaling=scaling))
    yield "shared"
    for component in components.sagemaker.list_inference_components()["InferenceComponents"]:
        components.remove(component["InferenceComponentName"])
    components.sagemaker.delete_endpoint(EndpointName="shared")


@pytest.mark.long
def test_a_component_scales_from_one_to_two_to_none_to_one_and_the_instances_follow(
    components: Components, shared: str
) -> None:
    components.create("grows", shared, "first", cpus=2)
    described = components.settled("grows")
    assert (described["InferenceComponentStatus"], described["VariantName"]) == ("InService", "AllTraffic")
    assert described["RuntimeConfig"] == {"DesiredCopyCount": 1, "CurrentCopyCount": 1}
    assert described["Specification"] == components.specification("first", 2)
    assert components.ask(shared, "grows")["model"] == "first"
    assert components.instances(shared) == 1

    assert components.scale("grows", 2)["RuntimeConfig"]["CurrentCopyCount"] == 2
    assert components.instances(shared) == 2
    assert len({components.ask(shared, "grows")["pid"] for _ in range(30)}) == 2

    # A third copy has no place on two instances: what was there serves on.
    refused = components.scale("grows", 3)
    assert refused["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}
    assert "There is not enough hardware resources on the instances for this endpoint" in refused["FailureReason"]

    assert components.scale("grows", 0)["RuntimeConfig"]["CurrentCopyCount"] == 0
    assert components.instances(shared) == 0
    with pytest.raises(ClientError, match="Inference Component has no capacity to process this request") as caught:
        components.ask(shared, "grows")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    wait_for(lambda: components.metric("NoCapacityInvocationFailures", "grows") == 1)

    assert components.scale("grows", 1)["RuntimeConfig"]["CurrentCopyCount"] == 1
    assert components.instances(shared) == 1
    assert components.ask(shared, "grows")["model"] == "first"
    wait_for(lambda: components.metric("Invocations", "grows") == 32)
    assert components.metric("InvocationsPerCopy", "grows") == pytest.approx(17)
    components.remove("grows")


@pytest.mark.long
def test_two_components_share_an_instance_and_a_failing_one_names_its_own_log(
    components: Components, shared: str
) -> None:
    components.create("left", shared, "first")
    components.create("right", shared, "second")
    assert {components.settled(name)["InferenceComponentStatus"] for name in ("left", "right")} == {"InService"}
    assert components.instances(shared) == 1
    assert [components.ask(shared, name)["model"] for name in ("left", "right")] == ["first", "second"]
    with pytest.raises(ClientError, match="group=/aws/sagemaker/InferenceComponents/left in account") as caught:
        components.ask(shared, "left", {"fail": 500})
    assert "log-group:/aws/sagemaker/InferenceComponents/left:log-stream:AllTraffic/i-" in str(caught.value.response)
    with pytest.raises(ClientError, match="Inference Component Name header is required for endpoints"):
        components.hosting.ask(shared)
    with pytest.raises(ClientError, match=r"Inference Component nobody of account .* not found on endpoint shared"):
        components.ask(shared, "nobody")

    listed = components.sagemaker.list_inference_components(
        EndpointNameEquals=shared, SortBy="Name", SortOrder="Ascending"
    )
    assert [item["InferenceComponentName"] for item in listed["InferenceComponents"]] == ["left", "right"]
    with pytest.raises(ClientError, match=r"while it has inference components: .*left"):
        components.sagemaker.delete_endpoint(EndpointName=shared)
    components.remove("left")
    assert components.ask(shared, "right")["model"] == "second"
    components.remove("right")


@pytest.mark.long
def test_another_specification_replaces_the_copies_and_a_broken_one_is_rolled_back(
    components: Components, shared: str, tmp_path: Path
) -> None:
    healthy = tmp_path / "healthy"
    components.hosting.model("third", components.role, start_when=str(healthy))
    components.create("rolls", shared, "first", RuntimeConfig={"CopyCount": 2})
    components.settled("rolls")
    config = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 15,
        }
    }
    components.sagemaker.update_inference_component(
        InferenceComponentName="rolls", Specification=components.specification("third"), DeploymentConfig=config
    )
    assert {components.ask(shared, "rolls")["model"] for _ in range(10)} == {"first"}
    healthy.touch()
    seen: set[str] = set()

    def over() -> bool:
        # Somebody answers all the time.
        seen.add(components.ask(shared, "rolls")["model"])
        described = components.sagemaker.describe_inference_component(InferenceComponentName="rolls")
        return bool(described["InferenceComponentStatus"] == "InService")

    wait_for(over)
    assert seen <= {"first", "third"}
    assert {components.ask(shared, "rolls")["model"] for _ in range(10)} == {"third"}
    described = components.settled("rolls")
    assert described["LastDeploymentConfig"] == config
    assert described["Specification"]["ModelName"] == "third"

    components.hosting.model("crashes", components.role, crash=True)
    components.sagemaker.update_inference_component(
        InferenceComponentName="rolls", Specification=components.specification("crashes")
    )
    described = components.settled("rolls")
    assert "The update was rolled back" in described["FailureReason"]
    assert described["Specification"]["ModelName"] == "third"
    assert described["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}
    assert components.ask(shared, "rolls")["model"] == "third"
    components.remove("rolls")


def test_a_component_that_does_not_fit_or_does_not_start_fails_with_the_reason(
    components: Components, shared: str
) -> None:
    components.create("huge", shared, "first", memory=9000)
    components.hosting.model("never", components.role)
    components.cloud.client("s3").delete_object(Bucket=BUCKET, Key="never/model.tar.gz")
    components.create("never", shared, "never")
    huge, never = components.settled("huge"), components.settled("never")
    assert [huge["InferenceComponentStatus"], never["InferenceComponentStatus"]] == ["Failed", "Failed"]
    assert "There is not enough hardware resources" in huge["FailureReason"]
    assert "9000 MB; an instance of ml.m5.large has 2 and 8192" in huge["FailureReason"]
    assert f"Could not access model data at s3://{BUCKET}/never/model.tar.gz" in never["FailureReason"]
    with pytest.raises(ClientError, match="DeleteInferenceComponent is the only operation on a failed one"):
        components.scale("never", 2)
    for name in ("huge", "never"):
        components.remove(name)
    assert components.instances(shared) == 0


def test_a_container_of_its_own_runs_as_the_endpoints_role(components: Components, shared: str) -> None:
    container = {
        "Image": components.hosting.image,
        "ArtifactUrl": components.hosting.artefact("contained"),
        "Environment": {"A": "1"},
    }
    specification = {"Container": container, "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 512}}
    components.create("contained", shared, "", Specification=specification)
    described = components.settled("contained")
    assert described["InferenceComponentStatus"] == "InService", described
    told = described["Specification"]["Container"]
    assert told["DeployedImage"]["SpecifiedImage"] == components.hosting.image
    assert components.ask(shared, "contained", {"environment": ["A"]})["environment"] == {"A": "1"}
    components.remove("contained")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RuntimeConfig": {"CopyCount": 0}}, "copy count must be an integer larger than 0"),
        ({"VariantName": "Other"}, "Variant Other of endpoint shared not found; it has: AllTraffic"),
        ({"EndpointName": "nowhere"}, 'Could not find endpoint ".*endpoint/nowhere"'),
        (
            {"Specification": {"ModelName": "first"}},
            "ComputeResourceRequirements of the Specification is required",
        ),
        (
            {"Specification": {"ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128}}},
            "either a ModelName or a Container",
        ),
        (
            {
                "Specification": {
                    "ModelName": "first",
                    "ComputeResourceRequirements": {
                        "MinMemoryRequiredInMb": 128,
                        "NumberOfAcceleratorDevicesRequired": 1,
                    },
                }
            },
            "does not emulate accelerators",
        ),
        (
            {"Specification": {"BaseInferenceComponentName": "base"}},
            "does not emulate adapter inference components",
        ),
    ],
)
def test_what_a_component_cannot_be_is_refused(
    components: Components, shared: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        components.sagemaker.create_inference_component(
            **{
                "InferenceComponentName": "refused",
                "EndpointName": shared,
                "Specification": components.specification("first"),
                **changes,
            }
        )


@pytest.mark.parametrize(
    ("arguments", "variant", "words"),
    [
        ({}, {}, "ExecutionRoleArn is required"),
        ({"ExecutionRoleArn": "role"}, {"InstanceType": "ml.g5.xlarge"}, "does not place .* on ml.g5.xlarge"),
        (
            {"ExecutionRoleArn": "role"},
            {"ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 2, "MaxInstanceCount": 4}},
            "from MinInstanceCount 2 to MaxInstanceCount 4, got 1",
        ),
        ({"ExecutionRoleArn": "role"}, {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}, "."),
        (
            {},
            {"ModelName": "first", "ManagedInstanceScaling": {"Status": "ENABLED", "MaxInstanceCount": 2}},
            "ManagedInstanceScaling is only supported for inference component endpoints",
        ),
    ],
)
def test_what_an_endpoint_for_components_cannot_be_is_refused(
    components: Components, shared: str, arguments: dict[str, str], variant: dict[str, Any], words: str
) -> None:
    if arguments:
        arguments = {"ExecutionRoleArn": components.role}
    with pytest.raises(ClientError, match=words):
        components.sagemaker.create_endpoint_config(
            EndpointConfigName="refused", ProductionVariants=[components.variant(**variant)], **arguments
        )


def test_a_policy_may_name_the_components_that_somebody_may_change(components: Components, shared: str) -> None:
    iam = components.cloud.client("iam")
    iam.create_user(UserName="scaler")
    allowed = "arn:aws:sagemaker:us-east-1:000000000000:inference-component/mine-*"
    statement = {"Effect": "Allow", "Action": "sagemaker:*", "Resource": allowed}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="scaler", PolicyName="mine", PolicyDocument=policy)
    key = iam.create_access_key(UserName="scaler")["AccessKey"]
    sagemaker = components.cloud.client("sagemaker", key["AccessKeyId"], key["SecretAccessKey"])
    for name, code in (("mine-a", "ValidationException"), ("others", "AccessDeniedException")):
        with pytest.raises(ClientError) as caught:
            sagemaker.create_inference_component(
                InferenceComponentName=name, EndpointName=shared, Specification={"ModelName": "first"}
            )
        assert caught.value.response["Error"]["Code"] == code, caught.value


@pytest.mark.long
def test_a_stack_makes_grows_and_deletes_an_endpoint_with_a_component(components: Components, shared: str) -> None:
    cloudformation = components.cloud.client("cloudformation")

    def template(copies: int) -> str:
        return json.dumps(
            {
                "Resources": {
                    "Config": {
                        "Type": "AWS::SageMaker::EndpointConfig",
                        "Properties": {
                            "ExecutionRoleArn": components.role,
                            "ProductionVariants": [components.variant()],
                        },
                    },
                    "Endpoint": {
                        "Type": "AWS::SageMaker::Endpoint",
                        "Properties": {"EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}},
                    },
                    "Component": {
                        "Type": "AWS::SageMaker::InferenceComponent",
                        "Properties": {
                            "InferenceComponentName": "stacked",
                            "EndpointName": {"Fn::GetAtt": ["Endpoint", "EndpointName"]},
                            "VariantName": "AllTraffic",
                            "Specification": components.specification("first"),
                            "RuntimeConfig": {"CopyCount": copies},
                        },
                    },
                },
                "Outputs": {"Component": {"Value": {"Ref": "Component"}}},
            }
        )

    cloudformation.create_stack(StackName="components", TemplateBody=template(1))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="components", WaiterConfig={"Delay": 1})
    (output,) = cloudformation.describe_stacks(StackName="components")["Stacks"][0]["Outputs"]
    assert output["OutputValue"].endswith(":inference-component/stacked")
    cloudformation.update_stack(StackName="components", TemplateBody=template(2))
    cloudformation.get_waiter("stack_update_complete").wait(StackName="components", WaiterConfig={"Delay": 1})
    assert components.settled("stacked")["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}
    cloudformation.delete_stack(StackName="components")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="components", WaiterConfig={"Delay": 1})
    assert components.gone("stacked")


@pytest.mark.long
def test_components_stay_when_their_endpoint_changes_and_come_back_when_the_cloud_was_killed(
    own_cloud: LocalCloud,
) -> None:
    components = Components(own_cloud)
    components.hosting.model("kept", components.role)
    components.hosting.endpoint("kept", components.config("kept"))
    components.create("kept", "kept", "kept", cpus=0.75, RuntimeConfig={"CopyCount": 2})
    components.settled("kept")
    components.create("none", "kept", "kept", cpus=0.25)
    components.settled("none")
    components.scale("none", 0)
    components.sagemaker.update_endpoint(
        EndpointName="kept", EndpointConfigName=components.config("larger", InstanceType="ml.m5.xlarge")
    )
    assert components.hosting.settled("kept")["EndpointConfigName"] == "larger"
    assert components.ask("kept", "kept")["model"] == "kept"
    # Three copies fit on the larger instance alone.
    assert components.scale("kept", 3)["RuntimeConfig"]["CurrentCopyCount"] == 3
    assert components.scale("kept", 2)["RuntimeConfig"]["CurrentCopyCount"] == 2
    own_cloud.kill()
    own_cloud.start()
    components.hosting.settled("kept")
    assert components.settled("kept")["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}
    assert components.settled("none")["RuntimeConfig"] == {"DesiredCopyCount": 0, "CurrentCopyCount": 0}
    assert components.ask("kept", "kept")["model"] == "kept"
