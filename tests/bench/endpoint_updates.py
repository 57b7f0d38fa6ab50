"""What clients notice of an update: a steady stream of requests through canaries to good and to bad versions."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.figures import Row
from tests.endpoint_versions import Steady, Versions, Watch, asker
from tests.hosted_images import LOGS, READ, Hosting
from tests.local_cloud_fixtures import LocalCloud

PER_SECOND = 200.0
INSTANCES = 4
CANARY = 1 / INSTANCES
BAKE_S = 300
"""Ten real seconds by the local cloud's clock as it comes."""
ENDPOINT = "updated"
ALARM_PERIOD_S = 60
LATENCY_US = 800_000.0
"""Far from what a good version takes even while eight servers start on two cores."""


def updates() -> Iterator[Row]:
    """A good version, then one that fails on one request in five, a slow one, one that is never healthy, and a good one again."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = LocalCloud(Path(folder) / "cloud")
        cloud.start()
        try:
            hosting = Hosting(cloud)
            alarms = _alarms(hosting)
            role = cloud.role("updated", READ, LOGS, {"Action": "cloudwatch:DescribeAlarms", "Resource": "*"})
            versions = Versions(hosting, ENDPOINT, instances=INSTANCES, role=role)
            hosting.endpoint(ENDPOINT, versions.config("v1"))
            yield from _good(hosting, versions, "v1", "v2", alarms)
            yield from _bad(hosting, versions, "v2", "v3-fails", alarms, "fails on one request in five", fails_one_in=5)
            yield from _bad(hosting, versions, "v2", "v3-slow", alarms, "takes a second more", answers_after_s=1.0)
            yield from _bad(hosting, versions, "v2", "v3-sick", alarms, "is never healthy", is_never_healthy=True)
            yield from _good(hosting, versions, "v2", "v4", alarms)
        finally:
            cloud.stop()


def _alarms(hosting: Hosting) -> list[str]:
    """The alarms that the endpoint's construct makes: failures in percent, and the slowest of a hundred."""
    cloudwatch = hosting.cloud.client("cloudwatch")
    where = [{"Name": "EndpointName", "Value": ENDPOINT}, {"Name": "VariantName", "Value": "AllTraffic"}]

    def metric(id: str, name: str) -> dict[str, Any]:
        source = {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": where}
        return {
            "Id": id,
            "MetricStat": {"Metric": source, "Period": ALARM_PERIOD_S, "Stat": "Sum"},
            "ReturnData": False,
        }

    common: dict[str, Any] = {
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    share = {"Id": "share", "Expression": "IF(asked > 0, 100 * failed / asked, 0)", "ReturnData": True}
    cloudwatch.put_metric_alarm(
        AlarmName="updated-errors",
        Metrics=[metric("failed", "Invocation5XXErrors"), metric("asked", "Invocations"), share],
        Threshold=1.0,
        **common,
    )
    cloudwatch.put_metric_alarm(
        AlarmName="updated-p99",
        Namespace="AWS/SageMaker",
        MetricName="ModelLatency",
        Dimensions=where,
        ExtendedStatistic="p99",
        Period=ALARM_PERIOD_S,
        Threshold=LATENCY_US,
        **common,
    )
    return ["updated-errors", "updated-p99"]


def _update(hosting: Hosting, config: str, alarms: list[str]) -> None:
    hosting.sagemaker.update_endpoint(
        EndpointName=ENDPOINT,
        EndpointConfigName=config,
        RetainAllVariantProperties=True,
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
                    "WaitIntervalInSeconds": BAKE_S,
                },
                "TerminationWaitInSeconds": 60,
                "MaximumExecutionTimeoutInSeconds": 3600,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
        },
    )


def _run(
    hosting: Hosting, versions: Versions, version: str, alarms: list[str], **behaviour: Any
) -> tuple[Steady, Watch, dict[str, Any]]:
    config = versions.config(version, **behaviour)
    watch = Watch(hosting, ENDPOINT)
    with Steady(asker(hosting, ENDPOINT), PER_SECOND) as steady:
        time.sleep(2)
        _update(hosting, config, alarms)
        described = watch.until_settled(300)
        time.sleep(2)
    return steady, watch, described


def _good(hosting: Hosting, versions: Versions, before: str, after: str, alarms: list[str]) -> Iterator[Row]:
    steady, watch, described = _run(hosting, versions, after, alarms)
    assert described["EndpointConfigName"] == f"{ENDPOINT}-{after}", described
    errors = [answer.text for answer in steady.answers if answer.is_error]
    bakes = [stage for stage in watch.stages if stage.variant_status == "Baking"]
    assert bakes, watch.stages
    ends = next(stage.at for stage in watch.stages if stage.at > bakes[0].at)
    # The stage is seen up to 20 ms late, so its edges are left out.
    canary = steady.between(bakes[0].at + 0.1, ends - 0.3)
    first, last = steady.between(0, bakes[0].at - 2), steady.between(ends + 1, 1e18)
    seconds = sorted(answer.seconds for answer in steady.answers)
    p99 = seconds[int(len(seconds) * 0.99)] * 1000
    name = f"canary from {before} to {after} at {PER_SECOND:.0f} requests a second"
    yield (
        f"{name}: requests, and those that failed",
        f"{len(steady.answers)}, {len(errors)} {errors[:1]}",
        "none failed",
    )
    share = 100 * canary[after] / max(1, sum(canary.values()))
    yield (
        f"{name}: answered by {after} before, in the canary's bake, after",
        (
            f"{100 * first[after] / max(1, sum(first.values())):.0f} %, {share:.1f} % of {sum(canary.values())}, "
            f"{100 * last[after] / max(1, sum(last.values())):.0f} %"
        ),
        f"0 %, {100 * CANARY:.0f} %, 100 %",
    )
    yield f"{name}: latency, median and p99", f"{statistics.median(seconds) * 1000:.1f} ms, {p99:.1f} ms", ""
    yield f"{name}: requests sent more than 50 ms late", str(steady.late), ""


def _bad(
    hosting: Hosting, versions: Versions, good: str, bad: str, alarms: list[str], what: str, **behaviour: Any
) -> Iterator[Row]:
    steady, watch, described = _run(hosting, versions, bad, alarms, **behaviour)
    assert described["EndpointStatus"] == "InService", described
    assert described["EndpointConfigName"] == f"{ENDPOINT}-{good}", described
    name = f"a version that {what}"
    yield f"{name}: rolled back, saying", described.get("FailureReason", "")[:200], "rolled back"
    rolling = next((stage.at for stage in watch.stages if stage.status == "RollingBack"), None)
    hurt = sum(1 for answer in steady.answers if answer.is_error or answer.text == bad)
    bakes = [stage.at for stage in watch.stages if stage.variant_status == "Baking"]
    if bakes and rolling:
        during = steady.between(bakes[0] + 0.1, rolling)
        share = 100 * (during[bad] + during["error"]) / max(1, sum(during.values()))
        yield f"{name}: its share of the requests while it was watched", f"{share:.1f} %", f"{100 * CANARY:.0f} %"
        yield f"{name}: seconds from the first request to it until the roll-back", f"{rolling - bakes[0]:.1f} s", ""
    yield f"{name}: requests that it answered, or failed, of all", f"{hurt} of {len(steady.answers)}", ""
    # The next update begins where nothing is in alarm any more.
    _quiet(hosting, alarms)


def _quiet(hosting: Hosting, alarms: list[str]) -> None:
    cloudwatch, waited = hosting.cloud.client("cloudwatch"), threading.Event()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = cloudwatch.describe_alarms(AlarmNames=alarms)["MetricAlarms"]
        if all(alarm["StateValue"] != "ALARM" for alarm in found):
            return
        waited.wait(0.2)
    raise AssertionError("the alarms stay in ALARM")
