"""An asynchronous endpoint that sleeps: how long 500 requests wait for its instances, and the instances for their end."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aws_cdk as cdk
from sagestack import settings

from tests.bench.figures import Row
from tests.guarded_endpoint import ENDPOINT, Deployments, GuardedStack, Registry
from tests.hosted_images import BUCKET, Hosting
from tests.local_cloud_fixtures import LocalCloud

REQUESTS = 500
TAKES_S = 0.2
"""One request, of which an instance has four at once: long enough that one instance is too few."""
MOST_INSTANCES = 4
BACKLOG_PER_INSTANCE = 10.0
TIMEOUT_S = 240
CLIENTS = 8
NAMES = settings.EnvironmentNames("local").model("guarded")


def queue() -> Iterator[Row]:
    """From no instance to the answers and back to none, by the scaling that the construct makes."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = LocalCloud(Path(folder) / "cloud")
        cloud.start()
        try:
            yield from _Story(cloud, Path(folder) / "cdk.out").rows()
        finally:
            cloud.stop()


def _asynchronous() -> settings.Asynchronous:
    return settings.Asynchronous(
        kind="asynchronous",
        instance_type="ml.m5.large",
        initial_instance_count=1,
        autoscaling=settings.Autoscaling(
            min_capacity=0, max_capacity=MOST_INSTANCES, backlog_per_instance=BACKLOG_PER_INSTANCE
        ),
        data_capture=None,
    )


def _topics(stack: GuardedStack) -> None:
    answers = stack.endpoint.answers
    assert answers
    cdk.CfnOutput(stack, "Answered", value=answers.success_topic.topic_arn)
    cdk.CfnOutput(stack, "Failed", value=answers.error_topic.topic_arn)


class _Story:
    """A queue from empty to empty."""

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        self.hosting = Hosting(cloud)
        self.s3, self.sqs, self.sns = (cloud.client(name) for name in ("s3", "sqs", "sns"))
        self.cloudwatch = cloud.client("cloudwatch")
        self.arn = Registry(self.hosting).register(2, answers_after_s=TAKES_S)
        self.deployments = Deployments(cloud, folder, _asynchronous(), _topics)

    def rows(self) -> Iterator[Row]:
        status = self.deployments.serve(self.arn)
        yield "an asynchronous endpoint: the stack ends", f"{status} {self.deployments.failures()}", "CREATE_COMPLETE"
        queues = {name: self._subscribed(name) for name in ("Answered", "Failed")}
        started = time.monotonic()
        self._until_no_instance()
        yield "until it has no instance, for want of requests", f"{time.monotonic() - started:.1f} s", ""

        for number in range(REQUESTS):
            self.s3.put_object(Bucket=BUCKET, Key=_key(number), Body=str(number).encode())
        before, at_first = self._processed(), self._instances()
        with _Ear(self.sqs, queues["Answered"]) as answered, _Ear(self.sqs, queues["Failed"]) as failed:
            started = time.monotonic()
            with ThreadPoolExecutor(CLIENTS) as clients:
                asked = dict(clients.map(self._ask, range(REQUESTS)))
            queued = time.monotonic() - started
            yield (
                f"{REQUESTS} requests queued, and the instances before the first",
                f"{queued:.1f} s, {at_first}",
                "0 instances",
            )
            most = 0
            while len(answered.heard) + len(failed.heard) < REQUESTS and time.monotonic() < started + TIMEOUT_S:
                most = max(most, self._instances())
                time.sleep(0.1)
            times = [at - started for at, _ in answered.heard] or [math.nan]
            yield (
                f"{REQUESTS} requests: first answer, median, last answer (since the first was queued), most instances",
                f"{min(times):.1f} s, {statistics.median(times):.1f} s, {max(times):.1f} s, {most}",
                "",
            )
            started = time.monotonic()
            self._until_no_instance()
            yield "until it has no instance again", f"{time.monotonic() - started:.1f} s", ""
        # What came twice has come by now.
        told = Counter(name for _, name in answered.heard)
        right = sum(self._output(location) == str(2.0 * number) for number, location in asked.items())
        once = sum(told[str(number)] == 1 for number in asked)
        yield (
            f"{REQUESTS} requests: told once, answered rightly, failed, processed by the servers",
            f"{once}, {right}, {len(failed.heard)}, {self._processed() - before:.0f}",
            f"{REQUESTS}, {REQUESTS}, 0, {REQUESTS}",
        )

    def _ask(self, number: int) -> tuple[int, str]:
        answer = self.hosting.runtime.invoke_endpoint_async(
            EndpointName=ENDPOINT,
            InputLocation=f"s3://{BUCKET}/{_key(number)}",
            ContentType="text/csv",
            InferenceId=str(number),
        )
        return number, answer["OutputLocation"]

    def _output(self, location: str) -> str:
        address = urlsplit(location)
        content: bytes = self.s3.get_object(Bucket=address.netloc, Key=address.path.lstrip("/"))["Body"].read()
        return content.decode()

    def _subscribed(self, output: str) -> str:
        topic = self.deployments.output(output)
        url = str(self.sqs.create_queue(QueueName=f"queue-{output}")["QueueUrl"])
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return url

    def _instances(self) -> int:
        (variant,) = self.hosting.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["ProductionVariants"]
        return int(variant["CurrentInstanceCount"])

    def _until_no_instance(self) -> None:
        waited, deadline = threading.Event(), time.monotonic() + TIMEOUT_S
        while count := self._instances():
            assert time.monotonic() < deadline, f"{count} instances"
            waited.wait(0.1)

    def _processed(self) -> float:
        now = datetime.now(UTC)
        points = self.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="InvocationsProcessed",
            Dimensions=[{"Name": "EndpointName", "Value": ENDPOINT}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))


class _Ear:
    """Listens to a topic's queue until it is left.

    Attributes:
        heard: when (seconds, monotonic), and the InferenceId, of each message.
    """

    def __init__(self, sqs: Any, queue: str) -> None:
        self.heard: list[tuple[float, str]] = []
        self._sqs, self._queue = sqs, queue
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> _Ear:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _listen(self) -> None:
        while True:
            messages = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
            for message in messages:
                told = json.loads(json.loads(message["Body"])["Message"])
                self.heard.append((time.monotonic(), told["inferenceId"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
            # Once more after the end, for what came last.
            if not messages and self._end.wait(0.1):
                return


def _key(number: int) -> str:
    return f"{NAMES.request_prefix}{number}.csv"
