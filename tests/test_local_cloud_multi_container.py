"""Models of several containers in the local cloud, through boto3: each by its name, or one after the other."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.containers.engine import Image
from local_cloud.sagemaker.hosting import endpoint_plans, models
from local_cloud.sagemaker.hosting.fleet import Fleet, Variant
from local_cloud.sagemaker.hosting.server import ServerSpec
from local_cloud.sagemaker.hosting.serving_containers import ServingContainer
from tests.hosted_images import (
    BUCKET,
    DOCKERFILE,
    LABELS,
    MULTI_MODEL_SERVER,
    ONE_OF_SEVERAL_SERVER,
    Hosting,
    archive_of,
)
from tests.local_cloud_fixtures import LocalCloud
from tests.test_local_cloud_fleet import Engine, Logs, stream
from tests.waiting import wait_for


class Several(Hosting):
    """What a test says to models of several containers."""

    def __init__(self, cloud: LocalCloud) -> None:
        super().__init__(cloud)
        self.unlabelled = self.image
        self.image = self.build_context("one-of-several.zip", DOCKERFILE + LABELS, ONE_OF_SEVERAL_SERVER)

    def container(self, name: str, host: str | None = None, **behaviour: Any) -> dict[str, Any]:
        """A container whose model has that name."""
        host_name = {"ContainerHostname": host} if host else {}
        return {"Image": self.image, "ModelDataUrl": self.artefact(name, **behaviour), **host_name}

    def create(self, name: str, mode: str | None, *containers: dict[str, Any]) -> None:
        execution = {"InferenceExecutionConfig": {"Mode": mode}} if mode else {}
        self.sagemaker.create_model(
            ModelName=name, Containers=list(containers), ExecutionRoleArn=self.role, **execution
        )

    def serve(self, name: str, mode: str | None, *containers: dict[str, Any]) -> str:
        """An endpoint that is in service."""
        self.create(name, mode, *containers)
        return self.endpoint(name, self.config(name, name))

    def text(self, endpoint: str, body: str, host: str | None = None, **arguments: Any) -> str:
        target = {"TargetContainerHostname": host} if host else {}
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body.encode(), **target, **arguments)
        return str(answer["Body"].read().decode())

    def error(self, *arguments: Any, **more: Any) -> dict[str, Any]:
        with pytest.raises(ClientError) as caught:
            self.text(*arguments, **more)
        return dict(caught.value.response)


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Several:
    return Several(cloud)


@pytest.fixture(scope="module")
def direct(hosting: Several) -> str:
    """An endpoint of two containers, each invoked by its name."""
    return hosting.serve("direct", "Direct", hosting.container("red", "one"), hosting.container("green", "two"))


@pytest.fixture(scope="module")
def chain(hosting: Several) -> str:
    """An inference pipeline of three containers, of which the second has a name."""
    first, second, third = (hosting.container(name) for name in ("red", "green", "blue"))
    return hosting.serve("chain", None, first, {**second, "ContainerHostname": "middle"}, third)


def test_a_request_reaches_the_container_that_it_names(hosting: Several, direct: str) -> None:
    answers = [hosting.text(direct, "x", host, ContentType="text/csv", Accept="a/b") for host in ("one", "two")]
    assert answers == ["red[text/csv>a/b](x)", "green[text/csv>a/b](x)"]
    assert len({hosting.text(direct, "port", host) for host in ("one", "two")}) == 2


@pytest.mark.parametrize(
    ("endpoint", "host", "words"),
    [
        ("direct", None, "needs a TargetContainerHostname, one of: one, two"),
        ("direct", "three", "Container three of endpoint direct not found; it has: one, two."),
        ("chain", "middle", "Endpoint chain is not configured for direct invocation"),
        ("direct-alone", "one", "Endpoint direct-alone is not configured for direct invocation"),
    ],
)
def test_a_name_that_does_not_fit_the_endpoint_is_a_validation_error(
    hosting: Several, direct: str, chain: str, endpoint: str, host: str | None, words: str
) -> None:
    if endpoint == "direct-alone":
        hosting.serve(endpoint, None, hosting.container("red", "one"))
    response = hosting.error(endpoint, "x", host)
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ValidationError", 400)
    assert words in response["Error"]["Message"]


def test_an_error_names_its_container_and_its_log(hosting: Several, direct: str) -> None:
    response = hosting.error(direct, "fail green", "two")
    assert response["OriginalStatusCode"] == 418
    assert 'Received client error (418) from two with message "fail green".' in response["Error"]["Message"]
    assert response["LogStreamArn"].endswith("/two")
    logs, group = hosting.cloud.client("logs"), f"/aws/sagemaker/Endpoints/{direct}"

    def streams() -> list[str]:
        try:
            return [stream["logStreamName"] for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]]
        except logs.exceptions.ResourceNotFoundException:
            return []

    wait_for(lambda: len(streams()) == 2, what="both containers have printed")
    variants, instances, hosts = zip(*(name.split("/") for name in streams()), strict=True)
    assert (set(variants), len(set(instances)), sorted(hosts)) == ({direct}, 1, ["one", "two"])
    name = response["LogStreamArn"].split("log-stream:")[1]
    # A stream is there before its first line is.
    (event,) = wait_for(lambda: logs.get_log_events(logGroupName=group, logStreamName=name)["events"])
    assert event["message"] == "serves green"


def test_a_container_that_dies_is_replaced(hosting: Several) -> None:
    endpoint = hosting.serve("mourns", "Direct", hosting.container("red", "one"), hosting.container("green", "two"))
    assert hosting.error(endpoint, "die red", "one")["OriginalStatusCode"] == 502

    def answers(host: str) -> bool:
        try:
            return bool(hosting.text(endpoint, "x", host))
        except ClientError as error:
            # A process that ends may hang up before it closes its door: whoever knocks in between is hung up on, too.
            late = "closed the connection" in str(error.response.get("OriginalMessage"))
            assert late or error.response["Error"]["Code"] == "ServiceUnavailable", error  # noqa: PT017 - a success is fine, too
            return False

    wait_for(lambda: answers("one"), what="the container is replaced")
    assert [hosting.text(endpoint, "x", host)[:5] for host in ("one", "two")] == ["red[N", "green"]


def test_an_instance_with_one_container_down_is_not_ready(tmp_path: Path) -> None:
    engine, image = Engine(200), Image("s3://a/b", "b")
    (tmp_path / "model").mkdir()
    specs = [ServerSpec("endpoint", "blue", image, tmp_path / "model", {}, container=name) for name in ("one", "two")]
    blue = Variant(engine, specs, tmp_path, lambda name: stream(Logs(), name), weight=1.0, least_busy=False)
    blue.grow_to(1, threading.Event())
    assert blue.ready == list(blue.instances)
    blue.instances[0].servers["one"].ready = False
    assert blue.ready == []
    Fleet([blue]).stop(0, 1)


def test_a_container_that_does_not_start_fails_the_endpoint_by_name(hosting: Several) -> None:
    flawed = hosting.container("flawed", "two", crash=True)
    hosting.create("cracked", "Direct", hosting.container("red", "one"), flawed)
    hosting.sagemaker.create_endpoint(EndpointName="cracked", EndpointConfigName=hosting.config("cracked", "cracked"))
    described = hosting.settled("cracked")
    assert described["EndpointStatus"] == "Failed"
    assert "The two container for production variant cracked did not pass the ping" in described["FailureReason"]
    assert "the model is broken" in described["FailureReason"]


def test_in_a_pipeline_each_container_gets_what_the_one_before_it_answered(hosting: Several, chain: str) -> None:
    answer = hosting.runtime.invoke_endpoint(EndpointName=chain, Body=b"x", ContentType="text/csv", Accept="a/b")
    assert answer["Body"].read() == b"blue[text/x-green>a/b](green[text/x-red>None](red[text/csv>None](x)))", (
        "what the caller accepts is the last one's business"
    )
    assert answer["ContentType"] == "text/x-blue"


def test_the_first_container_that_fails_ends_a_pipeline(hosting: Several, chain: str) -> None:
    response = hosting.error(chain, "fail green")
    assert 'Received client error (418) from middle with message "fail green".' in response["Error"]["Message"]
    assert hosting.error(chain, "fail blue")["Error"]["Message"].startswith(
        "Received client error (418) from container-3"
    )


def test_a_multi_model_container_can_be_part_of_a_pipeline(hosting: Several) -> None:
    image = hosting.build_context("multi-model-part.zip", DOCKERFILE + LABELS, MULTI_MODEL_SERVER)
    hosting.cloud.client("s3").put_object(Bucket=BUCKET, Key="part/a.tar.gz", Body=archive_of("a"))
    many = {"Image": image, "Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/part/"}
    endpoint = hosting.serve("part", "Serial", many, hosting.container("red"))
    answer = hosting.text(endpoint, "{}", TargetModel="a.tar.gz")
    assert answer.startswith('red[application/json>None]({"name": "a"')
    assert "is missing a target model header" in hosting.error(endpoint, "{}")["Error"]["Message"]


def test_containers_that_do_not_fit_together_are_refused(hosting: Several) -> None:
    one, two = hosting.container("red", "one"), hosting.container("green", "two")

    def refusal(mode: str | None, *containers: dict[str, Any]) -> tuple[str, str]:
        with pytest.raises(ClientError) as caught:
            hosting.create("refused", mode, *containers)
        error = caught.value.response["Error"]
        return error["Code"], error["Message"]

    for mode, containers, words in (
        ("Direct", (one, {**two, "ContainerHostname": "one"}), "must be unique; given more than once: one"),
        ("Direct", (one, hosting.container("green")), "needs a ContainerHostname for each container"),
        ("Direct", (one,), "is for several Containers"),
        (
            None,
            ({**one, "Image": hosting.unlabelled}, two),
            f"Your Ecr Image {hosting.unlabelled} does not contain required "
            "com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true Docker label(s).",
        ),
        ("Serial", ({**one, "Mode": "MultiModel"},) * 2, "More than one container in MultiModel mode"),
    ):
        code, message = refusal(mode, *containers)
        assert code == "ValidationException"
        assert words in message
    assert refusal("Direct", one, {**two, "Mode": "MultiModel"})[0] == "UnsupportedOperation"


def test_each_container_is_measured(hosting: Several) -> None:
    parts = (hosting.container("red", "one"), hosting.container("green", "two"))
    endpoint = hosting.serve("weighed", "Direct", *parts)
    hosting.text(endpoint, "x", "one")
    hosting.error(endpoint, "fail green", "two")
    pipeline = hosting.serve("weighed-chain", "Serial", *parts)
    hosting.text(pipeline, "x")
    now, cloudwatch = datetime.datetime.now(datetime.UTC), hosting.cloud.client("cloudwatch")

    def count(of: str, metric: str, container: str | None, statistic: str = "SampleCount") -> float:
        names = {"EndpointName": of, "VariantName": of, **({"ContainerName": container} if container else {})}
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in names.items()],
            StartTime=now - datetime.timedelta(minutes=10),
            EndTime=now + datetime.timedelta(minutes=10),
            Period=3600,
            Statistics=[statistic],
        )["Datapoints"]
        return float(sum(point[statistic] for point in points))

    wait_for(lambda: count(pipeline, "Invocations", None) == 1, what="the last invocation is measured")
    assert count(endpoint, "Invocations", None) == 2
    assert [count(endpoint, "Invocations", container) for container in ("one", "two")] == [1, 1]
    assert [count(endpoint, "Invocation4XXErrors", container, "Sum") for container in ("one", "two")] == [0, 1]
    assert [count(endpoint, "ContainerLatency", container) for container in ("one", "two")] == [1, 1]
    assert [count(pipeline, "ContainerLatency", container) for container in ("one", "two")] == [1, 1]
    assert count(pipeline, "Invocations", "one") == 0


def test_what_an_earlier_version_kept_has_one_container() -> None:
    kept = {"image": "s3://a/b.zip", "model_data": None, "environment": {"A": "b"}}
    wanted = ServingContainer("s3://a/b.zip", None, {"A": "b"})
    assert models.containers_of({"ServingContainer": kept}) == [wanted]
    planned = {"Image": "s3://a/b.zip", "ModelData": None, "Environment": {"A": "b"}}
    assert endpoint_plans.containers_of(planned) == ([wanted], "Serial")


@pytest.mark.container
@pytest.mark.timeout(600)
def test_containers_of_an_engine_share_an_instance(own_cloud: LocalCloud) -> None:
    assert own_cloud.description["runner"] == "docker"
    hosting = Several(own_cloud)
    parts = (hosting.container("red", "one"), hosting.container("green", "two"))
    endpoint = hosting.serve("contained", "Direct", *parts)
    assert hosting.text(endpoint, "x", "two", ContentType="text/csv", Accept="a/b") == "green[text/csv>a/b](x)"
    assert len({hosting.text(endpoint, "port", host) for host in ("one", "two")}) == 2
    pipeline = hosting.serve("contained-chain", "Serial", *parts)
    assert hosting.text(pipeline, "x", ContentType="a", Accept="b") == "green[text/x-red>b](red[a>None](x))"
