"""What clients notice when a server of an endpoint is killed while it answers."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Row
from tests.endpoint_versions import Steady, asker
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud

PER_SECOND = 200.0
INSTANCES = 4
KILLS = 3
ENDPOINT = "struck"
TAKES_S = 0.03
"""One request: long enough that a server has one or two to lose whenever it is killed."""
TIMEOUT_S = 30


def killed() -> Iterator[Row]:
    """One server after the other, under a steady stream of requests."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = LocalCloud(Path(folder) / "cloud")
        cloud.start()
        try:
            hosting = Hosting(cloud)
            hosting.endpoint(ENDPOINT, hosting.config(ENDPOINT, count=INSTANCES))
            ask = asker(hosting, ENDPOINT, body=json.dumps({"sleep_s": TAKES_S}).encode())
            with Steady(lambda: str(json.loads(ask())["pid"]), PER_SECOND) as load:
                kills = [_kill(load) for _ in range(KILLS)]
                time.sleep(2)
        finally:
            cloud.stop()
    lost = [answer for answer in load.answers if answer.is_error]
    in_flight = [
        sum(1 for answer in load.answers if answer.at < killed_at < answer.at + answer.seconds)
        for killed_at, _ in kills
    ]
    name = f"{KILLS} of {INSTANCES} servers killed, one after the other, at {PER_SECOND:.0f} requests a second"
    yield (
        f"{name}: requests, and those lost",
        f"{len(load.answers)}, {len(lost)} {[answer.text for answer in lost[:1]] or ''}".strip(),
        f"at most those in flight on them; in flight on all {INSTANCES} at the time: {in_flight}",
    )
    yield f"{name}: until a new server answers", ", ".join(f"{seconds:.2f} s" for _, seconds in kills), ""


def _kill(load: Steady) -> tuple[float, float]:
    """When a server was killed, and how long it took until a new one answered."""
    time.sleep(2)
    known = {answer.text for answer in load.answers if not answer.is_error}
    victim = [answer.text for answer in load.answers if not answer.is_error][-1]
    os.kill(int(victim), signal.SIGKILL)
    killed_at = time.monotonic()
    while not {answer.text for answer in load.answers[-50:] if not answer.is_error} - known:
        assert time.monotonic() < killed_at + TIMEOUT_S, "no new server answers"
        time.sleep(0.02)
    return killed_at, time.monotonic() - killed_at
