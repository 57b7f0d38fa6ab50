"""Multi-model endpoints of the local cloud, through boto3: one container, as many models as there are archives below a prefix."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.containers.engine import ContainerSpec, Image
from local_cloud.sagemaker.hosting import loaded_models
from local_cloud.sagemaker.hosting.container_calls import Call, Reply
from local_cloud.sagemaker.hosting.fleet import Variant
from local_cloud.sagemaker.hosting.loaded_models import LoadedModels, ModelHost, NotReady
from local_cloud.sagemaker.hosting.model_archives import ModelArchives, NoModel
from local_cloud.sagemaker.hosting.server import NotHealthy, ServerSpec
from tests.hosted_images import BUCKET, DOCKERFILE, LABELS, LOGS, MULTI_MODEL_SERVER, READ, Hosting, archive_of
from tests.local_cloud_fixtures import LocalCloud
from tests.test_local_cloud_fleet import SERVER, Engine, Logs, Process, stream
from tests.waiting import wait_for


class MultiModel(Hosting):
    """What a test says to multi-model endpoints."""

    def __init__(self, cloud: LocalCloud) -> None:
        super().__init__(cloud)
        self.unlabelled, self.s3 = self.image, cloud.client("s3")
        self.image = self.build_context("multi-model.zip", DOCKERFILE + LABELS, MULTI_MODEL_SERVER)

    def put(self, endpoint: str, *models: str, **behaviour: Any) -> None:
        """Archives below the endpoint's prefix."""
        for model in models:
            content = archive_of(model, **behaviour)
            self.s3.put_object(Bucket=BUCKET, Key=f"models/{endpoint}/{model}.tar.gz", Body=content)

    def container(self, name: str, **members: Any) -> dict[str, Any]:
        """The container definition of a multi-model endpoint of that name."""
        prefix = f"s3://{BUCKET}/models/{name}/"
        return {"Image": self.image, "Mode": "MultiModel", "ModelDataUrl": prefix, **members}

    def serve(self, name: str, *, count: int = 1, capacity: int = 100, role: str = "", **members: Any) -> str:
        """An endpoint that is in service, with a container that holds so many models."""
        self.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer=self.container(name, Environment={"CAPACITY": str(capacity)}, **members),
            ExecutionRoleArn=role or self.role,
        )
        return self.endpoint(name, self.config(name, name, count=count))

    def of(self, endpoint: str, model: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """What a model answers."""
        return self.ask(endpoint, body or {}, TargetModel=f"{model}.tar.gz")

    def error(self, endpoint: str, **arguments: Any) -> dict[str, Any]:
        with pytest.raises(ClientError) as caught:
            self.ask(endpoint, **arguments)
        return dict(caught.value.response)

    def log(self, endpoint: str) -> list[str]:
        """What the servers of an endpoint printed."""
        logs, group = self.cloud.client("logs"), f"/aws/sagemaker/Endpoints/{endpoint}"
        try:
            return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return []


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> MultiModel:
    return MultiModel(cloud)


@pytest.fixture(scope="module")
def many(hosting: MultiModel) -> str:
    """An endpoint with room for every model."""
    hosting.put("many", "a", "b", "deep/c")
    return hosting.serve("many")


@contextmanager
def refused(*words: str) -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert all(word in caught.value.response["Error"]["Message"] for word in words), caught.value


def test_a_request_reaches_the_model_that_it_names(hosting: MultiModel, many: str) -> None:
    a, c = hosting.of(many, "a"), hosting.of(many, "deep/c")
    assert (a["name"], c["name"]) == ("a", "deep/c")
    assert a["pid"] == c["pid"]
    assert a["headers"]["x-amzn-sagemaker-target-model"] == "a.tar.gz"
    csv = hosting.ask(many, b"", TargetModel="a.tar.gz", ContentType="text/csv", Accept="a/b")
    assert (csv["headers"]["content-type"], csv["headers"]["accept"]) == ("text/csv", "a/b")
    # Opaque, as the contract says: whoever takes the name for the archive's learns it here.
    assert a["path"].startswith("/models/")
    assert "a.tar.gz" not in a["path"]
    assert hosting.of(many, "a")["loads"] == 1


def test_a_model_that_is_new_below_the_prefix_is_served_without_an_update(hosting: MultiModel, many: str) -> None:
    assert hosting.error(many, TargetModel="late.tar.gz")["Error"]["Code"] == "ValidationError"
    hosting.put(many, "late")
    assert hosting.of(many, "late")["name"] == "late"


def test_requests_that_come_together_load_a_model_once(hosting: MultiModel, many: str) -> None:
    hosting.put(many, "slow", load_s=0.5)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: hosting.of(many, "slow"), range(8)))
    assert [answer["loads"] for answer in answers] == [1] * 8


def test_the_least_recently_used_model_is_unloaded_when_there_is_no_room(hosting: MultiModel) -> None:
    hosting.put("small", "a", "b", "c")
    endpoint = hosting.serve("small", capacity=2)
    for model in ("a", "b", "a", "c"):
        hosting.of(endpoint, model)
    answers = [hosting.of(endpoint, model) for model in ("a", "c", "b")]
    assert [answer["loads"] for answer in answers] == [1, 1, 2]
    assert all(answer["loaded"] == 2 for answer in answers)
    wait_for(lambda: any(line.startswith("DELETE") for line in hosting.log(endpoint)), what="the unloading is told")
    # The name of the model that went first is b's: the header tells the container.
    assert next(line for line in hosting.log(endpoint) if line.startswith("DELETE")).endswith("b.tar.gz")


def test_a_replaced_archive_is_not_seen_while_the_instance_has_the_old_one(hosting: MultiModel) -> None:
    hosting.put("replaced", "a", version=1)
    hosting.put("replaced", "b")
    endpoint = hosting.serve("replaced", capacity=1)
    assert hosting.of(endpoint, "a")["version"] == 1
    hosting.put("replaced", "a", version=2)
    assert hosting.of(endpoint, "a")["version"] == 1
    # Unloaded from the memory, but still on the disk.
    hosting.of(endpoint, "b")
    again = hosting.of(endpoint, "a")
    assert (again["loads"], again["version"]) == (2, 1)


def test_without_caching_each_request_fetches_its_model_anew(hosting: MultiModel) -> None:
    hosting.put("uncached", "a", version=1)
    endpoint = hosting.serve("uncached", MultiModelConfig={"ModelCacheSetting": "Disabled"})
    assert hosting.of(endpoint, "a")["version"] == 1
    hosting.put("uncached", "a", version=2)
    again = hosting.of(endpoint, "a")
    assert (again["version"], again["loads"], again["loaded"]) == (2, 2, 1)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            "nowhere.tar.gz",
            "Failed to download model data(bucket: hosting, key: models/many/nowhere.tar.gz). Please ensure",
        ),
        ("plain.tar.gz", "Failed to extract model data(bucket: hosting, key: models/many/plain.tar.gz)"),
        ("../other/a.tar.gz", "relative"),
        ("/a.tar.gz", "relative"),
        ("deep//c.tar.gz", "relative"),
    ],
)
def test_a_model_that_cannot_be_had_is_a_validation_error(
    hosting: MultiModel, many: str, target: str, words: str
) -> None:
    hosting.s3.put_object(Bucket=BUCKET, Key="models/many/plain.tar.gz", Body=b"no archive")
    response = hosting.error(many, TargetModel=target)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["Error"]["Code"] == "ValidationError"
    assert words in response["Error"]["Message"]


def test_models_are_fetched_as_the_models_role(hosting: MultiModel) -> None:
    hosting.put("locked", "open", "closed")
    readable = [f"arn:aws:s3:::{BUCKET}/multi-model.zip", f"arn:aws:s3:::{BUCKET}/models/locked/open.tar.gz"]
    role = hosting.cloud.role("locked", {**READ, "Resource": readable}, LOGS)
    endpoint = hosting.serve("locked", role=role)
    assert hosting.of(endpoint, "open")["name"] == "open"
    response = hosting.error(endpoint, TargetModel="closed.tar.gz")
    assert response["Error"]["Code"] == "ValidationError"
    assert f"s3:GetObject on arn:aws:s3:::{BUCKET}/models/locked/closed.tar.gz" in response["Error"]["Message"]
    hosting.cloud.role("locked", READ, LOGS)
    assert hosting.of(endpoint, "closed")["name"] == "closed"


def test_the_target_model_belongs_to_multi_model_endpoints_alone(hosting: MultiModel, many: str) -> None:
    plain = Hosting(hosting.cloud)
    single = plain.endpoint("single-model")
    response = hosting.error(single, TargetModel="a.tar.gz")
    assert response["Error"] == {
        "Code": "ValidationError",
        "Message": "Endpoint single-model is not a multi-model endpoint and does not support target model header.",
    }
    assert "is missing a target model header" in hosting.error(many)["Error"]["Message"]


def test_a_model_that_the_container_refuses_is_a_model_error_of_this_request_alone(
    hosting: MultiModel, many: str
) -> None:
    hosting.put(many, "strange", refuse=400)
    response = hosting.error(many, TargetModel="strange.tar.gz")
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 400
    assert "no such format" in response["OriginalMessage"]
    assert hosting.of(many, "a")["name"] == "a"
    failed = hosting.error(many, TargetModel="a.tar.gz", body={"fail": 500})
    assert (failed["Error"]["Code"], failed["OriginalStatusCode"]) == ("ModelError", 500)


def test_a_container_that_starts_again_has_its_models_loaded_again(hosting: MultiModel) -> None:
    hosting.put("dies", "a")
    endpoint = hosting.serve("multi-dies", ModelDataUrl=f"s3://{BUCKET}/models/dies")
    before = hosting.of(endpoint, "a")
    assert hosting.error(endpoint, TargetModel="a.tar.gz", body={"die": True})["OriginalStatusCode"] == 502

    def answers() -> bool:
        try:
            return bool(hosting.of(endpoint, "a"))
        except ClientError as error:
            return error.response["Error"]["Code"] != "ServiceUnavailable"

    wait_for(answers, what="the container is replaced")
    assert hosting.of(endpoint, "a")["pid"] != before["pid"]


def test_a_model_that_the_container_unloaded_by_itself_is_loaded_again(hosting: MultiModel, many: str) -> None:
    loads = hosting.of(many, "b", {"forget": True})["loads"]
    assert hosting.of(many, "b")["loads"] == loads + 1


def test_requests_for_a_model_go_to_the_instance_that_has_it(hosting: MultiModel) -> None:
    hosting.put("pair", "a")
    endpoint = hosting.serve("pair", count=2)
    assert len({hosting.of(endpoint, "a")["pid"] for _ in range(12)}) == 1


def test_what_a_multi_model_container_cannot_be_is_refused(hosting: MultiModel) -> None:
    def create(**members: Any) -> None:
        container = {**hosting.container("refused"), **members}
        hosting.sagemaker.create_model(
            ModelName="refused",
            PrimaryContainer={name: value for name, value in container.items() if value is not None},
            ExecutionRoleArn=hosting.role,
        )

    label = "com.amazonaws.sagemaker.capabilities.multi-models=true"
    with refused(f"Your Ecr Image {hosting.unlabelled} does not contain required {label} Docker label(s)."):
        create(Image=hosting.unlabelled)
    with refused("ModelDataUrl"):
        create(ModelDataUrl=None)
    with refused("prefix"):
        create(ModelDataUrl=f"s3://{BUCKET}/models/a.tar.gz")
    with refused("MultiModelConfig"):
        create(Mode="SingleModel", MultiModelConfig={"ModelCacheSetting": "Enabled"})
    source = {"S3Uri": f"s3://{BUCKET}/models/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    with refused("ModelDataSource cannot be used with multi-model endpoints"):
        create(ModelDataUrl=None, ModelDataSource={"S3DataSource": source})


def test_loading_is_measured(hosting: MultiModel) -> None:
    hosting.put("counted", "a", "b", load_s=0.2)
    endpoint = hosting.serve("counted", capacity=1)
    began = time.monotonic()
    for model in ("a", "a", "b"):
        hosting.of(endpoint, model)
    took_us = (time.monotonic() - began) * 1e6
    now, cloudwatch = datetime.datetime.now(datetime.UTC), hosting.cloud.client("cloudwatch")

    def statistic(metric: str, of: str) -> float:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": endpoint}],
            StartTime=now - datetime.timedelta(minutes=10),
            EndTime=now + datetime.timedelta(minutes=10),
            Period=3600,
            Statistics=[of],
        )["Datapoints"]
        return float(sum(point[of] for point in points))

    wait_for(lambda: statistic("ModelCacheHit", "SampleCount") == 3, what="the invocations are measured")
    assert statistic("ModelCacheHit", "Sum") == 1
    assert statistic("ModelLoadingWaitTime", "SampleCount") == 3
    # Two loads of 0.2 s, and no more than what the caller saw of it.
    assert 400_000 < statistic("ModelLoadingWaitTime", "Sum") < took_us
    assert 400_000 < statistic("ModelLoadingTime", "Sum") < took_us
    assert statistic("ModelDownloadingTime", "SampleCount") == 2
    assert statistic("ModelUnloadingTime", "SampleCount") == 1
    # Loading is not the model's own latency: of all that the caller waited, they are different parts.
    assert statistic("ModelLatency", "Sum") + statistic("ModelLoadingWaitTime", "Sum") < took_us


@pytest.mark.long
def test_a_stack_with_a_multi_model_endpoint_survives_a_kill(own_cloud: LocalCloud) -> None:
    hosting = MultiModel(own_cloud)
    hosting.put("stacked", "a", "b")
    container = hosting.container("stacked", MultiModelConfig={"ModelCacheSetting": "Enabled"})
    variant = {"VariantName": "v", "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]}, "InstanceType": "ml.m5.large"}
    template = {
        "Resources": {
            "Model": {
                "Type": "AWS::SageMaker::Model",
                "Properties": {"Containers": [container], "ExecutionRoleArn": hosting.role},
            },
            "Config": {
                "Type": "AWS::SageMaker::EndpointConfig",
                "Properties": {
                    "ProductionVariants": [{**variant, "InitialInstanceCount": 1, "InitialVariantWeight": 1}]
                },
            },
            "Endpoint": {
                "Type": "AWS::SageMaker::Endpoint",
                "Properties": {
                    "EndpointName": "stacked",
                    "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                },
            },
        }
    }
    cloudformation = own_cloud.client("cloudformation")
    cloudformation.create_stack(StackName="stacked", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="stacked", WaiterConfig={"Delay": 1})
    described = hosting.sagemaker.describe_model(ModelName=hosting.sagemaker.list_models()["Models"][0]["ModelName"])
    assert described["Containers"][0]["Mode"] == "MultiModel"
    assert described["Containers"][0]["MultiModelConfig"] == {"ModelCacheSetting": "Enabled"}
    first = hosting.of("stacked", "a")
    own_cloud.kill()
    own_cloud.start()
    assert hosting.settled("stacked")["EndpointStatus"] == "InService"
    again = hosting.of("stacked", "a")
    assert (again["name"], again["loads"]) == ("a", 1)
    assert again["pid"] != first["pid"]


# What takes a minute, or many gigabytes, over the wire: with a container of the test's own.


class Archives(ModelArchives):
    """Archives that take as long as a test says, and as much of the disk."""

    may_come = threading.Event()
    may_come.set()
    sizes: dict[str, int] = {}
    downloads: list[str] = []

    def download(self, s3: Any, target_model: str, folder: Path, staging: Path) -> int:
        assert self.may_come.wait(60)
        if target_model == "broken":
            raise NoModel("broken")
        self.downloads.append(target_model)
        (folder / "model").mkdir(parents=True)
        staging.mkdir(exist_ok=True)
        return self.sizes.get(target_model, 1)


class Container:
    """A container that holds so many models."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capacity: int = 100) -> None:
        self.capacity, self.loaded, self.calls = capacity, set[str](), list[str]()
        self.told: list[tuple[str, float]] = []
        monkeypatch.setattr(Archives, "downloads", [])
        host = ModelHost(Archives("bucket", ""), None, self.ask, lambda *value: self.told.append(value))
        self.folder = tmp_path / "primary"
        self.models = LoadedModels(host, Engine(200), self.folder, lambda: 1)

    async def ask(self, port: int, call: Call, timeout_s: float) -> Reply:
        target = call.headers["x-amzn-sagemaker-target-model"]
        self.calls.append(f"{call.method} {target}")
        await asyncio.sleep(0.01)
        if call.method == "DELETE":
            self.loaded.discard(target)
        elif len(self.loaded) >= self.capacity:
            return Reply(507, b"full", {}, 0.0)
        else:
            self.loaded.add(target)
        return Reply(200, b"", {}, 0.01)

    async def use(self, target: str, for_s: float = 0.0, timeout_s: float = 60.0) -> bool:
        async with self.models.using(target, timeout_s) as use:
            assert target in self.loaded
            await asyncio.sleep(for_s)
            assert target in self.loaded, "it was unloaded while it was used"
        return use.hit


def test_a_model_that_takes_too_long_goes_on_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Archives, "may_come", may_come := threading.Event())
    container = Container(tmp_path, monkeypatch)

    async def story() -> None:
        with pytest.raises(NotReady):
            await container.use("a", timeout_s=0.05)
        may_come.set()
        while "a" not in container.loaded:
            # Nobody asks for it any more.
            await asyncio.sleep(0.01)
        await container.use("a")
        assert await container.use("a"), "it was loaded meanwhile"

    asyncio.run(story())
    assert Archives.downloads == ["a"]
    assert container.calls == ["POST a"]


def test_a_model_that_is_used_is_not_unloaded_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = Container(tmp_path, monkeypatch, capacity=1)

    async def story() -> None:
        names = [f"model-{number}" for number in range(5)]
        await asyncio.gather(*(container.use(name, for_s=0.05) for name in names * 3))

    asyncio.run(story())
    assert len(container.loaded) == 1


def test_a_model_that_failed_is_tried_anew_by_the_next_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = Container(tmp_path, monkeypatch, capacity=0)

    async def story() -> None:
        for _ in range(2):
            with pytest.raises(NoModel):
                await container.use("broken")
            with pytest.raises(loaded_models.NotLoaded):
                await container.use("a")
        container.capacity = 1
        await container.use("a")

    asyncio.run(story())
    assert container.calls.count("POST a") == 3
    assert Archives.downloads == ["a"]


def test_models_that_are_not_loaded_leave_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_models, "DISK_BYTES", 10)
    monkeypatch.setattr(Archives, "sizes", {"a": 4, "b": 4, "c": 4})
    container = Container(tmp_path, monkeypatch, capacity=1)

    async def story() -> None:
        for name in ("a", "b", "a", "c", "a", "b"):
            await container.use(name)

    asyncio.run(story())
    # Room for two: c pushed b out, which was loaded longest ago, and only b is fetched twice.
    assert Archives.downloads == ["a", "b", "c", "b"]
    assert len(list((container.folder / "models").iterdir())) == 2


def test_a_container_that_cannot_list_its_models_never_becomes_healthy(tmp_path: Path) -> None:
    class NoList(Engine):
        def start(self, spec: ContainerSpec) -> Process:
            program = SERVER.replace("int(sys.argv[1])", "404 if self.path == '/models' else 200")
            return Process([sys.executable, "-c", program, "1"], spec)

    host = ModelHost(Archives("bucket", ""), None, Container.ask, lambda *_: None)  # type: ignore[arg-type]
    image = Image("s3://a/b", "b")
    spec = ServerSpec("endpoint", "blue", image, None, {}, health_check_timeout_s=0.7, models=host)
    blue = Variant(NoList(200), [spec], tmp_path, lambda name: stream(Logs(), name), weight=1.0, least_busy=False)
    with pytest.raises(NotHealthy, match="/ping and GET /models were not answered with 200"):
        blue.grow_to(1, threading.Event())


def test_the_number_of_loaded_models_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = Container(tmp_path, monkeypatch)
    asyncio.run(container.use("a"))
    container.models.tell_count()
    container.models.forget()
    container.models.tell_count()
    assert [value for name, value in container.told if name == "LoadedModelCount"] == [1.0, 0.0]


@pytest.mark.container
@pytest.mark.timeout(600)
def test_in_containers_many_models_share_one(own_cloud: LocalCloud) -> None:
    assert own_cloud.description["runner"] == "docker"
    hosting = MultiModel(own_cloud)
    hosting.put("contained", "a", "b")
    endpoint = hosting.serve("contained", capacity=1)
    # The server itself checks that its models are below /opt/ml/models.
    assert [hosting.of(endpoint, model)["loads"] for model in ("a", "b", "a")] == [1, 1, 2]
    hosting.image = hosting.unlabelled
    hosting.sagemaker.create_model(
        ModelName="unlabelled", PrimaryContainer=hosting.container("contained"), ExecutionRoleArn=hosting.role
    )
    # A base image might have brought the label, so it is known once the image is built.
    config = hosting.config("unlabelled", "unlabelled")
    hosting.sagemaker.create_endpoint(EndpointName="unlabelled", EndpointConfigName=config)
    described = hosting.settled("unlabelled", timeout_s=300)
    assert described["EndpointStatus"] == "Failed"
    assert (
        "does not contain required com.amazonaws.sagemaker.capabilities.multi-models=true" in described["FailureReason"]
    )
