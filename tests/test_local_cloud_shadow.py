"""Shadow variants: they get copies of the requests, are measured and captured, and harm nobody."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.platform import Caller
from local_cloud.sagemaker.capture import shadow
from local_cloud.sagemaker.capture.shadow import Shadow
from local_cloud.sagemaker.hosting import endpoint_metrics
from local_cloud.sagemaker.hosting.container_calls import Reply, Unreachable
from tests.hosted_images import LOGS, READ, Hosting, fits
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

CALLER = Caller("000000000000", "us-east-1", "arn:aws:iam::000000000000:root")


# --- Copies -----------------------------------------------------------------------------------------------------------


class FakeVariant:
    """A variant with one instance."""

    def __init__(self, name: str, weight: float, *, ready: bool = True) -> None:
        self.name, self.weight, self.capture = name, weight, None
        self.ready = [SimpleNamespace(ready=True)] if ready else []

    def pick(self, _: object) -> Any:
        return self.ready[0] if self.ready else None


class Carried:
    """Stands for the way to the containers: answers, fails or hangs, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        self.error: Exception | None = None
        self.release = asyncio.Event()
        self.release.set()
        self.measured: list[Any] = []
        recorder = SimpleNamespace(record=lambda _, item: self.measured.append(item))
        monkeypatch.setattr(endpoint_metrics, "recorder_of", lambda _: recorder)

    async def __call__(self, _service: Any, _variant: Any, _instance: Any, _headers: Any, body: bytes) -> Any:
        self.bodies.append(body)
        await self.release.wait()
        if self.error:
            raise self.error
        return SimpleNamespace(reply=Reply(self.status, b"x", {}, 0.1), model_s=0.1)


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> Carried:
    return Carried(monkeypatch)


def send(carried: Carried, of: Shadow, count: int, body: bytes = b"{}") -> None:
    async def run() -> None:
        for _ in range(count):
            of.copy(SimpleNamespace(), CALLER, "mine", {}, body, carried)  # type: ignore[arg-type]
        carried.release.set()
        while of._tasks:
            await asyncio.sleep(0)

    asyncio.run(run())


def shadowed(weight: float = 1, of: float = 1, *, ready: bool = True) -> Shadow:
    return Shadow(FakeVariant("Main", of), FakeVariant("Shadow", weight, ready=ready))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weight", "of", "least", "most"),
    [(1, 1, 1000, 1000), (2, 1, 1000, 1000), (1, 4, 150, 350), (0, 1, 0, 0), (1, 0, 0, 0)],
)
def test_the_share_of_copies_is_the_shadows_weight_against_the_production_variants(
    carried: Carried, monkeypatch: pytest.MonkeyPatch, weight: float, of: float, least: int, most: int
) -> None:
    monkeypatch.setattr(shadow, "MAX_COPIES", 10_000)
    send(carried, shadowed(weight, of), 1000)
    assert least <= len(carried.bodies) <= most


def test_a_copy_is_measured_with_the_shadows_name(carried: Carried) -> None:
    carried.status = 500
    send(carried, shadowed(), 1)
    (measured,) = carried.measured
    assert (measured.endpoint, measured.variant, measured.status) == ("mine", "Shadow", 500)


@pytest.mark.parametrize("ready", [True, False])
def test_a_shadow_that_does_not_listen_is_measured_as_failing(carried: Carried, *, ready: bool) -> None:
    carried.error = Unreachable()
    send(carried, shadowed(ready=ready), 1)
    assert carried.measured[0].status == 0


def test_a_slow_shadow_holds_a_bounded_number_of_copies(carried: Carried) -> None:
    carried.release.clear()
    slow = shadowed()
    send(carried, slow, shadow.MAX_COPIES + 36)
    assert len(carried.bodies) == shadow.MAX_COPIES
    assert slow.skipped == 36


def test_a_slow_shadow_holds_a_bounded_number_of_bytes(carried: Carried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MAX_COPIED_BYTES", 100)
    carried.release.clear()
    slow = shadowed()
    send(carried, slow, 5, b"x" * 40)
    assert (len(carried.bodies), slow.skipped) == (2, 3)
    assert slow._bytes == 0


def test_an_error_of_the_local_cloud_itself_reaches_nobody(carried: Carried, caplog: pytest.LogCaptureFixture) -> None:
    carried.error = RuntimeError("a bug")
    send(carried, shadowed(), 1)
    assert "A copy for the shadow of endpoint mine failed" in caplog.text


# --- Endpoints --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Iterator[Hosting]:
    hosting = Hosting(cloud)
    cloud.client("s3").create_bucket(Bucket="captured")
    yield hosting
    hosting.sagemaker.delete_endpoint(EndpointName="shadowed")


def variant(name: str, model: str, **changes: Any) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
        **changes,
    }


def config(hosting: Hosting, name: str, production: str, shadow_model: str, **changes: Any) -> str:
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant("AllTraffic", production)],
        ShadowProductionVariants=[variant("Shadow", shadow_model)],
        **changes,
    )
    return name


def invocations(hosting: Hosting, metric: str, name: str) -> float:
    now = datetime.datetime.now(datetime.UTC)
    points = hosting.cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": "shadowed"}, {"Name": "VariantName", "Value": name}],
        StartTime=now - datetime.timedelta(minutes=10),
        EndTime=now + datetime.timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(sum(point["Sum"] for point in points))


def test_a_shadow_answers_nobody_fails_nobody_slows_nobody_and_is_measured_and_captured(
    hosting: Hosting, tmp_path: Path
) -> None:
    role = hosting.cloud.role("shadows", READ, LOGS, {"Action": "s3:PutObject", "Resource": "arn:aws:s3:::captured/*"})
    hosting.model("production", role)
    hosting.model("candidate", role)
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://captured",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    hosting.endpoint("shadowed", config(hosting, "shadowed", "production", "candidate", DataCaptureConfig=capture))
    described = hosting.sagemaker.describe_endpoint(EndpointName="shadowed")
    fits("DescribeEndpoint", described)
    assert [part["VariantName"] for part in described["ProductionVariants"]] == ["AllTraffic"]
    (of_shadow,) = described["ShadowProductionVariants"]
    assert (of_shadow["VariantName"], of_shadow["CurrentInstanceCount"]) == ("Shadow", 1)

    assert {hosting.ask("shadowed")["model"] for _ in range(20)} == {"production"}
    with pytest.raises(ClientError, match="Variant Shadow of endpoint shadowed not found; it has: AllTraffic"):
        hosting.ask("shadowed", TargetVariant="Shadow")
    wait_for(lambda: invocations(hosting, "Invocations", "Shadow") == 20)
    assert invocations(hosting, "Invocation5XXErrors", "Shadow") == 0

    def recorded() -> Counter[tuple[str, str]]:
        s3 = hosting.cloud.client("s3")
        counted: Counter[tuple[str, str]] = Counter()
        for item in s3.list_objects_v2(Bucket="captured", Prefix="shadowed/").get("Contents", []):
            for line in s3.get_object(Bucket="captured", Key=item["Key"])["Body"].read().decode().splitlines():
                answer = json.loads(json.loads(line)["captureData"]["endpointOutput"]["data"])
                counted[item["Key"].split("/")[1], answer["model"]] += 1
        return counted

    wait_for(lambda: recorded().total() == 40)
    assert recorded() == {("AllTraffic", "production"): 20, ("Shadow", "candidate"): 20}

    # A body that breaks the server: the caller hears of the production variant's failure alone.
    with pytest.raises(ClientError) as caught:
        hosting.ask("shadowed", {"fail": 418})
    assert "Received client error (418)" in str(caught.value)
    wait_for(lambda: invocations(hosting, "Invocation4XXErrors", "Shadow") == 1)
    # The answer does not wait for that of the shadow.
    enough = tmp_path / "enough"
    assert hosting.ask("shadowed", {"until": str(enough), "only": ["candidate"]})["model"] == "production"
    enough.touch()


def test_a_shadow_that_never_becomes_healthy_fails_the_update_and_the_endpoint_serves_on(hosting: Hosting) -> None:
    hosting.model("broken-shadow", crash=True)
    hosting.sagemaker.update_endpoint(
        EndpointName="shadowed", EndpointConfigName=config(hosting, "breaks", "production", "broken-shadow")
    )
    described = hosting.settled("shadowed")
    assert described["EndpointConfigName"] == "shadowed"
    assert (
        "The primary container for production variant Shadow did not pass the ping health check"
        in (described["FailureReason"])
    )
    assert hosting.ask("shadowed")["model"] == "production"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"ProductionVariants": [variant("A", "production"), variant("B", "production")]},
            "exactly one production variant and one shadow variant; ProductionVariants has 2",
        ),
        (
            {"ShadowProductionVariants": [variant("A", "candidate"), variant("B", "candidate")]},
            "exactly one production variant and one shadow variant; ShadowProductionVariants has 2",
        ),
        (
            {"ShadowProductionVariants": [variant("AllTraffic", "candidate")]},
            "Variant names must be unique in an endpoint configuration; twice: AllTraffic",
        ),
        ({"ShadowProductionVariants": [variant("Shadow", "nowhere")]}, 'Could not find model ".*model/nowhere"'),
    ],
)
def test_more_than_one_variant_of_a_kind_is_refused(hosting: Hosting, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        hosting.sagemaker.create_endpoint_config(
            EndpointConfigName="refused",
            **{
                "ProductionVariants": [variant("AllTraffic", "production")],
                "ShadowProductionVariants": [variant("Shadow", "candidate")],
                **changes,
            },
        )
