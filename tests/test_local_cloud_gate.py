"""The gate and the probe around a real endpoint of the local cloud, through CloudFormation."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.guarded_endpoint import ENDPOINT, Deployments, Registry, golden
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud


def test_only_a_version_that_may_be_served_and_answers_as_recorded_gets_through(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    t0 = time.monotonic()
    def lap(what):
        print(f"{time.monotonic()-t0:.1f} {what}", flush=True)
    hosting = Hosting(cloud)
    registry = Registry(hosting)
    lap("registry")
    deployments = Deployments(cloud, tmp_path)
    lap("synth")
    good = registry.register(2)

    def answer() -> float:
        found = hosting.runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="text/csv", Body=b"10")
        return float(found["Body"].read())

    assert deployments.create(good) == "CREATE_COMPLETE", deployments.failures()
    lap("created")
    assert answer() == 20
    before = hosting.settled(ENDPOINT)["EndpointConfigName"]

    for refused, words in () and (
        (registry.register(3, approval="PendingManualApproval"), "is PendingManualApproval, not Approved"),
        (registry.register(3, recorded=b""), "there are no golden records at s3://hosting/versions/"),
        (registry.register(3, recorded=b"{}"), 'must be an object with "format"'),
        (good.replace("/1", "/99"), "version 99 of guarded is not in the registry"),
    ):
        assert deployments.update(refused) == "UPDATE_ROLLBACK_COMPLETE"
        (reason,) = deployments.failures()
        assert words in reason
        assert "Endpoint sagestack-local-guarded was not touched." in reason
        assert hosting.settled(ENDPOINT)["EndpointConfigName"] == before
        lap(words)

    wrong = registry.register(5, recorded=golden(4))
    assert deployments.update(wrong) == "UPDATE_ROLLBACK_COMPLETE"
    lap("wrong"); print(deployments.failures(), flush=True); print([(e["InputText"] if 0 else e) for e in cloud.client("cloudwatch").list_metrics(Namespace="Sagestack")["Metrics"]])
    (reason,) = deployments.failures()
    assert "Golden record 1 of 3: variant AllTraffic (version 5 of guarded) answers 7.5, and 6.0 was recorded" in reason
    assert answer() == 20

    assert deployments.update(registry.register(6)) == "UPDATE_COMPLETE", deployments.failures()
    lap("good")
    assert answer() == 60
    logs = cloud.client("logs")
    for g in logs.describe_log_groups()["logGroups"]:
        print(g["logGroupName"])
        if "Probe" in g["logGroupName"]:
            print([e["message"] for e in logs.filter_log_events(logGroupName=g["logGroupName"])["events"]])
