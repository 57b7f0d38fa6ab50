"""Models, endpoint configurations and endpoints of the local cloud, through boto3, with servers that really run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.containers import leftovers
from tests.hosted_images import BUCKET, LOGS, READ, Hosting, fits
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

PING_FAILED = (
    "The primary container for production variant {} did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Hosting:
    return Hosting(cloud)


@pytest.fixture(scope="module")
def ordinary(hosting: Hosting) -> str:
    """An endpoint for the tests that only ask."""
    return hosting.endpoint("ordinary")


@pytest.fixture(autouse=True)
def _no_servers_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends what a test left in service: forty servers would slow the last tests down."""
    yield
    if "hosting" not in request.fixturenames:
        return
    sagemaker = request.getfixturevalue("hosting").sagemaker
    for endpoint in sagemaker.list_endpoints(MaxResults=100)["Endpoints"]:
        if endpoint["EndpointName"] == "ordinary":
            continue
        # One that just changes is left to the end of the cloud.
        with contextlib.suppress(ClientError):
            sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])


@contextlib.contextmanager
def refused(code: str, *words: str) -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    for word in words:
        assert word in error["Message"], error["Message"]


def arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:us-east-1:000000000000:{kind}/{name}"


def pids(hosting: Hosting, endpoint: str, count: int) -> set[int]:
    """The processes that answer, once so many have, and all that answer a few requests more."""
    found: set[int] = set()

    def all_found() -> bool:
        found.add(hosting.ask(endpoint)["pid"])
        return len(found) >= count

    wait_for(all_found)
    return found | {hosting.ask(endpoint)["pid"] for _ in range(2 * count)}


def held(folder: Path) -> tuple[dict[str, Any], Path]:
    """A request that is not answered until somebody makes the file."""
    arrived = folder / "arrived"
    arrived.mkdir()
    return {"tell": str(arrived), "until": str(folder / "enough")}, folder / "enough"


def is_there(body: dict[str, Any]) -> None:
    """Wait until the server has such a request."""
    wait_for(lambda: any(Path(body["tell"]).iterdir()), what="the request did not arrive")


class Load:
    """Always has three requests at an endpoint, and remembers which model answered and what failed."""

    def __init__(self, hosting: Hosting, endpoint: str, threads: int = 3) -> None:
        self.models: list[str] = []
        self.errors: list[str] = []
        self._hosting, self._endpoint = hosting, endpoint
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self.models.append(self._hosting.ask(self._endpoint, {"sleep_s": 0.1})["model"])
            except ClientError as error:
                self.errors.append(str(error))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.models)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


# --- Models ------------------------------------------------------------------------------------------------------


def test_a_model_is_described_as_it_was_made(hosting: Hosting) -> None:
    hosting.model("described-Model", environment={"A": "1"})
    described = hosting.sagemaker.describe_model(ModelName="described-Model")
    fits("DescribeModel", described)
    assert described["ModelArn"] == arn("model", "described-model")
    assert described["PrimaryContainer"]["Environment"] == {"A": "1"}
    assert described["ExecutionRoleArn"] == hosting.role
    assert described["EnableNetworkIsolation"] is False
    listed = hosting.sagemaker.list_models(NameContains="described")["Models"]
    assert [model["ModelName"] for model in listed] == ["described-Model"]


def test_a_name_is_taken_in_any_case_and_free_again_after_the_deletion(hosting: Hosting) -> None:
    hosting.model("again")
    with refused("ValidationException", f'Cannot create already existing model "{arn("model", "again")}".'):
        hosting.model("AGAIN")
    hosting.sagemaker.delete_model(ModelName="again")
    with refused("ValidationException", f'Could not find model "{arn("model", "again")}".'):
        hosting.sagemaker.describe_model(ModelName="again")
    hosting.model("AGAIN")


def test_a_model_whose_role_cannot_read_its_data_is_refused_at_once(hosting: Hosting) -> None:
    role = hosting.cloud.role("reads-nothing", LOGS)
    with refused(
        "ValidationException",
        f"Could not access model data at s3://{BUCKET}/unread/model.tar.gz",
        role,
        '"s3:GetObject" permissions',
    ):
        hosting.model("unread", role=role)


def test_a_model_whose_data_is_not_there_is_refused(hosting: Hosting) -> None:
    with refused("ValidationException", f"Could not find model data at s3://{BUCKET}/nowhere.tar.gz"):
        hosting.sagemaker.create_model(
            ModelName="nowhere",
            PrimaryContainer={"Image": hosting.image, "ModelDataUrl": f"s3://{BUCKET}/nowhere.tar.gz"},
            ExecutionRoleArn=hosting.cloud.role("lists", READ, {"Action": "s3:ListBucket", "Resource": "*"}),
        )


def test_a_role_that_does_not_trust_sagemaker_is_refused(hosting: Hosting) -> None:
    role = hosting.cloud.role("for-lambda", READ, trusts="lambda.amazonaws.com")
    with refused("ValidationException", "Could not assume role", role):
        hosting.model("untrusted", role=role)


def test_whoever_may_not_pass_the_role_gets_no_model(hosting: Hosting) -> None:
    iam = hosting.cloud.client("iam")
    iam.create_user(UserName="modeller")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="modeller", PolicyName="all", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="modeller")["AccessKey"]
    sagemaker = hosting.cloud.client("sagemaker", key["AccessKeyId"], key["SecretAccessKey"])
    with refused("AccessDeniedException", "user/modeller", "iam:PassRole", hosting.role):
        sagemaker.create_model(
            ModelName="passed", PrimaryContainer={"Image": hosting.image}, ExecutionRoleArn=hosting.role
        )


def test_only_an_approved_version_of_the_registry_becomes_a_model(hosting: Hosting) -> None:
    sagemaker = hosting.sagemaker
    sagemaker.create_model_package_group(ModelPackageGroupName="served")
    version = sagemaker.create_model_package(
        ModelPackageGroupName="served",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [
                {
                    "Image": hosting.image,
                    "ModelDataUrl": hosting.artefact("from-registry"),
                    "Environment": {"A": "package", "B": "package"},
                }
            ],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    request = {
        "ModelName": "from-registry",
        "PrimaryContainer": {"ModelPackageName": version, "Environment": {"B": "model"}},
        "ExecutionRoleArn": hosting.role,
    }
    with refused("ValidationException", version, "is not approved", "PendingManualApproval"):
        sagemaker.create_model(**request)
    sagemaker.update_model_package(ModelPackageArn=version, ModelApprovalStatus="Approved")
    sagemaker.create_model(**request)
    described = sagemaker.describe_model(ModelName="from-registry")
    assert described["PrimaryContainer"] == request["PrimaryContainer"]
    # What was made from it while it was approved serves on: a roll-back may go back to it.
    sagemaker.update_model_package(ModelPackageArn=version, ModelApprovalStatus="Rejected")
    hosting.endpoint("from-registry", hosting.config("from-registry", "from-registry"))
    answer = hosting.ask("from-registry", {"environment": ["A", "B"]})
    assert answer["model"] == "from-registry"
    assert answer["environment"] == {"A": "package", "B": "model"}


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"InferenceSpecificationName": "other"}, "InferenceSpecificationName"),
        ({"ImageConfig": {"RepositoryAccessMode": "Vpc"}}, "RepositoryAccessMode"),
        ({"ModelDataUrl": "https://example.com/model.tar.gz"}, "https://example.com"),
    ],
)
def test_what_a_model_cannot_be_is_refused_by_name(hosting: Hosting, container: dict[str, Any], words: str) -> None:
    with refused("UnsupportedOperation", words):
        hosting.sagemaker.create_model(
            ModelName="refused", PrimaryContainer={"Image": hosting.image, **container}, ExecutionRoleArn=hosting.role
        )


def test_uncompressed_model_data_is_served_as_it_lies_in_s3(hosting: Hosting) -> None:
    hosting.cloud.client("s3").put_object(Bucket=BUCKET, Key="flat/model.json", Body=b'{"name": "flat"}')
    source = {"S3Uri": f"s3://{BUCKET}/flat/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    hosting.sagemaker.create_model(
        ModelName="flat",
        PrimaryContainer={"Image": hosting.image, "ModelDataSource": {"S3DataSource": source}},
        ExecutionRoleArn=hosting.cloud.role("lists", READ, {"Action": "s3:ListBucket", "Resource": "*"}),
    )
    hosting.endpoint("flat", hosting.config("flat", "flat"))
    assert hosting.ask("flat")["model"] == "flat"


# --- Endpoint configurations -------------------------------------------------------------------------------------


def test_an_endpoint_config_is_described_with_its_defaults(hosting: Hosting) -> None:
    hosting.config("described")
    described = hosting.sagemaker.describe_endpoint_config(EndpointConfigName="described")
    fits("DescribeEndpointConfig", described)
    assert described["EndpointConfigArn"] == arn("endpoint-config", "described")
    assert described["ProductionVariants"][0]["InitialVariantWeight"] == 1.0
    listed = hosting.sagemaker.list_endpoint_configs(NameContains="described")["EndpointConfigs"]
    assert [config["EndpointConfigName"] for config in listed] == ["described"]
    with refused("ValidationException", "Cannot create already existing endpoint configuration"):
        hosting.config("described", "described")
    hosting.sagemaker.delete_endpoint_config(EndpointConfigName="described")
    with refused(
        "ValidationException", f'Could not find endpoint configuration "{arn("endpoint-config", "described")}".'
    ):
        hosting.sagemaker.delete_endpoint_config(EndpointConfigName="described")


def test_an_endpoint_config_needs_its_models(hosting: Hosting) -> None:
    with refused("ValidationException", f'Could not find model "{arn("model", "missing")}".'):
        hosting.config("without-model", "missing")


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ({"EnableSSMAccess": True}, "EnableSSMAccess"),
        ({"CoreDumpConfig": {"DestinationS3Uri": "s3://b"}}, "CoreDumpConfig"),
        ({"RoutingConfig": {"RoutingStrategy": "PREFIX_AWARE"}}, "PREFIX_AWARE"),
    ],
)
def test_what_a_variant_cannot_be_is_refused_by_name(hosting: Hosting, variant: dict[str, Any], words: str) -> None:
    with contextlib.suppress(ClientError):
        hosting.model("plain")
    with refused("UnsupportedOperation", words, "variant plain"):
        hosting.config("refused", "plain", **variant)


@pytest.mark.parametrize(
    "member",
    [
        {"AsyncInferenceConfig": {"OutputConfig": {"S3FailurePath": "s3://b/o"}}},
        {"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}},
        {"ExecutionRoleArn": "arn:aws:iam::000000000000:role/hosting"},
    ],
)
def test_what_an_endpoint_config_cannot_be_is_refused_by_name(hosting: Hosting, member: dict[str, Any]) -> None:
    variant = {"VariantName": "a", "ModelName": "a", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    with refused("UnsupportedOperation", *member):
        hosting.sagemaker.create_endpoint_config(EndpointConfigName="refused", ProductionVariants=[variant], **member)


# --- Endpoints ---------------------------------------------------------------------------------------------------


def test_an_endpoint_is_created_in_the_background_and_serves(hosting: Hosting, tmp_path: Path) -> None:
    healthy = tmp_path / "healthy"
    config = hosting.config("Born", hosting.model("born", start_when=str(healthy)))
    created = hosting.sagemaker.create_endpoint(EndpointName="Born", EndpointConfigName=config)
    assert created["EndpointArn"] == arn("endpoint", "born")
    creating = hosting.described("Born", "Creating")
    assert creating["PendingDeploymentSummary"]["EndpointConfigName"] == "Born"
    with refused("ValidationException", f'Cannot create already existing endpoint "{arn("endpoint", "born")}".'):
        hosting.sagemaker.create_endpoint(EndpointName="BORN", EndpointConfigName=config)
    with refused("ValidationException", f'Cannot update in-progress endpoint "{arn("endpoint", "born")}".'):
        hosting.sagemaker.update_endpoint(EndpointName="Born", EndpointConfigName=config)
    with refused("ValidationException", f'Cannot update in-progress endpoint "{arn("endpoint", "born")}".'):
        hosting.sagemaker.delete_endpoint(EndpointName="Born")
    healthy.touch()
    described = hosting.settled("Born")
    assert described["EndpointStatus"] == "InService"
    assert "PendingDeploymentSummary" not in described
    (variant,) = described["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    assert (variant["CurrentWeight"], variant["DesiredWeight"]) == (1.0, 1.0)
    (image,) = variant["DeployedImages"]
    assert image["SpecifiedImage"] == hosting.image
    assert hosting.ask("Born")["model"] == "born"


def test_a_server_that_crashes_at_its_start_fails_the_endpoint_with_the_reason(hosting: Hosting) -> None:
    hosting.sagemaker.create_endpoint(
        EndpointName="crash", EndpointConfigName=hosting.config("crash", hosting.model("crash", crash=True))
    )
    described = hosting.settled("crash")
    assert described["EndpointStatus"] == "Failed"
    assert described["FailureReason"].startswith(PING_FAILED.format("crash"))
    assert "exit code 1" in described["FailureReason"]
    assert "the model is broken" in described["FailureReason"]
    with refused("ValidationException", "Failed", "DeleteEndpoint is the only operation"):
        hosting.sagemaker.update_endpoint(EndpointName="crash", EndpointConfigName="crash")
    hosting.sagemaker.delete_endpoint(EndpointName="crash")
    assert hosting.gone("crash")
    hosting.endpoint("crash", hosting.config("no-crash"))


def test_a_grant_that_is_missing_fails_the_endpoint_with_the_action_and_the_resource(hosting: Hosting) -> None:
    role = hosting.cloud.role("loses", READ, LOGS)
    config = hosting.config("loses", hosting.model("loses", role=role))
    hosting.cloud.role("loses", {**READ, "Resource": f"arn:aws:s3:::{BUCKET}/image.zip"}, LOGS)
    hosting.sagemaker.create_endpoint(EndpointName="loses", EndpointConfigName=config)
    described = hosting.settled("loses")
    assert described["EndpointStatus"] == "Failed"
    for word in ("role/loses", "s3:GetObject", f"arn:aws:s3:::{BUCKET}/loses/model.tar.gz"):
        assert word in described["FailureReason"]


def test_an_image_that_the_role_cannot_read_fails_the_endpoint_with_the_action_and_the_resource(
    hosting: Hosting,
) -> None:
    role = hosting.cloud.role("no-image", {**READ, "Resource": f"arn:aws:s3:::{BUCKET}/no-image/*"}, LOGS)
    hosting.sagemaker.create_endpoint(
        EndpointName="no-image", EndpointConfigName=hosting.config("no-image", hosting.model("no-image", role=role))
    )
    described = hosting.settled("no-image")
    assert described["EndpointStatus"] == "Failed"
    for word in (hosting.image, "s3:GetObject", f"arn:aws:s3:::{BUCKET}/image.zip"):
        assert word in described["FailureReason"]


def test_an_archive_that_would_write_elsewhere_fails_the_endpoint(hosting: Hosting) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"))
    config = hosting.config("escape", hosting.model("escape"))
    hosting.cloud.client("s3").put_object(Bucket=BUCKET, Key="escape/model.tar.gz", Body=packed.getvalue())
    hosting.sagemaker.create_endpoint(EndpointName="escape", EndpointConfigName=config)
    described = hosting.settled("escape")
    assert described["EndpointStatus"] == "Failed"
    assert "unsafe" in described["FailureReason"]
    assert "../escaped" in described["FailureReason"]


def test_an_update_loses_no_request(hosting: Hosting, tmp_path: Path) -> None:
    healthy = tmp_path / "healthy"
    hosting.endpoint("blue", hosting.config("blue", hosting.model("blue"), count=2))
    green = hosting.config("green", hosting.model("green", start_when=str(healthy)), count=2)
    with Load(hosting, "blue") as load:
        hosting.sagemaker.update_endpoint(EndpointName="blue", EndpointConfigName=green)
        updating = hosting.described("blue", "Updating")
        assert updating["EndpointConfigName"] == "blue"
        assert updating["PendingDeploymentSummary"]["EndpointConfigName"] == "green"
        with refused("ValidationException", "Cannot update in-progress endpoint"):
            hosting.sagemaker.update_endpoint(EndpointName="blue", EndpointConfigName="blue")
        healthy.touch()
        described = hosting.settled("blue")
        answered = len(load.models)
        wait_for(lambda: len(load.models) > answered + 10)
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "green"
    assert load.errors == []
    # When the traffic moved, each of the three had one request on its way at most; whose first green answer is here had none.
    assert load.models[load.models.index("green") :].count("blue") <= 2


def test_an_update_to_a_broken_model_is_rolled_back_and_says_why(hosting: Hosting) -> None:
    hosting.endpoint("kept", hosting.config("kept", hosting.model("kept")))
    broken = hosting.config("broken", hosting.model("broken", crash=True))
    with Load(hosting, "kept") as load:
        hosting.sagemaker.update_endpoint(EndpointName="kept", EndpointConfigName=broken)
        described = hosting.settled("kept")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "kept"
    assert described["FailureReason"].startswith(PING_FAILED.format("broken"))
    assert load.errors == []
    assert set(load.models) == {"kept"}
    better = hosting.config("better", hosting.model("better"))
    hosting.sagemaker.update_endpoint(EndpointName="kept", EndpointConfigName=better)
    assert "FailureReason" not in hosting.settled("kept")
    assert hosting.ask("kept")["model"] == "better"


def test_an_endpoint_outlives_its_config_and_its_model(hosting: Hosting) -> None:
    hosting.endpoint("outlives", hosting.config("outlives", hosting.model("outlives")))
    hosting.sagemaker.delete_endpoint_config(EndpointConfigName="outlives")
    hosting.sagemaker.delete_model(ModelName="outlives")
    assert hosting.ask("outlives")["model"] == "outlives"
    assert hosting.settled("outlives")["EndpointConfigName"] == "outlives"
    with refused("ValidationException", 'Could not find endpoint configuration "'):
        hosting.sagemaker.update_endpoint(EndpointName="outlives", EndpointConfigName="outlives")


def test_counts_and_weights_change_in_place_and_an_update_can_retain_them(hosting: Hosting) -> None:
    hosting.endpoint("scaled", hosting.config("scaled", hosting.model("scaled")))
    wanted = {"VariantName": "scaled", "DesiredInstanceCount": 2, "DesiredWeight": 0.5}
    hosting.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="scaled", DesiredWeightsAndCapacities=[wanted]
    )
    (variant,) = hosting.settled("scaled")["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)
    assert variant["CurrentWeight"] == 0.5
    assert len(pids(hosting, "scaled", 2)) == 2

    other = hosting.config("scaled-2", "scaled")
    hosting.sagemaker.update_endpoint(
        EndpointName="scaled",
        EndpointConfigName=other,
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
    )
    (variant,) = hosting.settled("scaled")["ProductionVariants"]
    assert (variant["DesiredInstanceCount"], variant["DesiredWeight"]) == (2, 1.0)

    hosting.sagemaker.update_endpoint(EndpointName="scaled", EndpointConfigName=other)
    (variant,) = hosting.settled("scaled")["ProductionVariants"]
    assert variant["DesiredInstanceCount"] == 1, "without RetainAllVariantProperties the configuration's count holds"
    with refused("ValidationException", "Could not find variant other"):
        hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="scaled", DesiredWeightsAndCapacities=[{"VariantName": "other", "DesiredWeight": 1}]
        )


def test_a_deletion_lets_a_request_in_flight_finish(hosting: Hosting, tmp_path: Path) -> None:
    hosting.endpoint("leaving")
    answers: list[dict[str, Any]] = []
    body, enough = held(tmp_path)
    slow = threading.Thread(target=lambda: answers.append(hosting.ask("leaving", body)))
    slow.start()
    is_there(body)
    hosting.sagemaker.delete_endpoint(EndpointName="leaving")
    assert hosting.described("leaving", "Deleting")
    enough.touch()
    slow.join()
    assert answers[0]["model"] == "leaving"
    assert hosting.gone("leaving")
    with refused("ValidationException", f'Could not find endpoint "{arn("endpoint", "leaving")}".'):
        hosting.sagemaker.describe_endpoint(EndpointName="leaving")
    with pytest.raises(ProcessLookupError):
        os.kill(answers[0]["pid"], 0)


def test_variants_that_are_to_get_no_traffic_at_all_are_refused(hosting: Hosting) -> None:
    models = [hosting.model(name) for name in ("weightless-a", "weightless-b")]
    with refused("ValidationException", "InitialVariantWeight 0 (weightless-a, weightless-b)"):
        hosting.config("weightless", *models, InitialVariantWeight=0)
    hosting.endpoint("weightless", hosting.config("weightless", *models))
    with refused("ValidationException", "weight 0 (weightless-a, weightless-b)", arn("endpoint", "weightless")):
        hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="weightless",
            DesiredWeightsAndCapacities=[{"VariantName": model, "DesiredWeight": 0} for model in models],
        )
    assert hosting.settled("weightless")["EndpointStatus"] == "InService"


def test_what_the_servers_print_is_in_cloudwatch_logs(hosting: Hosting, ordinary: str) -> None:
    hosting.ask(ordinary, {"print": "a line to find"})
    logs = hosting.cloud.client("logs")
    group = f"/aws/sagemaker/Endpoints/{ordinary}"

    def messages() -> list[str]:
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return []
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        if not streams:  # between the group and its first stream
            return []
        (stream,) = streams
        assert stream["logStreamName"].startswith(f"{ordinary}/i-0")
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
        return [event["message"] for event in events["events"]]

    wait_for(lambda: "a line to find" in messages())
    assert any("loaded" in message and "['serve']" in message for message in messages())


def test_an_endpoint_whose_role_may_not_write_logs_serves_without_them(hosting: Hosting) -> None:
    role = hosting.cloud.role("silent", READ)
    hosting.endpoint("silent", hosting.config("silent", hosting.model("silent", role=role)))
    assert hosting.ask("silent")["model"] == "silent"
    wait_for(lambda: "Nothing is written to /aws/sagemaker/Endpoints/silent" in hosting.cloud.log())


def test_the_servers_act_as_the_role_unless_the_network_is_cut_off(hosting: Hosting, ordinary: str) -> None:
    names = ["AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_REGION"]
    environment = hosting.ask(ordinary, {"environment": names})["environment"]
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert environment["AWS_ENDPOINT_URL"] == f"https://127.0.0.1:{hosting.cloud.port}"
    hosting.sagemaker.create_model(
        ModelName="isolated",
        PrimaryContainer={"Image": hosting.image, "ModelDataUrl": hosting.artefact("isolated")},
        ExecutionRoleArn=hosting.role,
        EnableNetworkIsolation=True,
    )
    hosting.endpoint("isolated", hosting.config("isolated", "isolated"))
    environment = hosting.ask("isolated", {"environment": names})["environment"]
    assert environment["AWS_ACCESS_KEY_ID"] is None


def test_events_tell_what_happens_to_models_configs_and_endpoints(hosting: Hosting) -> None:
    sqs, eventbridge = hosting.cloud.client("sqs"), hosting.cloud.client("events")
    queue = sqs.create_queue(QueueName="hosting")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    eventbridge.put_rule(Name="hosting", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    eventbridge.put_targets(Rule="hosting", Targets=[{"Id": "queue", "Arn": queue_arn}])
    seen: list[tuple[str, str, Any]] = []
    hosting.endpoint("told")
    hosting.sagemaker.delete_endpoint(EndpointName="told")
    hosting.gone("told")
    hosting.sagemaker.delete_endpoint_config(EndpointConfigName="told")
    hosting.sagemaker.delete_model(ModelName="told")

    def all_seen() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            event = json.loads(message["Body"])
            if any(resource.endswith("/told") for resource in event["resources"]):
                seen.append((event["detail-type"], event["resources"][0].split(":")[-1], event["detail"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return len(seen) >= 8

    wait_for(all_seen)
    eventbridge.remove_targets(Rule="hosting", Ids=["queue"])
    assert sorted(f"{kind} {detail.get('EndpointStatus', '')}".strip() for kind, _, detail in seen) == [
        "SageMaker Endpoint Config State Change",
        "SageMaker Endpoint Config State Change",
        "SageMaker Endpoint State Change CREATING",
        "SageMaker Endpoint State Change DELETED",
        "SageMaker Endpoint State Change DELETING",
        "SageMaker Endpoint State Change IN_SERVICE",
        "SageMaker Model State Change",
        "SageMaker Model State Change",
    ]
    detail = next(detail for _, _, detail in seen if detail.get("EndpointStatus") == "IN_SERVICE")
    assert detail["EndpointArn"] == arn("endpoint", "told")
    assert detail["EndpointConfigName"] == "told"
    assert detail["ProductionVariants"][0]["DesiredInstanceCount"] == 1
    assert detail["CreationTime"] > 1e12, "milliseconds, as the developer guide shows"


# --- Restarts ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosting]:
    """A local cloud for the tests that end it: a start takes seconds, so they share it."""
    cloud = LocalCloud(tmp_path_factory.mktemp("restarted") / "local-cloud")
    cloud.start()
    yield Hosting(cloud)
    cloud.stop()


def in_service_with_a_deleted_config(own: Hosting, name: str, healthy: Path) -> int:
    """An endpoint that comes back when the file is there again, and the process that serves it."""
    healthy.touch()
    own.endpoint(name, own.config(name, own.model(name, start_when=str(healthy))))
    own.sagemaker.delete_endpoint_config(EndpointConfigName=name)
    pid = int(own.ask(name)["pid"])
    healthy.unlink()
    return pid


def assert_it_comes_back(own: Hosting, name: str, healthy: Path) -> None:
    assert own.described(name, "SystemUpdating")
    with refused("ValidationException", "Cannot update in-progress endpoint"):
        own.sagemaker.delete_endpoint(EndpointName=name)
    healthy.touch()
    assert own.settled(name)["EndpointStatus"] == "InService"
    assert own.ask(name)["model"] == name


def is_over(pid: int) -> bool:
    # Not whether there is a /proc/PID: what nobody has buried yet has one, and serves nobody.
    return leftovers.start_time(pid) is None


@pytest.mark.long
def test_after_a_stop_endpoints_come_back_and_one_that_cannot_says_why_and_can_be_repaired(
    own: Hosting, tmp_path: Path
) -> None:
    own.endpoint("lost")
    before = in_service_with_a_deleted_config(own, "back", tmp_path / "healthy")
    own.cloud.client("s3").delete_object(Bucket=BUCKET, Key="lost/model.tar.gz")
    own.cloud.stop()
    wait_for(lambda: is_over(before))
    own.cloud.start()
    assert_it_comes_back(own, "back", tmp_path / "healthy")
    described = own.settled("lost")
    assert described["EndpointStatus"] == "OutOfService"
    assert "did not come back" in described["FailureReason"]
    assert f"s3://{BUCKET}/lost/model.tar.gz" in described["FailureReason"]
    with pytest.raises(ClientError, match="It is OutOfService"):
        own.ask("lost")
    own.sagemaker.update_endpoint(EndpointName="lost", EndpointConfigName=own.config("found"))
    assert own.settled("lost")["EndpointStatus"] == "InService"
    assert own.ask("lost")["model"] == "found"
    for name in ("back", "lost"):
        own.sagemaker.delete_endpoint(EndpointName=name)


def _ask_and_forget(hosting: Hosting, endpoint: str, body: dict[str, Any]) -> None:
    with contextlib.suppress(ClientError, BotoCoreError):
        hosting.ask(endpoint, body)


@pytest.mark.long
def test_after_a_kill_endpoints_come_back_and_what_it_interrupted_is_finished(own: Hosting, tmp_path: Path) -> None:
    own.endpoint("updated", own.config("old", own.model("old")))
    own.endpoint("deleted", own.config("deleted"))
    own.endpoint("rolled-back", "old")
    before = in_service_with_a_deleted_config(own, "killed", tmp_path / "healthy")
    again = tmp_path / "again"
    new, broken = own.config("new", own.model("new", start_when=str(again))), own.model("never", crash=True)
    own.config("never", broken)
    # Holds the deletion in its middle; the kill ends it with an error that nobody needs.
    body, _ = held(tmp_path)
    threading.Thread(target=_ask_and_forget, args=(own, "deleted", body), daemon=True).start()
    is_there(body)
    # What MiniStack's services know is written before the first of these changes anything.
    own.sagemaker.create_endpoint(EndpointName="created", EndpointConfigName=new)
    own.sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName=new)
    own.sagemaker.update_endpoint(EndpointName="rolled-back", EndpointConfigName="never")
    own.sagemaker.delete_endpoint(EndpointName="deleted")
    own.cloud.kill()
    wait_for(lambda: is_over(before))
    again.touch()
    own.cloud.start()
    assert_it_comes_back(own, "killed", tmp_path / "healthy")
    assert own.settled("created")["EndpointStatus"] == "InService"
    assert own.ask("created")["model"] == "new"
    updated = own.settled("updated")
    assert (updated["EndpointStatus"], updated["EndpointConfigName"]) == ("InService", "new")
    assert own.ask("updated")["model"] == "new"
    rolled_back = own.settled("rolled-back")
    assert (rolled_back["EndpointStatus"], rolled_back["EndpointConfigName"]) == ("InService", "old")
    assert rolled_back["FailureReason"].startswith(PING_FAILED.format("never"))
    assert own.gone("deleted")
