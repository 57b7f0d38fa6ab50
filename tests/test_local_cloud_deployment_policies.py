"""The policies of guarded updates, their alarms and their clock, with servers and alarms that are none."""

from __future__ import annotations

import importlib
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from local_cloud.clock import Clock
from local_cloud.sagemaker.deployments import deployment_policy, traffic_shifting
from local_cloud.sagemaker.deployments.alarm_watch import AlarmState, AlarmWatch, Refused
from local_cloud.sagemaker.deployments.deployment_policy import BlueGreen, Rolling, Size
from local_cloud.sagemaker.deployments.deployment_run import RollBack, Run, Stage
from local_cloud.sagemaker.deployments.rolling import Replacement
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting import hosting
from local_cloud.sagemaker.hosting.fleet import Fleet, Interrupted, Variant
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.router import Router, UnknownVariant
from local_cloud.sagemaker.hosting.server import NotHealthy
from tests.local_cloud_fakes import ACCOUNT, REGION, USER, FakeCloud

PERCENT, COUNT = "CAPACITY_PERCENT", "INSTANCE_COUNT"
FAST = Clock(240)


@pytest.fixture(autouse=True)
def _always_the_same_draws() -> Iterator[None]:
    """Shares of requests are measured, and a sample of another run might by chance be none of them."""
    state = random.getstate()
    random.seed(240)
    yield
    random.setstate(state)


def planned(count: int, name: str = "blue", **more: Any) -> dict[str, Any]:
    return {"VariantName": name, "DesiredInstanceCount": count, **more}


def blue_green(kind: str, size: dict[str, Any] | None = None, wait_s: int = 0, **more: Any) -> dict[str, Any]:
    member = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(kind)
    routing = {"Type": kind, "WaitIntervalInSeconds": wait_s, **({member: size} if member and size else {})}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, **more}}


def size(kind: str, value: int) -> dict[str, Any]:
    return {"Type": kind, "Value": value}


# --- The policies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "count", "stages"),
    [
        (BlueGreen(), 4, [4]),
        (BlueGreen("CANARY", Size(COUNT, 1)), 4, [1, 4]),
        (BlueGreen("CANARY", Size(PERCENT, 50)), 5, [2, 5]),
        # No part of an instance can take traffic: one of three is a third.
        (BlueGreen("CANARY", Size(PERCENT, 10)), 3, [1, 3]),
        (BlueGreen("LINEAR", Size(PERCENT, 30)), 10, [3, 6, 9, 10]),
        (BlueGreen("LINEAR", Size(COUNT, 1)), 3, [1, 2, 3]),
        (BlueGreen("CANARY", Size(COUNT, 1)), 0, [0]),
    ],
)
def test_the_traffic_moves_in_the_steps_of_the_policy(policy: BlueGreen, count: int, stages: list[int]) -> None:
    assert [stage["blue"] for stage in policy.stages({"blue": count})] == stages


def test_the_variants_of_one_endpoint_take_their_steps_together() -> None:
    stages = BlueGreen("LINEAR", Size(PERCENT, 50)).stages({"a": 2, "b": 5})
    assert stages == [{"a": 1, "b": 2}, {"a": 2, "b": 4}, {"a": 2, "b": 5}]


@pytest.mark.parametrize(
    ("config", "variants", "words"),
    [
        (blue_green("CANARY", size(COUNT, 3)), [planned(4)], "CanarySize must be at most 50 percent of the 4 instance"),
        (blue_green("CANARY", size(COUNT, 9)), [planned(4)], "got 9 instance(s)"),
        (blue_green("CANARY", size(PERCENT, 51)), [planned(10)], "got 51 percent"),
        (blue_green("CANARY", size(PERCENT, 10)), [planned(1)], "one instance has no smaller part"),
        (blue_green("LINEAR", size(PERCENT, 9)), [planned(10)], "LinearStepSize must be 10 to 50 percent"),
        (blue_green("LINEAR", size(COUNT, 1)), [planned(20)], "got 1 instance(s). Take more"),
        (blue_green("LINEAR", size(PERCENT, 60)), [planned(10)], "Take less"),
        (blue_green("CANARY", size(COUNT, 1)), [planned(4), planned(1, "green")], "instance(s) of variant green"),
        (blue_green("CANARY", size(COUNT, 1)), [planned(4, "other")], "same variant names"),
        (blue_green("ALL_AT_ONCE"), [planned(4, "other")], "same variant names"),
        (
            blue_green("CANARY", size(COUNT, 1)),
            [planned(0, ServerlessConfig={"MaxConcurrency": 1})],
            "not for serverless variants (blue)",
        ),
        (
            {"RollingUpdatePolicy": {"WaitIntervalInSeconds": 0, "MaximumBatchSize": size(PERCENT, 4)}},
            [planned(50)],
            "5 to",
        ),
        (
            {"RollingUpdatePolicy": {"WaitIntervalInSeconds": 0, "MaximumBatchSize": size(COUNT, 3)}},
            [planned(4)],
            "5 to 50",
        ),
        (
            {"RollingUpdatePolicy": {"WaitIntervalInSeconds": 0, "MaximumBatchSize": size(COUNT, 1)}},
            [planned(4), planned(4, "green")],
            "endpoints with one variant; this one has blue, green",
        ),
        (
            {
                "RollingUpdatePolicy": {
                    "WaitIntervalInSeconds": 0,
                    "MaximumBatchSize": size(COUNT, 1),
                    "RollbackMaximumBatchSize": size(COUNT, 5),
                }
            },
            [planned(4)],
            "RollbackMaximumBatchSize must be at most 100 percent",
        ),
    ],
)
def test_a_policy_that_does_not_fit_the_fleet_is_refused(
    config: dict[str, Any], variants: list[dict[str, Any]], words: str
) -> None:
    policy = deployment_policy.policy_of(config)
    assert policy is not None
    deployed = [planned(4, name) for name in sorted({"blue", *([] if len(variants) == 1 else ["green"])})]
    with pytest.raises(ValidationError) as caught:
        deployment_policy.check_update(policy, variants, deployed)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (blue_green("CANARY"), "type CANARY needs CanarySize"),
        (blue_green("LINEAR"), "type LINEAR needs LinearStepSize"),
        (
            {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "ALL_AT_ONCE",
                        "WaitIntervalInSeconds": 0,
                        "CanarySize": size(COUNT, 1),
                    }
                }
            },
            "CanarySize is for the type CANARY, not for ALL_AT_ONCE",
        ),
        ({**blue_green("ALL_AT_ONCE"), "RollingUpdatePolicy": {"WaitIntervalInSeconds": 0}}, "only one update policy"),
    ],
)
def test_a_policy_that_is_none_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        deployment_policy.check(config)
    assert words in caught.value.message


def test_what_fits_is_taken() -> None:
    for config, count in (
        (blue_green("CANARY", size(PERCENT, 50)), 2),
        (blue_green("LINEAR", size(PERCENT, 10)), 2),
        ({"RollingUpdatePolicy": {"WaitIntervalInSeconds": 5, "MaximumBatchSize": size(PERCENT, 5)}}, 2),
        # Scaled to zero: nothing to move.
        (blue_green("CANARY", size(PERCENT, 10)), 0),
    ):
        deployment_policy.check(config)
        policy = deployment_policy.policy_of(config)
        assert policy is not None
        deployment_policy.check_update(policy, [planned(count)], [planned(count)])


def test_alarms_alone_are_watched_over_an_update_that_is_all_at_once() -> None:
    config = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}, {"AlarmName": "a"}, {"AlarmName": "b"}]}}
    assert deployment_policy.policy_of(config) == BlueGreen(alarms=("a", "b"))
    assert deployment_policy.policy_of(None) is None


# --- The alarms and the clock ------------------------------------------------------------------------------------


class Alarms:
    """Alarms in the states that a test gives them; counts the looks."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.looks = 0
        self.on_look: Callable[[int], None] = lambda looks: None

    def __call__(self, names: Sequence[str]) -> dict[str, AlarmState]:
        self.looks += 1
        self.on_look(self.looks)
        return {name: AlarmState(self.states[name], "a reason") for name in names if name in self.states}

    def watch(self) -> AlarmWatch:
        return AlarmWatch(list(self.states), self)


class Recorder:
    """Remembers the stages that it is told."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.on_stage: Callable[[Stage], None] = lambda stage: None

    def __call__(self, stage: Stage, waited_s: float) -> None:
        self.stages.append(stage)
        self.on_stage(stage)

    def told(self) -> list[str]:
        return [f"{stage.status}: {'; '.join(stage.messages.values())}" for stage in self.stages]


def run_of(alarms: Alarms | None = None, recorder: Recorder | None = None, **options: Any) -> Run:
    return Run(FAST, threading.Event(), (alarms or Alarms()).watch(), recorder or Recorder(), **options)


def test_a_bake_lasts_as_long_as_the_clock_says_and_looks_at_the_alarms_all_the_time() -> None:
    alarms = Alarms(errors="OK", latency="INSUFFICIENT_DATA")
    run, started = run_of(alarms), time.monotonic()
    run.bake(120)
    assert time.monotonic() - started >= 0.5
    assert run.waited_s == pytest.approx(120)
    assert alarms.looks >= 5


def test_an_alarm_that_goes_off_ends_the_bake_and_is_named() -> None:
    alarms = Alarms(errors="OK", latency="OK")
    run = run_of(alarms)
    alarms.on_look = lambda looks: alarms.states.update(latency="ALARM") if looks == 3 else None
    with pytest.raises(RollBack, match=r"in ALARM: latency \(a reason\)"):
        run.bake(7200)
    assert alarms.looks == 3
    assert 0 < run.waited_s < 7200


def test_an_alarm_that_is_not_there_or_gone_is_named() -> None:
    alarms = Alarms(errors="OK")
    with pytest.raises(Refused, match="does not have: nowhere"):
        AlarmWatch(["errors", "nowhere"], alarms).tripped()
    run = run_of(alarms)
    run.check()
    alarms.states.clear()
    with pytest.raises(RollBack, match="does not have: errors"):
        run.check()


def test_an_update_that_takes_too_long_is_rolled_back_when_its_time_is_over() -> None:
    started = time.monotonic()
    run = run_of(timeout_s=600.0, waited_s=400.0, started=time.time() - FAST.real(400))
    run.bake(60)
    with pytest.raises(RollBack, match="MaximumExecutionTimeoutInSeconds of 600"):
        run.bake(3600)
    assert time.monotonic() - started >= FAST.real(190)
    assert run.waited_s <= 600 + 1, "it does not wait beyond its time"


def test_waits_count_on_the_clock_and_everything_else_in_real_seconds() -> None:
    now = [1000.0]
    run = run_of(started=1000.0, waited_s=240.0, now=lambda: now[0])
    now[0] += 1.0 + 30.0
    assert run.elapsed_s() == pytest.approx(240 + 30), "a second of waiting and half a minute of starting servers"


def test_a_bake_ends_when_the_local_cloud_stops() -> None:
    run = run_of()
    threading.Timer(0.1, run.stopping.set).start()
    with pytest.raises(Interrupted):
        run.bake(86_400)


@pytest.mark.parametrize("text", ["0", "0.5", "-1", "nan", "inf", "fast", "241"])
def test_a_clock_factor_that_is_none_is_refused(text: str) -> None:
    from local_cloud import clock

    with pytest.raises(ValueError, match=f"must be a number from 1 .* to 240, got '?{text}"):
        clock.parse(text)
    with pytest.raises(ValueError, match=clock.VARIABLE):
        clock.from_environment({clock.VARIABLE: text})
    assert clock.from_environment({}) == Clock(30)
    assert clock.from_environment({clock.VARIABLE: "60"}).real(60) == 1


# --- The shift, with servers that are none -------------------------------------------------------------------------


class FakeInstance:
    ready, in_flight = True, 0

    def has_loaded(self, model: str) -> bool:
        return False


class FakeVariant(Variant):
    """A variant whose instances are there when they are asked for, unless a test says no."""

    def __init__(self, name: str, count: int, weight: float = 1.0) -> None:
        self.known_as = name
        self.weight, self.active, self.is_shadow = weight, None, False
        self.shadow = self.capture = None
        self._least_busy = False
        self.instances = tuple(cast(Instance, FakeInstance()) for _ in range(count))
        self.limit = 100

    @property
    def name(self) -> str:
        return self.known_as

    def grow_to(self, count: int, stopping: threading.Event) -> None:
        if count > self.limit:
            raise NotHealthy.__new__(NotHealthy, "no")
        self.instances += tuple(cast(Instance, FakeInstance()) for _ in range(count - len(self.instances)))


def fleet(count: int, name: str = "blue", weight: float = 1.0) -> Fleet:
    return Fleet([FakeVariant(name, count, weight)])


def asked(router: Router, times: int = 2000, target: str | None = None) -> Counter[Variant]:
    """Who is given so many requests."""
    given: Counter[Variant] = Counter()
    for _ in range(times):
        with router.lease(target) as lease:
            assert lease is not None
            given[lease.variant] += 1
    return given


def share_of(router: Router, wanted: Fleet, target: str | None = None) -> float:
    given = asked(router, target=target)
    return sum(given[variant] for variant in wanted.variants.values()) / given.total()


def test_a_canary_gets_the_part_of_the_traffic_that_it_is_of_its_fleet() -> None:
    blue, green, router, recorder = fleet(3), fleet(4), Router("e"), Recorder()
    router.send_to((blue, 1.0))
    shares: list[tuple[float, int]] = []

    def look(stage: Stage) -> None:
        if stage.status == "Baking":
            given: set[int] = set()
            for _ in range(100):
                with router.lease() as lease:
                    assert lease is not None
                    if lease.variant in green.variants.values():
                        given.add(id(lease.instance))
            shares.append((round(share_of(router, green), 1), len(given)))

    recorder.on_stage = look
    policy = BlueGreen("LINEAR", Size(COUNT, 2), wait_s=10, termination_wait_s=20)
    traffic_shifting.shift(run_of(recorder=recorder), policy, router, green, {"blue": 4})
    assert shares == [(0.5, 2), (1.0, 4), (1.0, 4)], "only the instances that are turned on take requests"
    assert recorder.told() == [
        "ActivatingTraffic: Activating traffic on step 1 of 2, capacity of 2 instance(s).",
        "Baking: Baking for 10 seconds (WaitIntervalInSeconds) with traffic enabled on step 1 of 2, capacity of 2 "
        "instance(s).",
        "ActivatingTraffic: Activating traffic on full capacity of 4 instance(s).",
        "Baking: Baking for 10 seconds (WaitIntervalInSeconds) with traffic enabled on full capacity of 4 instance(s).",
        "Baking: Baking for 20 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 4 instance(s).",
    ]


def test_an_alarm_while_the_old_fleet_waits_for_its_end_still_counts() -> None:
    alarms, recorder, router = Alarms(errors="OK"), Recorder(), Router("e")
    router.send_to((fleet(2), 1.0))

    def trip(stage: Stage) -> None:
        if "TerminationWait" in str(stage.messages):
            alarms.states["errors"] = "ALARM"

    recorder.on_stage = trip
    with pytest.raises(RollBack, match="errors"):
        traffic_shifting.shift(
            run_of(alarms, recorder), BlueGreen(termination_wait_s=60), router, fleet(2), {"blue": 2}
        )


def test_weights_and_a_target_variant_hold_while_the_traffic_moves() -> None:
    blue = Fleet([FakeVariant("a", 2, 3.0), FakeVariant("b", 4, 1.0), FakeVariant("idle", 1, 0.0)])
    green = Fleet([FakeVariant("a", 2, 3.0), FakeVariant("b", 4, 1.0), FakeVariant("idle", 1, 0.0)])
    router, counts = Router("e"), {"a": 2, "b": 4, "idle": 1}
    router.send_to((blue, 1.0))
    traffic_shifting.activate(router, router.shares, green, {"a": 1, "b": 1, "idle": 1}, counts)
    given = asked(router, 4000)
    of = {(fleet is green, name): given[v] / 4000 for fleet in (blue, green) for name, v in fleet.variants.items()}
    # Variant a gets three quarters: half of that on its canary of one in two; b a quarter, a quarter of it on one in four.
    wanted = {(True, "a"): 0.375, (False, "a"): 0.375, (True, "b"): 0.0625, (False, "b"): 0.1875}
    assert of == {(True, "idle"): 0, (False, "idle"): 0} | {k: pytest.approx(v, abs=0.04) for k, v in wanted.items()}
    assert share_of(router, green, target="b") == pytest.approx(0.25, abs=0.04)
    assert asked(router, 10, target="idle").total() == 10, "a variant of no weight answers whoever names it"
    with pytest.raises(UnknownVariant), router.lease("c"):
        pass


def test_a_canary_without_a_server_gives_its_traffic_back() -> None:
    blue, green, router = fleet(2), fleet(2), Router("e")
    router.send_to((blue, 1.0))
    traffic_shifting.activate(router, router.shares, green, {"blue": 1}, {"blue": 2})
    cast(Any, green.variants["blue"].instances[0]).ready = False
    assert share_of(router, green) == 0


class Ended:
    """Takes the instances that a rolling update ends."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, instances: Sequence[Instance]) -> None:
        self.batches.append(len(instances))


@pytest.mark.parametrize(
    ("old", "new", "batch", "ended", "largest"),
    [(4, 4, 2, [2], 6), (4, 4, 1, [1, 1, 1], 5), (6, 4, 2, [3], 8), (2, 5, 2, [0, 1], 6)],
)
def test_a_rolling_update_replaces_batch_by_batch(
    old: int, new: int, batch: int, ended: list[int], largest: int
) -> None:
    blue, green, router, end, recorder = fleet(old), fleet(0), Router("e"), Ended(), Recorder()
    router.send_to((blue, 1.0))
    sizes: list[int] = []
    shares: list[float] = []

    def look(stage: Stage) -> None:
        if stage.status == "Baking":
            sizes.append(len(blue.instances) + len(green.instances))
            shares.append(round(share_of(router, green), 1))

    recorder.on_stage = look
    Replacement(run_of(recorder=recorder), Rolling(Size(COUNT, batch)), router, green, new, end).forward()
    assert end.batches == [count for count in ended if count]
    assert max(sizes) <= largest, "no second fleet is ever there"
    assert shares == [pytest.approx(min(new, n * batch) / new, abs=0.1) for n in range(1, -(-new // batch) + 1)]
    assert router.fleets == [green]


@pytest.mark.parametrize(
    ("size_", "shares"), [(None, [0.0]), (Size(COUNT, 1), [0.25, 0.0]), (Size(PERCENT, 50), [0.0])]
)
def test_a_rolling_update_goes_back_in_batches_too(size_: Size | None, shares: list[float]) -> None:
    blue, green, router, recorder = fleet(4), fleet(0), Router("e"), Recorder()
    alarms = Alarms(errors="OK")
    router.send_to((blue, 1.0))
    recorder.on_stage = lambda stage: (
        alarms.states.update(errors="ALARM") if "Baking" in stage.status and len(blue.instances) == 2 else None
    )
    seen: list[float] = []
    replacement = Replacement(
        run_of(alarms, recorder),
        Rolling(Size(COUNT, 1), size_, alarms=("errors",)),
        router,
        green,
        4,
        lambda instances: seen.append(round(share_of(router, green) * 4) / 4),
    )
    with pytest.raises(RollBack, match="errors"):
        replacement.forward()
    assert (len(blue.instances), len(green.instances)) == (2, 3)
    seen.clear()
    replacement.back()
    seen.append(share_of(router, green))
    assert seen == shares
    assert len(blue.instances) == 4
    assert router.fleets == [blue]


def test_a_roll_back_that_fails_leaves_both_versions_in_service() -> None:
    blue, green, router = fleet(4), fleet(2), Router("e")
    variant = cast(FakeVariant, blue.variants["blue"])
    router.send_to((blue, 1.0))
    replacement = Replacement(run_of(), Rolling(Size(COUNT, 2)), router, green, 4, lambda _: None)
    variant.instances = variant.instances[:2]
    traffic_shifting.activate(router, router.shares, green, {"blue": 2}, {"blue": 4})
    variant.limit = 2
    with pytest.raises(NotHealthy):
        replacement.back()
    assert set(router.fleets) == {blue, green}


# --- The update of an endpoint, on a store and with servers that are none -------------------------------------------


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[FakeCloud]:
    cloud = FakeCloud(tmp_path)
    cloud.service.clock = FAST
    yield cloud
    cloud.close()


class Update:
    """An update that begins now, as UpdateEndpoint leaves it; its new fleet is what a test gives it."""

    def __init__(self, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
        # The local cloud has an environment of its own; what asks model servers is not in ours, and is not needed here.
        monkeypatch.setitem(sys.modules, "h11", ModuleType("h11"))
        self._module = importlib.import_module("local_cloud.sagemaker.deployments.guarded_update")
        self.again: str = importlib.import_module("local_cloud.sagemaker.hosting.endpoint_status").AGAIN
        self._serves, self.pending = updating(cloud)
        self._monkeypatch = monkeypatch

    def run(self, policy: BlueGreen | Rolling, router: Router, green: Fleet) -> Any:
        self._monkeypatch.setattr(self._module, "bring_up", lambda *_, **__: green)
        return self._module.update(self._serves, USER, "e", self.pending, policy, router, Ended())


@pytest.fixture
def update(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> Update:
    return Update(cloud, monkeypatch)


def updating(cloud: FakeCloud, count: int = 4) -> tuple[hosting.Hosting, dict[str, Any]]:
    variant = planned(count, DesiredWeight=1.0, DeployedImages=[], RoutingConfig=None, ExecutionRoleArn="role")
    plan = {"Variants": [variant], "StartTime": time.time(), "Rescales": False}
    document = {
        "EndpointName": "e",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:000000000000:endpoint/e",
        "EndpointStatus": "Updating",
        "CreationTime": 1.0,
        "LastModifiedTime": 2.0,
        "Deployed": {**plan, "EndpointConfigName": "old"},
        "Pending": {**plan, "EndpointConfigName": "new"},
    }
    cloud.service.store.insert("endpoint", ACCOUNT, REGION, "e", document)
    return hosting.hosting_of(cloud.service), cast(dict[str, Any], document["Pending"])


def test_each_stage_is_an_event_in_the_form_of_the_developer_guide(cloud: FakeCloud, update: Update) -> None:
    green, router = fleet(4), Router("e")
    router.send_to((fleet(4), 1.0))
    policy = BlueGreen("CANARY", Size(COUNT, 1), wait_s=10)
    outcome = update.run(policy, router, green)
    assert (outcome.status, outcome.reason, router.fleets) == ("InService", None, [green])
    sent = cloud.sent("SageMaker Endpoint Deployment State Change")
    stages = [event["PendingDeploymentSummary"]["ProductionVariants"][0] for event in sent]
    assert [(stage["VariantStatus"][0]["Status"], stage["CurrentInstanceCount"]) for stage in stages] == [
        ("Creating", 0),
        ("ActivatingTraffic", 1),
        ("Baking", 1),
        ("ActivatingTraffic", 4),
        ("Baking", 4),
        ("Deleting", 4),
    ]
    canary = sent[2]
    assert (canary["EndpointConfigName"], canary["EndpointStatus"]) == ("old", "UPDATING")
    assert canary["PendingDeploymentSummary"]["EndpointConfigName"] == "new"
    assert canary["PendingDeploymentSummary"]["StartTime"] == update.pending["StartTime"] * 1000
    assert stages[2]["VariantStatus"][0]["StatusMessage"] == (
        "Baking for 10 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [(RuntimeError("what nobody thought of"), "the local cloud failed: RuntimeError"), (RollBack("enough"), "enough")],
)
def test_whatever_goes_wrong_in_between_the_old_version_serves_again(
    cloud: FakeCloud, update: Update, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    blue, green, router = fleet(4), fleet(4), Router("e")
    router.send_to((blue, 1.0))

    def bake(run: Run, seconds: float) -> None:
        assert set(router.fleets) == {blue, green}
        raise error

    monkeypatch.setattr(Run, "bake", bake)
    update.pending["Restarts"] = 1
    policy = BlueGreen("CANARY", Size(COUNT, 1), wait_s=10)
    outcome = update.run(policy, router, green)
    assert (outcome.status, outcome.retired, router.fleets) == ("InService", (green,), [blue])
    assert words in str(outcome.reason)
    assert update.again in str(outcome.reason), "it says that a restart was in between"
    (event,) = cloud.sent("SageMaker Endpoint State Change")
    assert (event["EndpointStatus"], words in event["FailureReason"]) == ("ROLLING_BACK", True)


def test_a_rolling_update_that_cannot_go_back_says_that_both_versions_answer(update: Update) -> None:
    blue, green, router = fleet(4), fleet(0), Router("e")
    router.send_to((blue, 1.0))
    cast(FakeVariant, green.variants["blue"]).limit = 2
    # The old one ended its first batch when the new one's second does not come up; and it does not come back either.
    cast(FakeVariant, blue.variants["blue"]).limit = 3
    policy = Rolling(Size(COUNT, 2))
    outcome = update.run(policy, router, green)
    assert outcome.status == "UpdateRollbackFailed"
    assert "both versions answer" in str(outcome.reason)
    assert set(router.fleets) == {blue, green}
    assert outcome.retired == ()
