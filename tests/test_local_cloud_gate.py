"""The gate and the probe around a real endpoint of the local cloud, through CloudFormation, with functions that really run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.endpoint_versions import Steady, asker
from tests.guarded_endpoint import (
    ENDPOINT,
    Deployments,
    Registry,
    golden,
    plain_hosting,
    probed_hosting,
    until_no_alarm_rings,
)
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Hosting:
    return Hosting(cloud)


@pytest.fixture(scope="module")
def registry(hosting: Hosting) -> Registry:
    return Registry(hosting)


def answer(hosting: Hosting) -> float:
    found = hosting.runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="text/csv", Body=b"10")
    return float(found["Body"].read())


@pytest.mark.long
def test_only_a_version_that_may_be_served_and_answers_as_recorded_gets_through(
    cloud: LocalCloud, hosting: Hosting, registry: Registry, tmp_path: Path
) -> None:
    deployments = Deployments(cloud, tmp_path, plain_hosting())
    assert deployments.serve(registry.register(2)) == "CREATE_COMPLETE", deployments.failures()
    assert answer(hosting) == 20
    before = hosting.settled(ENDPOINT)

    for refused, words in (
        (registry.register(3, approval="PendingManualApproval"), "is PendingManualApproval, not Approved"),
        (registry.register(3, recorded=b""), "there are no golden records at s3://hosting/versions/"),
    ):
        assert deployments.serve(refused) == "UPDATE_ROLLBACK_COMPLETE"
        (reason,) = deployments.failures()
        assert words in reason
        assert f"Endpoint {ENDPOINT} was not touched." in reason
        assert hosting.settled(ENDPOINT)["LastModifiedTime"] == before["LastModifiedTime"]

    wrong = registry.register(5, recorded=golden(4))
    assert deployments.serve(wrong) == "UPDATE_ROLLBACK_COMPLETE"
    (reason,) = deployments.failures()
    assert "Golden record 1 of 3: variant AllTraffic (version" in reason
    assert "answers 7.5, and 6.0 was recorded when the version was evaluated" in reason
    assert answer(hosting) == 20
    assert hosting.settled(ENDPOINT)["EndpointConfigName"] == before["EndpointConfigName"]

    assert deployments.serve(registry.register(6)) == "UPDATE_COMPLETE", deployments.failures()
    assert answer(hosting) == 60
    deployments.delete()


@pytest.mark.long
def test_a_version_that_answers_wrongly_or_fails_is_taken_back_while_it_has_the_canarys_share(
    cloud: LocalCloud, hosting: Hosting, registry: Registry, tmp_path: Path
) -> None:
    deployments = Deployments(cloud, tmp_path, probed_hosting())
    assert deployments.serve(registry.register(2)) == "CREATE_COMPLETE", deployments.failures()
    before = hosting.settled(ENDPOINT)["EndpointConfigName"]

    assert deployments.serve(registry.register(5, recorded=golden(4))) == "UPDATE_ROLLBACK_COMPLETE"

    (reason,) = deployments.failures()
    assert f"{ENDPOINT}-golden-records" in reason, "the alarm, before the rest of the traffic moved"
    assert hosting.settled(ENDPOINT)["EndpointConfigName"] == before
    assert {answer(hosting) for _ in range(20)} == {20.0}
    metrics = cloud.client("cloudwatch").list_metrics(Namespace="Sagestack")["Metrics"]
    assert {metric["MetricName"] for metric in metrics} == {
        "GoldenRecordsAsked",
        "GoldenRecordsFailed",
        "GoldenRecordsWrong",
    }

    until_no_alarm_rings(cloud)
    # It fails on a number that no golden record asks for: the endpoint's own alarm sees it.
    with Steady(asker(hosting, ENDPOINT, body=b"10"), 20, threads=4) as load:
        assert deployments.serve(registry.register(7, fails_on=10)) == "UPDATE_ROLLBACK_COMPLETE"
    (reason,) = deployments.failures()
    assert f"{ENDPOINT}-errors" in reason
    assert load.between(0, math.inf).keys() == {"20.0", "error"}
    assert {answer(hosting) for _ in range(20)} == {20.0}

    until_no_alarm_rings(cloud)
    assert deployments.serve(registry.register(6)) == "UPDATE_COMPLETE", deployments.failures()
    assert {answer(hosting) for _ in range(20)} == {60.0}
    deployments.delete()
