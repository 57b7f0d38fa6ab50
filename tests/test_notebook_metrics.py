"""What a notebook instance uses reaches CloudWatch, and what CloudWatch does not take is said again and breaks nothing."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import publish_metrics as program
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import ANY, Stubber

STAT = "cpu  100 20 30 800 50 1 2 3 0 0\ncpu0 100 20 30 800 50 1 2 3 0 0\n"
MEMINFO = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     250 kB\nHugePages_Total:       0\n"


def datum(number: int) -> dict[str, Any]:
    return {"MetricName": "CPUUtilization", "Dimensions": [], "Values": [float(number)], "Unit": "Percent"}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that are found first, and before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def command(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


def test_waiting_for_a_disk_is_not_work() -> None:
    assert program.cpu_times(STAT) == (100 + 20 + 30 + 1 + 2 + 3, 1006)


def test_memory_that_the_kernel_gives_back_is_free() -> None:
    assert program.memory_percent(MEMINFO) == 75.0


def test_a_disk_is_as_full_as_df_says() -> None:
    usage = os.statvfs("/")
    shown = 100 * (usage.f_blocks - usage.f_bfree) / (usage.f_blocks - usage.f_bfree + usage.f_bavail)
    assert program.disk_percent("/") == pytest.approx(shown, abs=1)


def test_where_there_is_no_gpu_there_is_no_metric_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.gpus() == []


def test_each_gpu_is_a_value(commands: Path) -> None:
    command(commands, "nvidia-smi", "echo '50, 1000, 4000'; echo '100, 4000, 4000'")
    assert program.gpus() == [(50.0, 25.0), (100.0, 100.0)]
    named = dict(program.measured((0, 0), "/"))
    assert named["GPUUtilization"] == [50.0, 100.0]
    assert named["GPUMemoryUtilization"] == [25.0, 100.0]


@pytest.mark.parametrize("text", ["exit 9", "echo 'No devices were found'", "echo '[N/A], 3, 4'"])
def test_a_driver_that_does_not_answer_costs_the_gpus_metrics_alone(
    commands: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command(commands, "nvidia-smi", text)
    assert set(dict(program.measured((0, 0), "/"))) == {
        "CPUUtilization",
        "MemoryUtilization",
        "DiskUtilization",
        "VolumeUtilization",
    }
    assert "nvidia-smi" in capsys.readouterr().out


@pytest.fixture
def cloudwatch() -> Iterator[tuple[program.CloudWatch, Stubber]]:
    client = boto3.client("cloudwatch", region_name="eu-central-1", aws_access_key_id="k", aws_secret_access_key="s")
    with Stubber(client) as stubber:
        yield program.CloudWatch(client), stubber


def test_cloudwatch_gets_what_its_api_takes(cloudwatch: tuple[program.CloudWatch, Stubber]) -> None:
    sender, stubber = cloudwatch
    batch = program.data(program.measured((0, 0), "/"), "sagestack-dev-explore", 1_700_000_000)
    stubber.add_response("put_metric_data", {}, {"Namespace": "Sagestack/Notebooks", "MetricData": ANY})
    assert sender.put(batch)
    stubber.assert_no_pending_responses()
    assert {each["MetricName"] for each in batch} >= {"CPUUtilization", "VolumeUtilization"}
    for each in batch:
        assert each["Dimensions"] == [{"Name": "NotebookInstanceName", "Value": "sagestack-dev-explore"}]
        assert each["Timestamp"] == "2023-11-14T22:13:20Z"
        assert all(0 <= value <= 100 for value in each["Values"])


def test_what_was_not_taken_is_said_again_with_its_own_time(
    cloudwatch: tuple[program.CloudWatch, Stubber], capsys: pytest.CaptureFixture[str]
) -> None:
    sender, stubber = cloudwatch
    stubber.add_client_error("put_metric_data", "AccessDenied", "not allowed")
    stubber.add_client_error("put_metric_data", "Throttling", "too fast")
    stubber.add_response("put_metric_data", {}, {"Namespace": ANY, "MetricData": [datum(1), datum(2), datum(3)]})
    assert [sender.put([datum(number)]) for number in (1, 2, 3)] == [False, False, True]
    assert not sender.waits
    said = capsys.readouterr().out.splitlines()
    # Once when it begins and once when it ends: a line a minute would fill the volume.
    assert len(said) == 2
    assert "AccessDenied" in said[0]


def test_what_waits_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def put_metric_data(self, **_: Any) -> None:
            raise EndpointConnectionError(endpoint_url="https://monitoring")

    sender = program.CloudWatch(Silent())
    for number in range(2000):
        sender.put([datum(number)])
    assert len(sender._waiting) == program.KEPT < 1000  # what one request takes
    assert sender._waiting[-1] == datum(1999)


def test_without_boto3_the_command_line_sends(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    command(
        commands, "aws", f'printf "%s\\n" "$@" >{tmp_path}/called; [ ! -e {tmp_path}/deny ] || {{ echo no; exit 1; }}'
    )
    sender = program.CloudWatch()
    assert sender.put([datum(1)])
    called = (tmp_path / "called").read_text().splitlines()
    assert called[:4] == ["cloudwatch", "put-metric-data", "--namespace", "Sagestack/Notebooks"]
    assert json.loads(called[5]) == [datum(1)]
    (tmp_path / "deny").touch()
    assert not sender.put([datum(2)])
    assert "no" in capsys.readouterr().out


def test_it_measures_and_sends_until_its_time_is_up(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    command(commands, "aws", f"echo >>{tmp_path}/called")
    given = {"METRICS_INTERVAL": "60", "METRICS_SECONDS": "150", "SAGESTACK_INSTANCE": "i", "SAGESTACK_VOLUME": "/"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    passed = 0.0

    class Hurried:
        """A minute in some ticks of the processor, which are what is measured."""

        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

        def monotonic(self) -> float:
            return passed

        def sleep(self, seconds: float) -> None:
            nonlocal passed
            passed += seconds
            time.sleep(0.05)

    monkeypatch.setattr(program, "time", Hurried())
    assert program.main() == 0
    assert len((tmp_path / "called").read_text()) == 3


def test_a_machine_that_is_no_notebook_instance_publishes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAGESTACK_INSTANCE", "")
    assert program.main() == 1
    assert "no notebook instance" in capsys.readouterr().out
