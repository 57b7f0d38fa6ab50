"""Guarded updates of endpoints, with servers that really run: under load, with alarms, and with kills in between."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.hosted_images import LOGS, READ, Hosting
from tests.local_cloud_fixtures import LocalCloud
from tests.test_local_cloud_deployment_policies import COUNT, PERCENT, blue_green, size
from tests.waiting import wait_for

ALARM = "errors-of-the-new-version"
FACTOR = 60.0
LOOK_S = 0.05
"""How often an update is looked at: far more often than its shortest stage, and seldom enough to leave the cores to it."""
MAIN: dict[str, Any] = {"VariantName": "AllTraffic"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud whose clock is fast, for these tests alone: one kills it."""
    cloud = LocalCloud(tmp_path_factory.mktemp("guarded"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR", f"{FACTOR:g}")
        cloud.start()
        yield cloud
        cloud.stop()


@pytest.fixture(scope="module")
def hosting(own: LocalCloud) -> Hosting:
    hosting = Hosting(own)
    alarms = {"Action": "cloudwatch:DescribeAlarms", "Resource": "*"}
    hosting.role = own.role("hosting", READ, LOGS, alarms)
    own.client("cloudwatch").put_metric_alarm(
        AlarmName=ALARM,
        Namespace="nobody/publishes/here",
        MetricName="Errors",
        Statistic="Sum",
        Period=3600,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    return hosting


@pytest.fixture(autouse=True)
def _no_endpoints_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "hosting" not in request.fixturenames:
        return
    sagemaker = request.getfixturevalue("hosting").sagemaker
    set_alarm(request.getfixturevalue("hosting"), "OK")
    for endpoint in sagemaker.list_endpoints(MaxResults=100)["Endpoints"]:
        with contextlib.suppress(ClientError):
            sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])


def set_alarm(hosting: Hosting, state: str) -> None:
    hosting.cloud.client("cloudwatch").set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason=f"{state} it is")


def guarded(policy: dict[str, Any]) -> dict[str, Any]:
    return {**policy, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": ALARM}]}}


class Load:
    """Forty requests in a second, on time whatever the answers do; remembers when each was asked, and what came of it."""

    def __init__(self, hosting: Hosting, endpoint: str, per_second: int = 40, threads: int = 8) -> None:
        self.answers: list[tuple[float, float, str]] = []
        self.errors: list[str] = []
        self._hosting, self._endpoint = hosting, endpoint
        self._end = threading.Event()
        self._pause = threads / per_second
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def _run(self, number: int) -> None:
        due = time.monotonic() + self._pause * number / len(self._threads)
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due += self._pause
            asked_at = time.time()
            try:
                model = self._hosting.ask(self._endpoint)["model"]
            except Exception as error:
                self.errors.append(repr(error))
            else:
                self.answers.append((asked_at, time.time(), model))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def between(self, start: float, end: float) -> Counter[str]:
        """Which models answered what was asked and answered in that time."""
        return Counter(
            model for asked_at, answered_at, model in self.answers if start <= asked_at <= answered_at <= end
        )


def watched(hosting: Hosting, endpoint: str, on_stage: Callable[[str], None] = lambda message: None) -> Stages:
    """Follow an update to its end."""
    stages = Stages()
    deadline = time.monotonic() + 120
    while True:
        described = hosting.sagemaker.describe_endpoint(EndpointName=endpoint)
        for variant in described.get("PendingDeploymentSummary", {}).get("ProductionVariants", []):
            (status,) = variant["VariantStatus"]
            if stages.see(f"{status['Status']}: {status.get('StatusMessage', '')}", described):
                on_stage(status.get("StatusMessage", ""))
        stages.statuses.setdefault(described["EndpointStatus"], described)
        if described["EndpointStatus"] not in ("Updating", "RollingBack"):
            stages.see("", described)
            return stages
        assert time.monotonic() < deadline, described
        time.sleep(LOOK_S)


class Stages:
    """What DescribeEndpoint told of an update, and from when to when."""

    def __init__(self) -> None:
        self.statuses: dict[str, Any] = {}
        self.spans: dict[str, tuple[float, float]] = {}
        self.described: dict[str, Any] = {}
        self._last = ""

    def see(self, message: str, described: Mapping[str, Any]) -> bool:
        now = time.time()
        if self._last:
            self.spans[self._last] = (self.spans[self._last][0], now)
        if message == self._last or not message:
            return False
        self._last = message
        self.spans[message] = (now, now)
        self.described[message] = described
        return True

    def span(self, words: str) -> tuple[float, float]:
        """When the stage was whose message has these words, without its edges."""
        (message,) = [message for message in self.spans if words in message and message.startswith("Baking")]
        start, end = self.spans[message]
        return start + 0.05, end - LOOK_S - 0.05


@pytest.mark.long
def test_a_canary_brings_a_new_version_in_and_the_next_bad_one_is_rolled_back_under_load(hosting: Hosting) -> None:
    sagemaker, canary = (
        hosting.sagemaker,
        guarded(blue_green("CANARY", size(COUNT, 1), 240, TerminationWaitInSeconds=120)),
    )
    versions = {n: hosting.config(f"v{n}", hosting.model(f"v{n}"), count=3, **MAIN) for n in (1, 2, 3)}
    hosting.endpoint("story", versions[1])
    with Load(hosting, "story") as load:
        started = time.monotonic()
        sagemaker.update_endpoint(EndpointName="story", EndpointConfigName="v2", DeploymentConfig=canary)
        good = watched(hosting, "story")
        took = time.monotonic() - started
        sagemaker.update_endpoint(EndpointName="story", EndpointConfigName="v3", RetainDeploymentConfig=True)

        def trip(message: str) -> None:
            if message.startswith("Baking") and "canary" in message:
                # Enough of them that the canary's part shows.
                asked = len(load.answers)
                wait_for(lambda: len(load.answers) > asked + 60)
                set_alarm(hosting, "ALARM")

        bad = watched(hosting, "story", trip)
        back = time.time()
        wait_for(lambda: load.between(back, time.time()).total() > 10)
    assert load.errors == []

    # Version 2: each stage as long as it must be, and the traffic in its part.
    assert took > (240 + 240 + 120) / FACTOR
    assert list(good.statuses) == ["Updating", "InService"]
    assert good.statuses["InService"]["EndpointConfigName"] == "v2"
    assert "FailureReason" not in good.statuses["InService"]
    assert good.statuses["InService"]["LastDeploymentConfig"] == canary
    at_canary = load.between(*good.span("canary"))
    assert at_canary["v2"] / at_canary.total() == pytest.approx(1 / 3, abs=0.2), at_canary
    for words in ("(WaitIntervalInSeconds) with traffic enabled on full", "(TerminationWaitInSeconds)"):
        assert set(load.between(*good.span(words))) == {"v2"}
    (canary_bake,) = [d for message, d in good.described.items() if "Baking" in message and "canary" in message]
    (pending,), (serving,) = (
        canary_bake["PendingDeploymentSummary"]["ProductionVariants"],
        canary_bake["ProductionVariants"],
    )
    assert (pending["CurrentInstanceCount"], pending["DesiredInstanceCount"]) == (1, 3)
    assert (serving["CurrentInstanceCount"], canary_bake["EndpointConfigName"]) == (3, "v1")

    # Version 3: a canary's part of the requests saw it, and then nobody does.
    assert "Endpoint story is RollingBack" in hosting.cloud.log()
    assert list(bad.statuses)[-1] == "InService"
    assert bad.statuses["InService"]["EndpointConfigName"] == "v2"
    assert f"in ALARM: {ALARM} (ALARM it is)" in bad.statuses["InService"]["FailureReason"]
    assert load.between(*good.span("(TerminationWaitInSeconds)")).total() > 10, "the load was there"
    hurt = load.between(*bad.span("canary"))
    assert 0 < hurt["v3"] / hurt.total() < 0.65, hurt
    assert set(load.between(back, time.time())) == {"v2"}

    # And the next good one needs no help.
    set_alarm(hosting, "OK")
    sagemaker.update_endpoint(EndpointName="story", EndpointConfigName="v3")
    settled = hosting.settled("story")
    assert (settled["EndpointConfigName"], "FailureReason" in settled) == ("v3", False)
    assert "LastDeploymentConfig" not in settled


@pytest.mark.long
def test_a_rolling_update_keeps_the_count_that_scaling_left(hosting: Hosting) -> None:
    sagemaker = hosting.sagemaker
    for n in (1, 2):
        hosting.config(f"rolled-{n}", hosting.model(f"rolled-{n}"), **MAIN)
    hosting.endpoint("rolled", "rolled-1")
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="rolled", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}]
    )
    assert hosting.settled("rolled")["ProductionVariants"][0]["CurrentInstanceCount"] == 4
    rolling = {"RollingUpdatePolicy": {"MaximumBatchSize": size(COUNT, 2), "WaitIntervalInSeconds": 120}}
    with Load(hosting, "rolled", per_second=20, threads=4) as load:
        sagemaker.update_endpoint(
            EndpointName="rolled",
            EndpointConfigName="rolled-2",
            RetainAllVariantProperties=True,
            DeploymentConfig=rolling,
        )
        stages = watched(hosting, "rolled")
    assert load.errors == []
    (variant,) = stages.statuses["InService"]["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (4, 4)
    assert set(load.between(*stages.span("2 of 4"))) == {"rolled-1", "rolled-2"}
    assert {hosting.ask("rolled")["model"] for _ in range(20)} == {"rolled-2"}
    assert "Endpoint rolled: Deleting: Terminating 2 instance(s) of the old fleet." in hosting.cloud.log()


def test_an_update_that_nothing_could_roll_back_is_refused_and_the_endpoint_untouched(hosting: Hosting) -> None:
    policy = guarded(blue_green("ALL_AT_ONCE"))
    blind = hosting.cloud.role("blind", READ, LOGS)
    hosting.config("blind", hosting.model("blind", role=blind), **MAIN)
    hosting.endpoint("seen", hosting.config("seen", hosting.model("seen"), **MAIN))
    before = hosting.settled("seen")
    refusals = {
        "names-of-old-and-new": (hosting.config("elsewhere"), policy, "same variant names"),
        "role": ("blind", policy, f"The role {blind} may not read the alarms"),
        "no-alarm": (
            "seen",
            {**policy, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "nowhere"}]}},
            "alarms that CloudWatch does not have: nowhere",
        ),
        "canary": ("seen", blue_green("CANARY", size(PERCENT, 10)), "one instance has no smaller part"),
    }
    for config, deployment, words in refusals.values():
        with pytest.raises(ClientError) as caught:
            hosting.sagemaker.update_endpoint(
                EndpointName="seen", EndpointConfigName=config, DeploymentConfig=deployment
            )
        error = caught.value.response["Error"]
        assert (error["Code"], words in error["Message"]) == ("ValidationException", True), error["Message"]
        if "role" in words:
            assert "cloudwatch:DescribeAlarms" in error["Message"]
    after = hosting.settled("seen")
    assert {k: v for k, v in after.items() if k != "ResponseMetadata"} == {
        k: v for k, v in before.items() if k != "ResponseMetadata"
    }
    with pytest.raises(ClientError, match="one instance has no smaller part"):
        hosting.sagemaker.create_endpoint(
            EndpointName="unseen", EndpointConfigName="seen", DeploymentConfig=blue_green("CANARY", size(PERCENT, 10))
        )


def test_an_alarm_that_is_on_before_the_update_keeps_the_old_version(hosting: Hosting) -> None:
    for n in (1, 2):
        hosting.config(f"early-{n}", hosting.model(f"early-{n}"), **MAIN)
    hosting.endpoint("early", "early-1")
    set_alarm(hosting, "ALARM")
    hosting.sagemaker.update_endpoint(
        EndpointName="early",
        EndpointConfigName="early-2",
        DeploymentConfig=guarded(blue_green("ALL_AT_ONCE", wait_s=60)),
    )
    settled = hosting.settled("early")
    assert settled["EndpointConfigName"] == "early-1"
    assert ALARM in settled["FailureReason"]
    assert hosting.ask("early")["model"] == "early-1"


@pytest.mark.long
def test_a_server_that_is_killed_under_load_is_replaced_and_costs_no_more_than_what_it_was_answering(
    hosting: Hosting,
) -> None:
    hosting.endpoint("struck", hosting.config("struck", hosting.model("struck"), count=2, **MAIN))
    pids: set[int] = set()

    def both_found() -> bool:
        pids.add(hosting.ask("struck")["pid"])
        return len(pids) == 2

    wait_for(both_found)
    victim, other = pids
    errors: list[str] = []
    answered: list[int] = []
    end = threading.Event()
    in_flight = 8

    def ask() -> None:
        while not end.is_set():
            try:
                answered.append(hosting.ask("struck", {"sleep_s": 0.2})["pid"])
            except ClientError as error:
                errors.append(error.response["Error"]["Message"])

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    wait_for(lambda: {victim, other} <= set(answered))
    os.kill(victim, signal.SIGKILL)
    replacement = wait_for(lambda: set(answered) - {victim, other}, what="no new server took over")
    end.set()
    for thread in threads:
        thread.join()
    assert {hosting.ask("struck")["pid"] for _ in range(40)} == {other} | replacement
    assert hosting.settled("struck")["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert "endpoint struck: The container ended with exit code" in hosting.cloud.log()
    assert len(errors) <= in_flight, errors
    assert all("closed the connection" in error for error in errors), errors


def until_it_says(hosting: Hosting, endpoint: str, words: str) -> None:
    """Wait until DescribeEndpoint has the words."""
    deadline = time.monotonic() + 120
    while words not in str(described := hosting.sagemaker.describe_endpoint(EndpointName=endpoint)):
        assert time.monotonic() < deadline, described
        time.sleep(LOOK_S)


@pytest.mark.long
def test_an_update_that_kills_cut_off_begins_again_each_time_and_says_so(hosting: Hosting, own: LocalCloud) -> None:
    for n in (1, 2):
        hosting.config(f"cut-{n}", hosting.model(f"cut-{n}"), count=2, **MAIN)
    hosting.endpoint("cut", "cut-1")
    policy = guarded(blue_green("CANARY", size(COUNT, 1), 120, TerminationWaitInSeconds=120))
    hosting.sagemaker.update_endpoint(EndpointName="cut", EndpointConfigName="cut-2", DeploymentConfig=policy)
    for stage in ("canary capacity", "(TerminationWaitInSeconds)"):
        until_it_says(hosting, "cut", stage)
        own.kill()
        own.start()
        assert hosting.sagemaker.describe_endpoint(EndpointName="cut")["EndpointConfigName"] == "cut-1"
    stages = watched(hosting, "cut")
    assert any("the local cloud was restarted in between" in message for message in stages.spans), stages.spans
    settled = hosting.settled("cut")
    assert (settled["EndpointConfigName"], "FailureReason" in settled) == ("cut-2", False)
    assert hosting.ask("cut")["model"] == "cut-2"
    assert "Endpoint cut: the update to cut-2, which the end of the local cloud had cut off, is finished" in own.log()


@pytest.mark.long
def test_a_roll_back_that_a_kill_cuts_off_is_over_after_the_restart(
    hosting: Hosting, own: LocalCloud, tmp_path: Path
) -> None:
    for n in (1, 2):
        hosting.config(f"back-{n}", hosting.model(f"back-{n}"), count=2, **MAIN)
    hosting.endpoint("back", "back-1")
    policy = guarded(blue_green("CANARY", size(COUNT, 1), 3600))
    hosting.sagemaker.update_endpoint(EndpointName="back", EndpointConfigName="back-2", DeploymentConfig=policy)
    until_it_says(hosting, "back", "Baking")

    def ask_slowly() -> None:
        # What the new version has begun holds the roll-back; the kill ends it.
        with contextlib.suppress(ClientError, BotoCoreError):
            hosting.ask("back", {"tell": str(tmp_path), "until": str(tmp_path / "never"), "only": ["back-2"]})

    def new_version_has_one() -> bool:
        # A request goes to either version.
        threading.Thread(target=ask_slowly, daemon=True).start()
        return any(tmp_path.iterdir())

    wait_for(new_version_has_one)
    set_alarm(hosting, "ALARM")
    until_it_says(hosting, "back", "RollingBack")
    assert hosting.ask("back")["model"] == "back-1"
    own.kill()
    own.start()
    settled = hosting.settled("back")
    assert settled["EndpointConfigName"] == "back-1"
    assert ALARM in settled["FailureReason"]
    assert hosting.ask("back")["model"] == "back-1"
    assert "Endpoint back: its update was being rolled back, and now is" in own.log()


@pytest.mark.long
def test_a_stack_whose_update_sagemaker_rolls_back_goes_back_too_and_says_why(hosting: Hosting) -> None:
    for n in (1, 2):
        hosting.config(f"stacked-{n}", hosting.model(f"stacked-{n}"), count=2, **MAIN)
    cloudformation = hosting.cloud.client("cloudformation")
    # Numbers and booleans may be words in a template.
    policy = guarded(blue_green("CANARY", {"Type": PERCENT, "Value": "50"}, cast(int, "30")))
    resource = {
        "Type": "AWS::SageMaker::Endpoint",
        "Properties": {
            "EndpointName": "stacked",
            "EndpointConfigName": {"Ref": "Config"},
            "DeploymentConfig": policy,
            "RetainAllVariantProperties": "true",
        },
    }
    template = json.dumps({"Parameters": {"Config": {"Type": "String"}}, "Resources": {"Endpoint": resource}})

    def settle(config: str, verb: Any) -> str:
        verb(
            StackName="stacked",
            TemplateBody=template,
            Parameters=[{"ParameterKey": "Config", "ParameterValue": config}],
        )
        deadline = time.monotonic() + 120
        while (status := cloudformation.describe_stacks(StackName="stacked")["Stacks"][0]["StackStatus"]).endswith(
            "IN_PROGRESS"
        ):
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
        return str(status)

    assert settle("stacked-1", cloudformation.create_stack) == "CREATE_COMPLETE"
    set_alarm(hosting, "ALARM")
    assert settle("stacked-2", cloudformation.update_stack) == "UPDATE_ROLLBACK_COMPLETE"
    reasons = [
        event.get("ResourceStatusReason", "")
        for event in cloudformation.describe_stack_events(StackName="stacked")["StackEvents"]
    ]
    assert any(ALARM in reason and "did not stabilize" in reason for reason in reasons), reasons
    assert hosting.settled("stacked")["EndpointConfigName"] == "stacked-1"
    set_alarm(hosting, "OK")
    assert settle("stacked-2", cloudformation.update_stack) == "UPDATE_COMPLETE"
    assert hosting.settled("stacked")["EndpointConfigName"] == "stacked-2"
    cloudformation.delete_stack(StackName="stacked")
