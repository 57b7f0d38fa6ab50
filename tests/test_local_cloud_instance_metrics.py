"""What is measured of the servers behind endpoints: processes that really compute and really have memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from local_cloud.sagemaker.hosting import instance_metrics
from local_cloud.sagemaker.hosting.endpoint_metrics import Measured
from local_cloud.sagemaker.hosting.hosting import Hosting
from local_cloud.sagemaker.hosting.instance_metrics import Meter
from tests.waiting import wait_for

# It reads what it holds, or the system might take pages back that nobody uses.
BUSY = "held = bytearray(64_000_000)\nprint('ready', flush=True)\nwhile True: held.count(1)"
IDLE = "import time; print('ready', flush=True); time.sleep(600)"
WITH_BUSY_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"


class Recorder:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float]] = []

    def record(self, region: str, measured: Measured) -> None:
        assert region == "us-east-1"
        for _, dimensions, name, _, value in measured.points():
            assert dimensions == (("EndpointName", "churn"), ("VariantName", "AllTraffic"))
            self.points.append((name, value))

    def take(self, metric: str) -> list[float]:
        found = [value for name, value in self.points if name == metric]
        self.points = [(name, value) for name, value in self.points if name != metric]
        return found


class Serving:
    """An endpoint whose instances are programs."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.instances: list[Any] = []
        self.recorder = Recorder()
        variant = SimpleNamespace(name="AllTraffic", ready=self.instances)
        fleet = SimpleNamespace(variants={"AllTraffic": variant})
        router = SimpleNamespace(endpoint="churn", fleets=[fleet])
        self.service = SimpleNamespace(
            engine=SimpleNamespace(kind="process"), background={"endpoint_metrics": self.recorder}
        )
        hosting = SimpleNamespace(service=self.service, routers={("0", "us-east-1", "churn"): router})
        self.meter = Meter(cast(Hosting, hosting), pause_s=60)

    def run(self, program: str, in_flight: int = 0) -> None:
        process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True, stdout=subprocess.PIPE)
        self.processes.append(process)
        assert process.stdout is not None
        # What its start costs is measured by nobody.
        assert process.stdout.readline() == b"ready\n"
        servers = {"primary": SimpleNamespace(pid=process.pid)}
        self.instances.append(SimpleNamespace(id=f"i-{process.pid}", servers=servers, in_flight=in_flight))

    def measured(self, metric: str, seconds: float = 0.5) -> list[float]:
        """One value for each instance, of the time in between."""
        self.meter.measure()
        self.recorder.points.clear()
        time.sleep(seconds)
        self.meter.measure()
        return self.recorder.take(metric)


@pytest.fixture
def serving() -> Iterator[Serving]:
    made = Serving()
    yield made
    for process in made.processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_cpu_is_that_of_each_instance_and_of_what_it_started(serving: Serving) -> None:
    serving.run(IDLE)
    serving.run(WITH_BUSY_CHILD)

    def is_told_apart() -> bool:
        idle, busy = serving.measured("CPUUtilization")
        # A core, or what others on this machine leave of it, which may be very little for a while.
        return idle < 5 and 10 < busy < 150

    wait_for(is_told_apart)


def test_memory_is_a_share_of_the_machine(serving: Serving) -> None:
    serving.run(BUSY)
    [share] = serving.measured("MemoryUtilization", 0)
    total = psutil.virtual_memory().total
    assert 100 * 60_000_000 / total < share < 100 * 300_000_000 / total


def test_the_first_measurement_has_no_cpu_to_tell(serving: Serving) -> None:
    serving.run(IDLE)
    serving.meter.measure()
    assert serving.recorder.take("CPUUtilization") == []
    assert len(serving.recorder.take("MemoryUtilization")) == 1


def test_a_variant_that_nobody_asks_has_invocations_of_zero(serving: Serving) -> None:
    serving.run(IDLE, in_flight=3)
    serving.run(IDLE)
    serving.meter.measure()
    assert serving.recorder.take("InvocationsPerInstance") == [0.0, 0.0]
    assert serving.recorder.take("ConcurrentRequestsPerModel") == [3.0, 0.0]


def test_a_server_that_is_gone_is_not_measured(serving: Serving) -> None:
    serving.run(IDLE)
    serving.processes[0].kill()
    serving.processes[0].wait()
    serving.meter.measure()
    serving.meter.measure()
    assert set(serving.recorder.take("CPUUtilization")) <= {0.0}


def test_a_container_of_another_machine_is_not_taken_for_a_process_of_this_one(serving: Serving) -> None:
    serving.service.engine.kind = "docker"
    serving.run(IDLE)
    assert serving.measured("CPUUtilization", 0) == []
    assert serving.recorder.take("MemoryUtilization") == []


@pytest.mark.parametrize(("asked", "given"), [(0.001, 0.25), (0.5, 0.5), (600, 10.0)])
def test_it_is_measured_as_often_as_there_is_something_new(asked: float, given: float) -> None:
    assert instance_metrics.pause_s(asked) == given
