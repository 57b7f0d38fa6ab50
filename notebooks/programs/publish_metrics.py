"""Says to CloudWatch what a notebook instance is busy with: processor, memory, disks and GPUs, which AWS itself does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

NAMESPACE = "Sagestack/Notebooks"
# An hour of minutes: what CloudWatch did not take is said again, and never fills the memory.
KEPT = 600

Datum = Dict[str, Any]


def cpu_times(stat: str) -> Tuple[int, int]:
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


def gpus() -> List[Tuple[float, float]]:
    """Of each GPU how busy it is and how full its memory is, in percent; none where there is none."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, stdout=subprocess.PIPE, timeout=20, check=True).stdout.decode()
        rows = [[float(each) for each in line.split(",")] for line in said.splitlines() if line.strip()]
    # A driver that hangs, or "[N/A]" for a number.
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print("nvidia-smi: %s" % error, flush=True)
        return []
    return [(busy, 100.0 * used / total) for busy, used, total in rows]


def measured(before: Tuple[int, int], volume: str) -> Iterator[Tuple[str, List[float]]]:
    """All metrics, in percent; the processor's is since `before`."""
    busy, total = (now - then for now, then in zip(cpu_times(_read("/proc/stat")), before))
    if total > 0:
        yield "CPUUtilization", [100.0 * busy / total]
    yield "MemoryUtilization", [memory_percent(_read("/proc/meminfo"))]
    yield "DiskUtilization", [disk_percent("/")]
    yield "VolumeUtilization", [disk_percent(volume)]
    found = gpus()
    if found:
        yield "GPUUtilization", [each[0] for each in found]
        yield "GPUMemoryUtilization", [each[1] for each in found]


def data(metrics: Iterator[Tuple[str, List[float]]], instance: str, now: float) -> List[Datum]:
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

    def __init__(self, client: Optional[Any] = None) -> None:
        self._client = client
        self._waiting: List[Datum] = []
        self._silent = False

    def put(self, batch: List[Datum]) -> bool:
        """Sends; says whether CloudWatch took it."""
        self._waiting = (self._waiting + batch)[-KEPT:]
        try:
            self._send(self._waiting)
        # Whatever it is (no network, no right, no credentials yet): metrics never end for it.
        except Exception as error:
            if not self._silent:
                print("CloudWatch takes no metrics (this is tried again): %s" % error, flush=True)
            self._silent = True
            return False
        if self._silent:
            print("CloudWatch takes metrics again", flush=True)
        self._silent, self._waiting = False, []
        return True

    def _send(self, batch: List[Datum]) -> None:
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
            self._client = boto3.client("cloudwatch", config=patience)
        self._client.put_metric_data(Namespace=NAMESPACE, MetricData=batch)


def main() -> int:
    """Publishes each `METRICS_INTERVAL` seconds until the instance stops."""
    instance = os.environ.get("SAGESTACK_INSTANCE", "")
    if not instance:
        print("This is no notebook instance (its name is not known): no metrics are published")
        return 1
    volume = os.environ.get("SAGESTACK_VOLUME", "/home/ec2-user/SageMaker")
    interval = float(os.environ.get("METRICS_INTERVAL", "60"))
    rounds = int(os.environ.get("METRICS_ROUNDS", "0"))
    cloudwatch, done = CloudWatch(), 0
    while True:
        before = cpu_times(_read("/proc/stat"))
        time.sleep(interval)
        try:
            batch = data(measured(before, volume), instance, time.time())
        except (OSError, ValueError, KeyError) as error:
            print("Not measured: %r" % error, flush=True)
            continue
        cloudwatch.put(batch)
        done += 1
        if done == rounds:
            return 0


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
