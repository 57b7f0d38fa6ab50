"""Measures the XGBoost image's server: CPU per request, cold start, memory, size, and latency under load.

The figures of SageMaker's own container, for the same model and requests on one worker and one core, were recorded on a
machine of this kind: 1,190 microseconds for a row, 47.8 ms for 1,000, 3.55 s to the first answer, 396 MB resident, 1.6 GB
installed. It cannot be pulled where there is no registry, so they are constants here.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.bench import http_load, image_environment
from tests.bench.figures import Row, stated

SAGEMAKERS_ROW, SAGEMAKERS_1000_ROWS = 1190e-6, 47.8e-3
RUNS = 5
COLD_STARTS = 9
CLIENTS, LOAD_SECONDS = 64, 60.0
CLIENTS_FOR_CPU = 4

# 100 features, 200 trees of depth 6: the model that SageMaker's figures are of.
_MODEL = """
import pathlib, sys
from xgboost_container import artifact
import numpy as np, xgboost
generator = np.random.default_rng(0)
rows = generator.normal(size=(20_000, 100)).astype("f4")
labels = (rows[:, 0] * rows[:, 1] + rows[:, 2] + generator.normal(size=len(rows)) * 0.1 > 0).astype("f4")
parameters = {"objective": "binary:logistic", "max_depth": 6, "seed": 0}
booster = xgboost.train(parameters, xgboost.DMatrix(rows, labels), 200)
files = artifact.as_files(
    [booster], sample=rows[0], hyperparameters={}, data={}, metrics={}, rounds={"trained": 200, "kept": 200}, summary=[]
)
for name, content in files.items():
    pathlib.Path(sys.argv[1], name).write_bytes(content)
"""


@contextmanager
def model() -> Iterator[tuple[Path, Path]]:
    """An environment of the image and a folder in the place of /opt/ml with the model."""
    with tempfile.TemporaryDirectory() as folder:
        python = image_environment.make(Path(folder))
        base = Path(folder) / "ml"
        (base / "model").mkdir(parents=True)
        environment = image_environment.variables(base)
        subprocess.run([str(python), "-c", _MODEL, str(base / "model")], env=environment, check=True)
        yield python, base


def rows_as_csv(count: int) -> bytes:
    rows = np.random.default_rng(1).normal(size=(count, 100))
    return "\n".join(",".join(f"{value:.6g}" for value in row) for row in rows).encode()


def wait_until_it_pings(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.002)
    sys.exit(f"the server ended with {process.returncode}")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int, what: str = "VmRSS") -> float:
    """Megabytes of memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(what)


def cold_starts(python: Path, base: Path) -> list[float]:
    """Seconds from the start of the process to its first 200."""
    seconds = []
    for _ in range(COLD_STARTS):
        port = image_environment.free_port()
        began = time.perf_counter()
        with image_environment.server(python, base, port) as process:
            wait_until_it_pings(port, process)
            seconds.append(time.perf_counter() - began)
    return seconds


def pace() -> float:
    """Seconds of CPU for a million additions in Python: what the machine gives just now, to judge the other figures by."""
    total, began = 0, time.process_time()
    for number in range(1_000_000):
        total += number
    return time.process_time() - began


def cpu_per_request(port: int, pid: int, body: bytes) -> float:
    """Seconds of the server's CPU, with four clients: one alone would measure how the machine wakes from its idling."""
    http_load.at_once(port, body, CLIENTS_FOR_CPU, 0.3)
    before = cpu_seconds(pid)
    outcome = http_load.at_once(port, body, CLIENTS_FOR_CPU, 1.5)
    if outcome.errors:
        sys.exit(f"the server answered {outcome.errors[0]}")
    return (cpu_seconds(pid) - before) / len(outcome.seconds)


def serving() -> Iterator[Row]:
    """All bounds at once, in one server."""
    if not Path("/proc/self/stat").exists():
        sys.exit("this reads /proc, which Linux has")
    one, thousand = rows_as_csv(1), rows_as_csv(1000)
    with model() as (python, base):
        yield "installed packages", f"{image_environment.size(python) / 1e6:.0f} MB", "at most 190 MB"
        yield "cold start to the first 200 on /ping", stated(cold_starts(python, base)), "at most 0.6 s"
        port = image_environment.free_port()
        with image_environment.server(python, base, port) as process:
            wait_until_it_pings(port, process)
            singles, batches, paces = [], [], []
            for _ in range(RUNS):
                paces.append(pace())
                singles.append(cpu_per_request(port, process.pid, one))
                batches.append(cpu_per_request(port, process.pid, thousand))
            memory = resident(process.pid, "VmHWM")
        yield "the machine's pace: a million additions in Python", stated(paces, "ms", 1e3), ""
        middle, middle_of_batches = sorted(singles)[RUNS // 2], sorted(batches)[RUNS // 2]
        yield "CPU of one row x 100", stated(singles, "us", 1e6), "at most 95 us"
        yield "  SageMaker's recorded figure is so many times it", f"{SAGEMAKERS_ROW / middle:.1f}", "12"
        yield "CPU of 1,000 rows x 100", stated(batches, "ms", 1e3), "at most 7 ms"
        yield (
            "  SageMaker's recorded figure is so many times it",
            f"{SAGEMAKERS_1000_ROWS / middle_of_batches:.1f}",
            "7",
        )
        yield "memory, the most it ever had", f"{memory:.0f} MB", "at most 110 MB"
        (base / "model" / "model-info.json").unlink()
        yield (
            "cold start of a model that was trained elsewhere (a child tries it first)",
            stated(cold_starts(python, base)),
            "",
        )


def load() -> Iterator[Row]:
    """64 clients for a minute, a row at a time."""
    with model() as (python, base):
        port = image_environment.free_port()
        with image_environment.server(python, base, port) as process:
            wait_until_it_pings(port, process)
            http_load.at_once(port, rows_as_csv(1), CLIENTS, 2)
            before = resident(process.pid)
            outcome = http_load.at_once(port, rows_as_csv(1), CLIENTS, LOAD_SECONDS)
            after = resident(process.pid)
    times = np.array(outcome.seconds) * 1e3
    yield "requests, and those that failed", f"{len(times)}, {len(outcome.errors)}", "none failed"
    yield "latency, median", f"{np.percentile(times, 50):.1f} ms", ""
    yield "latency, p99", f"{np.percentile(times, 99):.1f} ms", "at most 10 ms"
    yield "memory before and after", f"{before:.1f} MB, {after:.1f} MB", "flat"
