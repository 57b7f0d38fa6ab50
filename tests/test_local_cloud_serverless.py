"""Serverless endpoints of the local cloud, through boto3, with processes that really start and end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

VARIANT = "AllTraffic"
START_S = 0.6
"""How long the model takes to start, at least."""


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosting]:
    """A cloud whose five idle minutes are 1.25 seconds."""
    fast = LocalCloud(tmp_path_factory.mktemp("serverless") / "cloud")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR", "240")
        fast.start()
    yield Hosting(fast)
    fast.stop()


def config(hosting: Hosting, name: str, model: str, **serverless: Any) -> str:
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": VARIANT,
                "ModelName": model,
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2, **serverless},
            }
        ],
    )
    return name


def processes(hosting: Hosting, endpoint: str) -> list[Path]:
    """The folders of the processes that an endpoint has now, one each."""
    return list((hosting.cloud.state_dir / "endpoints").glob(f"{endpoint}-*/{VARIANT}/i-*"))


def statistics(hosting: Hosting, endpoint: str, metric: str, statistic: str) -> float:
    """A statistic of a metric of the variant so far; -1 where nothing is published."""
    now = datetime.now(UTC)
    points = hosting.cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": VARIANT}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=[statistic],
    )["Datapoints"]
    return max((float(point[statistic]) for point in points), default=-1.0)


@contextlib.contextmanager
def refused(code: str, *words: str) -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    for word in words:
        assert word in error["Message"], error["Message"]


def answers(hosting: Hosting, endpoint: str, count: int, body: dict[str, Any]) -> list[Any]:
    """What so many requests at the same time get: the pid of the process, or the code of the error."""
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(hosting.ask(endpoint, body)["pid"])
        except ClientError as error:
            found.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.long
def test_a_serverless_endpoint_starts_cold_stays_warm_throttles_and_goes_to_zero(
    hosting: Hosting, tmp_path: Path
) -> None:
    hosting.endpoint("cold", config(hosting, "cold", hosting.model("cold", start_s=START_S)))
    described = hosting.described("cold", "InService")
    (variant,) = described["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 2}
    assert "DesiredInstanceCount" not in variant
    assert not processes(hosting, "cold"), "a process runs though nobody asked"

    began = time.monotonic()
    asked = [hosting.ask("cold")["pid"]]
    assert time.monotonic() - began > START_S

    def warm() -> bool:
        # At once after another: on a machine that is too busy for that, the process may have ended in between.
        asked.append(hosting.ask("cold")["pid"])
        return bool(asked[-1] == asked[-2])

    wait_for(warm)

    # Two are held until the third is refused; what it gets shows that both are there.
    arrived, enough = tmp_path / "arrived", tmp_path / "enough"
    arrived.mkdir()
    both: list[Any] = []
    holding = threading.Thread(
        target=lambda: both.extend(answers(hosting, "cold", 2, {"tell": str(arrived), "until": str(enough)}))
    )
    holding.start()
    wait_for(lambda: len(list(arrived.iterdir())) == 2)
    assert answers(hosting, "cold", 1, {}) == ["ThrottlingException"]
    # Each request has a process of its own.
    assert len(processes(hosting, "cold")) == 2
    enough.touch()
    holding.join()
    assert len(set(both)) == 2, both
    wait_for(lambda: not processes(hosting, "cold"))
    for pid in both:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    last = hosting.ask("cold")["pid"]
    assert last not in both

    count = len(asked) + len(both) + 1
    assert wait_for(lambda: statistics(hosting, "cold", "Invocations", "Sum") == count)
    assert statistics(hosting, "cold", "ModelSetupTime", "Minimum") > START_S * 1e6
    assert statistics(hosting, "cold", "ModelSetupTime", "SampleCount") == len({*asked, *both, last})
    assert statistics(hosting, "cold", "ServerlessConcurrentExecutionsUtilization", "Maximum") == 1.0
    assert statistics(hosting, "cold", "OverheadLatency", "Maximum") > START_S * 1e6
    assert statistics(hosting, "cold", "InvocationsPerInstance", "Sum") <= 0


@pytest.mark.long
def test_provisioned_concurrency_stays_warm_and_is_changed_without_a_new_configuration(
    hosting: Hosting, tmp_path: Path
) -> None:
    name = "kept"
    hosting.endpoint(name, config(hosting, name, hosting.model(name), ProvisionedConcurrency=1))
    assert len(processes(hosting, name)) == 1
    (warm,) = answers(hosting, name, 1, {})
    # Nobody asks, and it is told; nothing ends in more than the idle time.
    wait_for(lambda: statistics(hosting, name, "ServerlessProvisionedConcurrencyUtilization", "Minimum") == 0.0)
    time.sleep(1.5)
    assert answers(hosting, name, 1, {}) == [warm]
    # Neither is answered before both are there.
    assert len(set(answers(hosting, name, 2, {"meet": [str(tmp_path), 2]}))) == 2
    wait_for(lambda: statistics(hosting, name, "ServerlessProvisionedConcurrencySpilloverInvocations", "Sum") == 1)
    assert statistics(hosting, name, "ServerlessProvisionedConcurrencyUtilization", "Maximum") == 1.0

    def change(**update: int) -> None:
        hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name,
            DesiredWeightsAndCapacities=[{"VariantName": VARIANT, "ServerlessUpdateConfig": update}],
        )

    with refused("ValidationException", "less than or equal to its MaxConcurrency 2", "got 3"):
        change(ProvisionedConcurrency=3)
    change(MaxConcurrency=4, ProvisionedConcurrency=3)
    (variant,) = hosting.settled(name)["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {
        "MemorySizeInMB": 2048,
        "MaxConcurrency": 4,
        "ProvisionedConcurrency": 3,
    }
    assert len(processes(hosting, name)) == 3
    change(ProvisionedConcurrency=1)
    wait_for(lambda: len(processes(hosting, name)) == 1)

    # One that crashes is replaced, though nobody asks for it.
    (warm,) = answers(hosting, name, 1, {})
    os.kill(warm, signal.SIGKILL)
    (another,) = wait_for(lambda: [pid for pid in answers(hosting, name, 1, {}) if isinstance(pid, int)])
    assert another != warm


@pytest.mark.long
def test_a_model_that_never_becomes_healthy_fails_the_endpoint(hosting: Hosting) -> None:
    created = config(hosting, "ill", hosting.model("ill", crash=True))
    hosting.sagemaker.create_endpoint(EndpointName="ill", EndpointConfigName=created)
    described = hosting.settled("ill")
    assert described["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in described["FailureReason"]
    assert "the model is broken" in described["FailureReason"]


@pytest.mark.long
def test_serverless_becomes_instances_but_not_the_other_way_round(hosting: Hosting) -> None:
    serverless = config(hosting, "turns", hosting.model("turns"))
    hosting.endpoint("turns", serverless)
    with_instances = hosting.config("turns-instances", hosting.model("turned"))
    found: list[Any] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                found.append(hosting.ask("turns")["model"])
            except ClientError as error:
                found.append(error.response["Error"])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    hosting.sagemaker.update_endpoint(
        EndpointName="turns", EndpointConfigName=with_instances, RetainAllVariantProperties=True
    )
    (variant,) = hosting.settled("turns")["ProductionVariants"]
    wait_for(lambda: found[-1:] == ["turned"])
    over.set()
    for thread in threads:
        thread.join()
    # The update loses no request.
    assert set(map(str, found)) == {"turns", "turned"}
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    with refused("ValidationException", "serverless"):
        hosting.sagemaker.update_endpoint(EndpointName="turns", EndpointConfigName=serverless)


def test_a_payload_above_4_megabytes_is_refused(hosting: Hosting) -> None:
    hosting.endpoint("large", config(hosting, "large", hosting.model("large")))
    with refused("ValidationError", "4194304"):
        hosting.runtime.invoke_endpoint(EndpointName="large", Body=b"x" * (4 * 1024 * 1024 + 1))
    with refused("ModelError", "4194304"):
        hosting.runtime.invoke_endpoint(EndpointName="large", Body=json.dumps({"size": 4 * 1024 * 1024 + 1}))


@pytest.mark.parametrize(
    ("variant", "request_members", "words"),
    [
        ({"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}, {}, ("InstanceType", "exclude each other")),
        ({"ServerlessConfig": {"MemorySizeInMB": 1500, "MaxConcurrency": 1}}, {}, ("MemorySizeInMB", "1500")),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1, "ProvisionedConcurrency": 2}},
            {},
            ("ProvisionedConcurrency", "MaxConcurrency 1", "got 2"),
        ),
        ({}, {"EnableNetworkIsolation": True}, ("network isolation",)),
        (
            {},
            {
                "DataCaptureConfig": {
                    "EnableCapture": True,
                    "InitialSamplingPercentage": 100,
                    "DestinationS3Uri": "s3://b/c",
                    "CaptureOptions": [{"CaptureMode": "Input"}],
                }
            },
            ("data capture",),
        ),
        ({}, {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/o"}}}, ("asynchronous",)),
        ({}, {"ProductionVariants": 2}, ("multiple production variants",)),
    ],
)
def test_what_serverless_inference_excludes_is_refused_by_name(
    hosting: Hosting, variant: dict[str, Any], request_members: dict[str, Any], words: tuple[str, ...]
) -> None:
    with contextlib.suppress(ClientError):
        hosting.model("plain")
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
    first = {"VariantName": "a", "ModelName": "plain", "ServerlessConfig": serverless, **variant}
    count = request_members.pop("ProductionVariants", 1)
    with refused("ValidationException", *words):
        hosting.sagemaker.create_endpoint_config(
            EndpointConfigName="refused",
            ProductionVariants=[first, {**first, "VariantName": "b"}][:count],
            **request_members,
        )
