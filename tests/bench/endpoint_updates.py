"""What clients notice of deployments: a steady stream of requests while a stack goes to good and to bad versions.

The stack has what a serving stack has: the endpoint with its alarms and its update policy, the probe with golden records, the
gate. Nobody helps: what happens after the call of UpdateStack is the product's doing.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagestack import settings

from tests.bench.figures import Row
from tests.endpoint_versions import Steady, Watch, asker
from tests.guarded_endpoint import ENDPOINT, Deployments, GuardedStack, Registry, golden, until_no_alarm_rings
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud

PER_SECOND = 200.0
INSTANCES = 4
CANARY = 1 / INSTANCES
BAKE_S = 240
"""Eight real seconds by the local cloud's clock as it comes."""
LATENCY_MS = 2000.0
"""Far from what a good version takes even while eight servers start on two busy cores."""
SLOW_S = 2.4
LEAVES_OUT_S = 0.3
"""Of a stage, at both ends: it is seen a little after it began, and so is its end."""
NORMAL_99 = 2.576
"""So many standard deviations to both sides are 99 % of what chance does."""


def updates() -> Iterator[Row]:
    """A good version; one that fails, one that is slow, one that is wrong, one that never starts; a good one after each."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = LocalCloud(Path(folder) / "cloud")
        cloud.start()
        try:
            yield from _Story(cloud, Path(folder) / "cdk.out").rows()
        finally:
            cloud.stop()


def _hosting() -> settings.RealTime:
    return settings.RealTime(
        kind="real-time",
        instance_type="ml.m5.large",
        initial_instance_count=INSTANCES,
        update=settings.Canary(kind="canary", canary_percent=round(100 * CANARY), bake_in_seconds=BAKE_S),
        rollback=settings.RollbackLimits(p99_latency_ms=LATENCY_MS),
        data_capture=None,
    )


def _soon_given_up(stack: GuardedStack) -> None:
    """A version that is never healthy shall not take two minutes to say so; a minute is the least that SageMaker takes."""
    stack.endpoint.config.add_property_override("ProductionVariants.0.ContainerStartupHealthCheckTimeoutInSeconds", 60)


@dataclass
class _Run:
    """One deployment under load, and what was seen of it."""

    status: str
    reasons: list[str]
    load: Steady
    watch: Watch

    @property
    def failed(self) -> list[str]:
        return [answer.text for answer in self.load.answers if answer.is_error]


class _Story:
    """Version after version of a model that multiplies by the version's number."""

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        self.hosting = Hosting(cloud)
        self.registry = Registry(self.hosting)
        self.deployments = Deployments(cloud, folder, _hosting(), _soon_given_up)
        self.ask = asker(self.hosting, ENDPOINT, body=b"1")

    def rows(self) -> Iterator[Row]:
        status = self.deployments.serve(self.registry.register(1))
        assert status == "CREATE_COMPLETE", self.deployments.failures()
        yield from self.good(1, 2)
        yield from self.bad(2, 3, "fails on one request in five", fails_one_in=5)
        yield from self.good(2, 4)
        yield from self.bad(4, 5, f"takes {SLOW_S:g} s longer", answers_after_s=SLOW_S)
        yield from self.good(4, 6)
        yield from self.bad(6, 7, "answers wrongly", recorded=golden(7.5))
        yield from self.good(6, 8)
        yield from self.bad(8, 9, "is never healthy", is_never_healthy=True)
        yield from self.good(8, 10)

    def deployed(self, version: int, **what: Any) -> _Run:
        """One deployment, under load from a moment before to a moment after."""
        arn = self.registry.register(version, **what)
        until_no_alarm_rings(self.hosting.cloud)
        with Watch(self.hosting, ENDPOINT) as watch, Steady(self.ask, PER_SECOND) as load:
            time.sleep(2)
            status = self.deployments.serve(arn)
            time.sleep(2)
        return _Run(status, self.deployments.failures(), load, watch)

    def good(self, before: int, after: int) -> Iterator[Row]:
        """A deployment that nobody notices."""
        run = self.deployed(after)
        name = f"canary from v{before} to v{after}, {PER_SECOND:.0f} requests a second"
        yield f"{name}: the stack ends", f"{run.status} {' '.join(run.reasons)[:300]}".strip(), "UPDATE_COMPLETE"
        total, failed = len(run.load.answers), run.failed
        yield f"{name}: requests, and those that failed", f"{total}, {len(failed)} {failed[:1] or ''}", "none failed"
        bake, begins = run.watch.bake(), run.watch.first("Updating")
        if bake is None or begins is None:
            yield f"{name}: stages", "no canary was seen", "a canary"
            return
        back = max(stage.at for stage in run.watch.stages if stage.status == "InService")
        first, last = run.load.between(0, begins), run.load.between(back, math.inf)
        canary = run.load.between(bake[0] + LEAVES_OUT_S, bake[1] - LEAVES_OUT_S)
        asked = canary.total()
        lower, upper = _expected(asked)
        yield (
            f"{name}: answered by v{after} before, in the canary's bake, after",
            f"{_share(first, after):.0f} %, {_share(canary, after):.1f} % of {asked}, {_share(last, after):.0f} %",
            f"0 %, {100 * CANARY:.0f} % (99 % of draws: {lower:.1f} to {upper:.1f} %), 100 %",
        )
        seconds = sorted(answer.seconds for answer in run.load.answers)
        p99 = seconds[int(len(seconds) * 0.99)]
        yield f"{name}: latency, median and p99", f"{statistics.median(seconds) * 1e3:.1f}, {p99 * 1e3:.1f} ms", ""
        yield f"{name}: requests sent more than 50 ms late", f"{run.load.late}", ""

    def bad(self, good: int, bad: int, what: str, **behaviour: Any) -> Iterator[Row]:
        """A deployment that is taken back by itself."""
        run = self.deployed(bad, **behaviour)
        name = f"v{bad}, which {what}"
        yield f"{name}: the stack ends", run.status, "UPDATE_ROLLBACK_COMPLETE"
        yield f"{name}: its events say", " | ".join(run.reasons)[:400], "why"
        answers = run.load.between(0, math.inf)
        met, total = answers[_answer(bad)] + answers["error"], answers.total()
        bake, back = run.watch.bake(), run.watch.first("RollingBack")
        if bake:
            end = back or bake[1]
            watched = run.load.between(bake[0] + LEAVES_OUT_S, end - LEAVES_OUT_S)
            lower, upper = _expected(watched.total())
            share = 100 * (watched[_answer(bad)] + watched["error"]) / max(1, watched.total())
            yield (
                f"{name}: its share of the requests while it was watched",
                f"{share:.1f} % of {watched.total()}, for {end - bake[0]:.1f} s",
                f"at most {100 * CANARY:.0f} % (99 % of draws: {lower:.1f} to {upper:.1f} %)",
            )
        yield (
            f"{name}: requests that it answered, those that failed, of all",
            f"{answers[_answer(bad)]}, {answers['error']} {run.failed[:1] or ''}, of {total} ({100 * met / total:.1f} %)",
            f"at most {100 * CANARY:.0f} %",
        )
        served = {self.ask() for _ in range(20)}
        yield f"{name}: afterwards answers", ", ".join(sorted(served)), _answer(good)


def _answer(version: int) -> str:
    """What a version answers to 1."""
    return str(float(version))


def _share(answers: dict[str, int], version: int) -> float:
    return 100 * answers.get(_answer(version), 0) / max(1, sum(answers.values()))


def _expected(requests: int) -> tuple[float, float]:
    """The percentages between which the canary's share lies in 99 of 100 cases, if each request is drawn by itself."""
    spread = 100 * NORMAL_99 * math.sqrt(CANARY * (1 - CANARY) / max(1, requests))
    return 100 * CANARY - spread, 100 * CANARY + spread
