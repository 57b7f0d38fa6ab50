"""Asynchronous endpoints of the local cloud, through boto3 as AWS's examples do it: S3, SNS, SQS and real servers."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from local_cloud.sagemaker.asynchronous import async_requests
from tests.hosted_images import LOGS, READ, Hosting, fits
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

VARIANT = "AllTraffic"
DATA = "async-data"
COUNT = 16
"""How many requests wait for an instance: several for each that one answers at a time."""


class Queue:
    """An asynchronous endpoint's owner: puts inputs into S3, and reads outputs and what the topics tell."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.hosting = Hosting(cloud)
        self.s3, self.sns, self.sqs = (cloud.client(name) for name in ("s3", "sns", "sqs"))
        self.s3.create_bucket(Bucket=DATA)
        self.role = cloud.role(
            "async",
            READ,
            LOGS,
            {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{DATA}/in/*"},
            {"Action": "s3:PutObject", "Resource": [f"arn:aws:s3:::{DATA}/out/*", f"arn:aws:s3:::{DATA}/failed/*"]},
            {"Action": "sns:Publish", "Resource": "arn:aws:sns:*:*:async-*"},
        )
        self.topics = {kind: self.sns.create_topic(Name=f"async-{kind}")["TopicArn"] for kind in ("success", "error")}
        self.queues = {kind: self._subscribed(kind, arn) for kind, arn in self.topics.items()}

    def _subscribed(self, kind: str, topic: str) -> str:
        url = str(self.sqs.create_queue(QueueName=f"async-{kind}")["QueueUrl"])
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
                }
            ],
        }
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return url

    def config(self, name: str, role: str = "", concurrency: int = 4, **output: Any) -> str:
        model = self.hosting.model(name, role=role or self.role)
        self.hosting.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": VARIANT,
                    "ModelName": model,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1,
                }
            ],
            AsyncInferenceConfig={
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": concurrency},
                "OutputConfig": {
                    "S3OutputPath": f"s3://{DATA}/out",
                    "S3FailurePath": f"s3://{DATA}/failed",
                    "NotificationConfig": {
                        "SuccessTopic": self.topics["success"],
                        "ErrorTopic": self.topics["error"],
                    },
                    **output,
                },
            },
        )
        return name

    def scale(self, name: str, count: int) -> None:
        self.hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name,
            DesiredWeightsAndCapacities=[{"VariantName": VARIANT, "DesiredInstanceCount": count}],
        )
        (variant,) = self.hosting.settled(name)["ProductionVariants"]
        assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (count, count)

    def ask(self, endpoint: str, key: str, content: bytes, **arguments: Any) -> dict[str, Any]:
        self.s3.put_object(Bucket=DATA, Key=f"in/{key}", Body=content)
        return dict(
            self.hosting.runtime.invoke_endpoint_async(
                EndpointName=endpoint, InputLocation=f"s3://{DATA}/in/{key}", ContentType="text/csv", **arguments
            )
        )

    def output(self, location: str) -> bytes | None:
        address = urlsplit(location)
        try:
            return bytes(self.s3.get_object(Bucket=address.netloc, Key=address.path.lstrip("/"))["Body"].read())
        except self.s3.exceptions.NoSuchKey:
            return None

    def told(self, kind: str, count: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        """The messages of a topic, at least so many of them."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout_s
        while True:
            got = self.sqs.receive_message(QueueUrl=self.queues[kind], MaxNumberOfMessages=10).get("Messages", [])
            for message in got:
                found.append(json.loads(json.loads(message["Body"])["Message"]))
                self.sqs.delete_message(QueueUrl=self.queues[kind], ReceiptHandle=message["ReceiptHandle"])
            if not got and len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count}"
            time.sleep(0.05)

    def statistic(self, endpoint: str, metric: str, statistic: str, variant: str | None = None) -> float | None:
        now = datetime.now(UTC)
        dimensions = [{"Name": "EndpointName", "Value": endpoint}]
        if variant:
            dimensions.append({"Name": "VariantName", "Value": variant})
        points = self.hosting.cloud.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=[statistic],
        )["Datapoints"]
        return max((point[statistic] for point in points), default=None)


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """A cloud of one's own, whose minute is half a second: a request may expire while a test waits."""
    fast = LocalCloud(tmp_path_factory.mktemp("async") / "cloud")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR", "120")
        fast.start()
        yield Queue(fast)
        fast.stop()


@contextlib.contextmanager
def refused(code: str, *words: str) -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    for word in words:
        assert word in error["Message"], error["Message"]


@pytest.mark.long
def test_requests_wait_without_an_instance_and_are_answered_exactly_once_when_there_are_two(queue: Queue) -> None:
    name = queue.hosting.endpoint("sleeper", queue.config("sleeper"))
    described = queue.hosting.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    fits("DescribeEndpointConfig", described)
    assert queue.hosting.described(name, "InService")["AsyncInferenceConfig"] == described["AsyncInferenceConfig"]
    queue.scale(name, 0)
    asked = {
        n: queue.ask(name, f"{n}.csv", f"raw:{n}".encode(), InferenceId=f"number-{n}", CustomAttributes="a=b")
        for n in range(COUNT)
    }
    bad = queue.ask(name, "bad.json", b'{"fail": 400, "message": "no such column"}', InferenceId="bad")
    assert asked[7]["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert asked[7]["InferenceId"] == "number-7"
    assert asked[7]["OutputLocation"].startswith(f"s3://{DATA}/out/")
    assert asked[7]["OutputLocation"].endswith(".out")
    assert bad["FailureLocation"].startswith(f"s3://{DATA}/failed/")
    wait_for(lambda: queue.statistic(name, "ApproximateBacklogSize", "Maximum") == COUNT + 1)
    wait_for(lambda: queue.statistic(name, "HasBacklogWithoutCapacity", "Maximum") == 1)
    assert queue.output(asked[0]["OutputLocation"]) is None

    queue.scale(name, 2)
    told = queue.told("success", COUNT)
    assert Counter(message["inferenceId"] for message in told) == Counter(f"number-{n}" for n in range(COUNT))
    for n, answer in asked.items():
        assert queue.output(answer["OutputLocation"]) == f"raw:{n}".encode()
    seventh = next(message for message in told if message["inferenceId"] == "number-7")
    times = {seventh.pop("eventTime"), seventh.pop("receivedTime")}
    assert all(datetime.fromisoformat(each).tzinfo for each in times)
    assert seventh == {
        "awsRegion": "us-east-1",
        "invocationStatus": "Completed",
        "requestParameters": {
            "contentType": "text/csv",
            "customAttributes": "a=b",
            "endpointName": name,
            "inputLocation": f"s3://{DATA}/in/7.csv",
        },
        "responseParameters": {"contentType": "text/plain", "outputLocation": asked[7]["OutputLocation"]},
        "inferenceId": "number-7",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }

    (failure,) = queue.told("error", 1)
    assert failure["invocationStatus"] == "Failed"
    assert "Received client error (400) from model" in failure["failureReason"]
    assert "no such column" in failure["failureReason"]
    assert failure["responseParameters"]["outputLocation"] == bad["FailureLocation"]
    assert b"no such column" in (queue.output(bad["FailureLocation"]) or b"")
    assert queue.output(bad["OutputLocation"]) is None

    wait_for(lambda: queue.statistic(name, "InvocationsProcessed", "Sum", VARIANT) == COUNT + 1)
    assert queue.statistic(name, "InvocationFailures", "Sum", VARIANT) == 1
    assert queue.statistic(name, "TimeInBacklog", "SampleCount", VARIANT) == COUNT + 1
    wait_for(lambda: queue.statistic(name, "ApproximateBacklogSize", "Minimum") == 0)
    logs = queue.hosting.cloud.client("logs")
    group = f"/aws/sagemaker/Endpoints/{name}"
    wait_for(lambda: logs.filter_log_events(logGroupName=group, filterPattern='"[bad]"').get("events"))
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert any(stream["logStreamName"].endswith("/data-log") for stream in streams)
    queue.scale(name, 0)
    # An update keeps the zero, and takes requests: they wait for it as they do for an instance.
    queue.hosting.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=queue.config("sleeper-2"), RetainAllVariantProperties=True
    )
    last = queue.ask(name, "last.csv", b"raw:last")
    (variant,) = queue.hosting.settled(name)["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (0, 0)
    queue.scale(name, 1)
    assert wait_for(lambda: queue.output(last["OutputLocation"])) == b"raw:last"
    queue.hosting.sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.long
def test_a_killed_cloud_loses_no_request_and_writes_no_output_twice(queue: Queue, tmp_path: Path) -> None:
    name = queue.hosting.endpoint("killed", queue.config("killed", concurrency=2))
    # The first are answered, and the others are under way or wait when the kill comes, however late that is.
    enough = tmp_path / "enough"
    bodies: list[dict[str, str]] = [{}] * 3 + [{"until": str(enough)}] * 9
    asked = {
        n: queue.ask(name, f"k{n}.json", json.dumps(body).encode(), InferenceId=f"k-{n}")
        for n, body in enumerate(bodies)
    }

    def written() -> dict[str, Any]:
        listed = queue.s3.list_objects_v2(Bucket=DATA, Prefix="out/").get("Contents", [])
        return {f"s3://{DATA}/{each['Key']}": each["LastModified"] for each in listed}

    locations = {answer["OutputLocation"] for answer in asked.values()}
    wait_for(lambda: len(locations & written().keys()) >= 3)
    then = written()
    queue.hosting.cloud.kill()
    enough.touch()
    queue.hosting.cloud.start()
    before = {location: when for location, when in then.items() if location in locations}
    assert len(before) == 3
    wait_for(lambda: locations <= written().keys())
    after = written()
    assert {location: after[location] for location in before} == before
    # SNS delivers at least once, and so does what follows a kill.
    wait_for(lambda: queue.hosting.settled(name)["EndpointStatus"] == "InService")
    heard: set[str] = set()

    def all_heard() -> bool:
        heard.update(message["inferenceId"] for message in queue.told("success", 0))
        return heard >= {f"k-{n}" for n in range(12)}

    wait_for(all_heard)
    queue.hosting.sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.long
def test_what_cannot_be_read_takes_too_long_expires_or_kills_its_server_fails_with_a_reason(queue: Queue) -> None:
    name = queue.hosting.endpoint("fails", queue.config("fails"))
    queue.ask(name, "slow.json", b'{"sleep_s": 3}', InferenceId="slow", InvocationTimeoutSeconds=1)
    queue.ask(name, "deadly.json", b'{"die": true}', InferenceId="deadly")
    queue.hosting.runtime.invoke_endpoint_async(
        EndpointName=name, InputLocation=f"s3://{DATA}/in/missing.csv", InferenceId="missing"
    )
    queue.hosting.runtime.invoke_endpoint_async(
        EndpointName=name, InputLocation=f"s3://{DATA}/elsewhere/x.csv", InferenceId="elsewhere"
    )
    reasons = {message["inferenceId"]: message["failureReason"] for message in queue.told("error", 4)}
    # The deadly request had it as a neighbour, and ended their server: it is tried again, alone.
    assert "did not answer within 1 seconds" in reasons["slow"]
    assert "closed the connection" in reasons["deadly"]
    assert "there is no such object" in reasons["missing"] or "s3:ListBucket" in reasons["missing"]
    assert "s3:GetObject" in reasons["elsewhere"]
    queue.scale(name, 0)
    queue.ask(name, "late.csv", b"raw:late", InferenceId="late", RequestTTLSeconds=60)
    (late,) = queue.told("error", 1)
    assert "expired" in late["failureReason"]
    wait_for(lambda: queue.statistic(name, "ExpiredRequests", "Sum", VARIANT) == 1)


def test_a_request_may_carry_its_input_and_name_its_output(queue: Queue) -> None:
    name = "carries"
    included = {
        "SuccessTopic": queue.topics["success"],
        "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
    }
    queue.hosting.endpoint(name, queue.config(name, NotificationConfig=included))
    answer = queue.hosting.runtime.invoke_endpoint_async(
        EndpointName=name, Body=b"raw:inline", S3OutputPathExtension="some/where", Filename="mine.txt"
    )
    assert answer["OutputLocation"] == f"s3://{DATA}/out/some/where/mine.txt"
    # Of this request: those before it, of other tests, may be told late.
    told = wait_for(
        lambda: next((m for m in queue.told("success", 0) if m["inferenceId"] == answer["InferenceId"]), None)
    )
    assert told["responseBody"]["content"] == "cmF3OmlubGluZQ=="
    assert queue.output(answer["OutputLocation"]) == b"raw:inline"
    with refused("ValidationError", "InvokeEndpointAsync"):
        queue.hosting.runtime.invoke_endpoint(EndpointName=name, Body=b"x")
    with refused("ValidationError", "Give an InputLocation"):
        queue.hosting.runtime.invoke_endpoint_async(EndpointName=name)
    with refused("ValidationError", "not found"):
        queue.hosting.runtime.invoke_endpoint_async(EndpointName="nobody", Body=b"x")
    keys = queue.hosting.cloud.client("iam")
    keys.create_user(UserName="asks")
    key = keys.create_access_key(UserName="asks")["AccessKey"]
    stranger = queue.hosting.cloud.client("sagemaker-runtime", key["AccessKeyId"], key["SecretAccessKey"])
    with refused("AccessDeniedException", "sagemaker:InvokeEndpointAsync", f":endpoint/{name}"):
        stranger.invoke_endpoint_async(EndpointName=name, Body=b"x")


def test_an_endpoint_is_asynchronous_or_not(queue: Queue) -> None:
    hosting = queue.hosting
    hosting.endpoint("plain", hosting.config("plain"))
    with refused("ValidationError", "is not an asynchronous endpoint", "InvokeEndpoint"):
        hosting.runtime.invoke_endpoint_async(EndpointName="plain", Body=b"x")
    with refused("ValidationException", "DesiredInstanceCount 0"):
        hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="plain",
            DesiredWeightsAndCapacities=[{"VariantName": "plain", "DesiredInstanceCount": 0}],
        )
    with refused("UnsupportedOperation", "asynchronous"):
        hosting.sagemaker.update_endpoint(EndpointName="plain", EndpointConfigName=queue.config("becomes"))


def test_a_role_that_may_not_publish_fails_the_endpoint(queue: Queue) -> None:
    role = queue.hosting.cloud.role("mute", READ, LOGS)
    queue.hosting.sagemaker.create_endpoint(EndpointName="mute", EndpointConfigName=queue.config("mute", role=role))
    described = queue.hosting.settled("mute")
    assert described["EndpointStatus"] == "Failed"
    for words in (role, '"sns:Publish" permissions for topic', queue.topics["error"]):
        assert words in described["FailureReason"]


PLAN = {
    "AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/out/"}},
    "Variants": [{"ExecutionRoleArn": "arn:aws:iam::000000000000:role/r"}],
}


def test_a_request_is_kept_with_the_defaults_of_the_api() -> None:
    kept = async_requests.of({"x-amzn-sagemaker-inputlocation": "s3://b/in"}, b"", "e", PLAN)
    assert (kept["RequestTTLSeconds"], kept["InvocationTimeoutSeconds"]) == (21600, 900)
    assert kept["OutputLocation"] == f"s3://b/out/{kept['Id']}.out"
    assert "FailureLocation" not in kept
    assert kept["InferenceId"]


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({"inputlocation": "s3://b/in"}, b"x", "not both"),
        ({"inputlocation": "s3://b"}, b"", "names no object"),
        ({"inputlocation": "ftp://b/in"}, b"", "Invalid InputLocation"),
        ({}, b"x" * 128_001, "128000"),
        ({"requestttlseconds": "59"}, b"x", "RequestTTLSeconds must be a number from 60 to 21600, got '59'"),
        ({"invocationtimeoutseconds": "3601"}, b"x", "InvocationTimeoutSeconds must be a number from 1 to 3600"),
        ({"filename": "a.b.c"}, b"x", "Filename"),
        ({"s3outputpathextension": "s3://other"}, b"x", "S3OutputPathExtension"),
    ],
)
def test_a_malformed_request_is_refused_in_the_words_of_its_members(
    headers: dict[str, str], body: bytes, words: str
) -> None:
    with pytest.raises(async_requests.BadRequest, match=re.escape(words)):
        async_requests.of({f"x-amzn-sagemaker-{name}": value for name, value in headers.items()}, body, "e", PLAN)
