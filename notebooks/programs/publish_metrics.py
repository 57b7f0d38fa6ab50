"""Says to CloudWatch what a notebook instance is busy with: processor, memory, disks and GPUs, which AWS itself does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Datum = dict[str, Any]

NAMESPACE = "Sagestack/Notebooks"
# An hour of minutes: what CloudWatch did not take is said again, and never fills the memory.
KEPT = 600


def cpu_times(stat: str) -> tuple[int, int]:
    """Busy and all time of all processors since the start, from /proc/stat; waiting for a disk is not busy."""
    numbers = [int(each) for each in stat.split("\n", 1)[0].split()[1:9]]
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)


def memory_percent(meminfo: str) -> float:
    """How much memory programs have, from /proc/meminfo; what the kernel would give back at once is free."""
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if ":" in line}
    return 100.0 * (1 - sizes["MemAvailable"] / sizes["MemTotal"])


def disk_percent(path: str) -> float:
    """How full the disk is for people, as `df` says it: what is kept for root is not free."""
    usage = os.statvfs(path)
    used = usage.f_blocks - usage.f_bfree
    return 100.0 * used / max(1, used + usage.f_bavail)


def gpus() -> list[tuple[float, float]]:
    """Of each GPU how busy it is and how full its memory is, in percent; none where there is none."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, stdout=subprocess.PIPE, timeout=20, check=True).stdout.decode()
        rows = [[float(each) for each in line.split(",")] for line in said.splitlines() if line.strip()]
    # A driver that hangs, or "[N/A]" for a number.
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"nvidia-smi: {error}", flush=True)
        return []
    return [(busy, 100.0 * used / total) for busy, used, total in rows]


def measured(before: tuple[int, int], volume: str) -> Iterator[tuple[str, list[float]]]:
    """All metrics, in percent; the processor's is since `before`."""
    now = cpu_times(_read("/proc/stat"))
    busy, total = now[0] - before[0], now[1] - before[1]
    if total > 0:
        yield "CPUUtilization", [100.0 * busy / total]
    yield "MemoryUtilization", [memory_percent(_read("/proc/meminfo"))]
    yield "DiskUtilization", [disk_percent("/")]
    yield "VolumeUtilization", [disk_percent(volume)]
    found = gpus()
    if found:
        yield "GPUUtilization", [each[0] for each in found]
        yield "GPUMemoryUtilization", [each[1] for each in found]


def data(metrics: Iterator[tuple[str, list[float]]], instance: str, now: float) -> list[Datum]:
    """As CloudWatch takes them; several GPUs are several values of one metric."""
    return [
        {
            "MetricName": name,
            "Dimensions": [{"Name": "NotebookInstanceName", "Value": instance}],
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            "Values": [round(value, 2) for value in values],
            "Unit": "Percent",
        }
        for name, values in metrics
    ]


class CloudWatch:
    """Sends by boto3, or by the AWS command line where there is none.

    What CloudWatch does not take now is sent with what comes next, the newest ten minutes or so of it; that it does not
    answer is said once, and once that it does again: a log that says it each minute fills the volume.
    """

    def __init__(self, client: Any | None = None) -> None:
        self._client = client
        self._waiting: list[Datum] = []
        self._silent = False

    @property
    def waits(self) -> bool:
        """Whether something was not taken yet."""
        return bool(self._waiting)

    def put(self, batch: list[Datum]) -> bool:
        """Sends; says whether CloudWatch took it."""
        self._waiting = (self._waiting + batch)[-KEPT:]
        try:
            self._send(self._waiting)
        # Whatever it is (no network, no right, no credentials yet): metrics never end for it.
        except Exception as error:
            if not self._silent:
                print(f"CloudWatch takes no metrics (this is tried again): {error}", flush=True)
            self._silent = True
            return False
        if self._silent:
            print("CloudWatch takes metrics again", flush=True)
        self._silent, self._waiting = False, []
        return True

    def _send(self, batch: list[Datum]) -> None:
        if self._client is None:
            try:
                import boto3
                from botocore.config import Config
            except ImportError:
                command = ["aws", "cloudwatch", "put-metric-data", "--namespace", NAMESPACE]
                sent = subprocess.run(
                    [*command, "--metric-data", json.dumps(batch)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=60,
                )
                if sent.returncode:
                    raise RuntimeError(sent.stdout.decode(errors="replace").strip()) from None
                return
            patience = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 1})
            client: Any = boto3.client("cloudwatch", config=patience)
            self._client = client
        self._client.put_metric_data(Namespace=NAMESPACE, MetricData=batch)


def main() -> int:
    """Publishes each `METRICS_INTERVAL` seconds for an hour; who calls it calls it again."""
    instance = os.environ.get("SAGESTACK_INSTANCE", "")
    if not instance:
        print("This is no notebook instance (its name is not known): no metrics are published")
        return 1
    volume = os.environ.get("SAGESTACK_VOLUME", "/home/ec2-user/SageMaker")
    interval = float(os.environ.get("METRICS_INTERVAL", "60"))
    cloudwatch, ends = CloudWatch(), time.monotonic() + float(os.environ.get("METRICS_SECONDS", "3600"))
    # What waits would be lost.
    while time.monotonic() < ends or cloudwatch.waits:
        before = cpu_times(_read("/proc/stat"))
        time.sleep(interval)
        try:
            batch = data(measured(before, volume), instance, time.time())
        except (OSError, ValueError, KeyError) as error:
            print(f"Not measured: {error!r}", flush=True)
            continue
        cloudwatch.put(batch)
    return 0


def _read(path: str) -> str:
    return Path(path).read_text()


if __name__ == "__main__":
    sys.exit(main())
