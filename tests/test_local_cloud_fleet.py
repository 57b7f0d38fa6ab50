"""The servers behind an endpoint, with an engine of the test's own: what takes too long, or is too rare, over the wire."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from local_cloud.containers.engine import Container, ContainerError, ContainerSpec, Image
from local_cloud.platform import Credentials, Platform
from local_cloud.sagemaker import log_stream, loopback_ports
from local_cloud.sagemaker.hosting import endpoint_metrics
from local_cloud.sagemaker.hosting.endpoint_metrics import Invocation
from local_cloud.sagemaker.hosting.fleet import Fleet, Interrupted, Variant
from local_cloud.sagemaker.hosting.router import Router, UnknownVariant
from local_cloud.sagemaker.hosting.server import NotHealthy, ServerSpec
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.model_data import BadModelData, ModelData, extract
from tests.local_cloud_fixtures import ROOT

SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[1]))
        self.end_headers()
    def log_message(self, *arguments): pass
print("started", flush=True)
if sys.argv[1] == "0": sys.exit(3)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Process:
    """A container that is a process."""

    def __init__(self, arguments: list[str], spec: ContainerSpec) -> None:
        self._process = subprocess.Popen(
            arguments, env={"PORT": str(spec.port)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._reader = threading.Thread(target=self._read, args=(spec.on_line,), daemon=True)
        self._reader.start()

    def _read(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            on_line(line)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def wait(self, timeout_s: float | None = None) -> int | None:
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        # As Container promises: all its output is delivered.
        self._reader.join()
        return code

    def stop(self, grace_s: float) -> None:
        self._process.terminate()
        self._process.wait(60)


class Engine:
    """Starts servers whose `/ping` answers with a status; 0 makes them end at once, None keeps them from starting."""

    kind = "test"

    def __init__(self, *statuses: int | None) -> None:
        self._statuses = list(statuses)
        self.specs: list[ContainerSpec] = []

    def prepare(self, uri: str, fetch: Callable[[Path], None], on_line: Callable[[str], None]) -> Image:
        raise NotImplementedError

    def start(self, spec: ContainerSpec) -> Container:
        self.specs.append(spec)
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if status is None:
            raise ContainerError("no such program")
        return Process([sys.executable, "-c", SERVER, str(status)], spec)

    def close(self) -> None:
        pass


class Logs:
    """CloudWatch Logs, as far as a log stream uses it."""

    def __init__(self, denied: tuple[str, ...] = ()) -> None:
        self.lines: list[str] = []
        self.batches: list[int] = []
        self._denied = denied

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(**request: Any) -> None:
            if name in self._denied:
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, name)
            events = request.get("logEvents", [])
            self.lines += [event["message"] for event in events]
            if events:
                self.batches.append(len(events))

        return call


class Cloud:
    """A platform that has logs and nothing else."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def client(self, service: str, region: str, credentials: Credentials | None = None) -> Logs:
        return self._logs


def stream(logs: Logs, name: str = "stream") -> LogStream:
    return LogStream(cast(Platform, Cloud(logs)), "us-east-1", Credentials("a", "b", "c"), "group", name)


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


def variant(folder: Path, engine: Engine, name: str = "blue", **spec: Any) -> Variant:
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "weights.json").write_text("1")
    return Variant(
        engine,
        [
            ServerSpec(
                endpoint="endpoint",
                variant=name,
                image=Image("s3://a/b", "b"),
                model_folder=model,
                environment={},
                **spec,
            )
        ],
        folder / name,
        lambda name: stream(Logs(), name),
        weight=1.0,
        least_busy=False,
    )


def test_a_server_that_never_becomes_healthy_is_given_up_after_its_time(
    tmp_path: Path, stopping: threading.Event
) -> None:
    engine = Engine(500)
    with pytest.raises(NotHealthy, match=r"variant blue did not pass the ping health check.*within 0.5 s") as caught:
        variant(tmp_path, engine, health_check_timeout_s=0.5).grow_to(1, stopping)
    assert "/ping" in str(caught.value)
    assert len(engine.specs) == 1
    assert not list((tmp_path / "blue").iterdir()), "what it left would fill the disk"


@pytest.mark.parametrize(("status", "words"), [(0, "exit code 3. Its last line: started"), (None, "no such program")])
def test_a_server_that_ends_at_its_start_is_tried_three_times(
    tmp_path: Path, stopping: threading.Event, status: int | None, words: str
) -> None:
    engine = Engine(status)
    with pytest.raises(NotHealthy, match=words):
        variant(tmp_path, engine).grow_to(1, stopping)
    assert len(engine.specs) == 3


def test_a_start_that_fails_once_is_no_failure(tmp_path: Path, stopping: threading.Event) -> None:
    blue = variant(tmp_path, Engine(0, 200))
    blue.grow_to(1, stopping)
    assert len(blue.ready) == 1
    Fleet([blue]).stop(0, 1)


def test_each_instance_has_its_own_port_and_its_own_copy_of_the_model(
    tmp_path: Path, stopping: threading.Event
) -> None:
    engine = Engine(200)
    blue = variant(tmp_path, engine)
    blue.grow_to(3, stopping)
    folders = {spec.ml_dir for spec in engine.specs}
    assert len(folders) == len({spec.port for spec in engine.specs}) == 3
    (engine.specs[0].ml_dir / "model/weights.json").write_text("changed")
    assert (engine.specs[1].ml_dir / "model/weights.json").read_text() == "1"
    assert [spec.arguments for spec in engine.specs] == [("serve",)] * 3
    Fleet([blue]).stop(0, 1)
    assert not any(folder.exists() for folder in folders)


def test_a_start_is_given_up_when_the_cloud_stops(tmp_path: Path, stopping: threading.Event) -> None:
    engine = Engine(500)
    threading.Timer(0.3, stopping.set).start()
    with pytest.raises(Interrupted):
        variant(tmp_path, engine).grow_to(2, stopping)


def test_a_stop_that_comes_while_a_container_starts_ends_it(tmp_path: Path, stopping: threading.Event) -> None:
    started: list[Container] = []

    class Slow(Engine):
        def start(self, spec: ContainerSpec) -> Container:
            stopping.set()
            time.sleep(0.5)
            started.append(super().start(spec))
            return started[-1]

    with pytest.raises(Interrupted):
        variant(tmp_path, Slow(200)).grow_to(1, stopping)
    assert [container.wait(60) is None for container in started] == [False]


def test_traffic_is_moved_between_fleets_and_a_tried_instance_is_not_taken_again(
    tmp_path: Path, stopping: threading.Event
) -> None:
    blue, green = variant(tmp_path, Engine(200)), variant(tmp_path, Engine(200), "green")
    for each in (blue, green):
        each.grow_to(2, stopping)
    router = Router("endpoint")
    with router.lease() as lease:
        assert lease is None
    router.send_to((Fleet([blue]), 0.5), (Fleet([green]), 0.5))
    taken = set()
    for _ in range(100):
        with router.lease() as lease:
            assert lease is not None
            taken.add(lease.variant.name)
    assert taken == {"blue", "green"}
    router.send_to((Fleet([green]), 1.0))
    with router.lease(but=[green.instances[0]]) as lease:
        assert lease is not None
        assert lease.instance is green.instances[1]
        assert lease.instance.in_flight == 1
    assert green.instances[1].in_flight == 0
    with router.lease(but=green.instances) as lease:
        assert lease is None
    with pytest.raises(UnknownVariant, match="blue"), router.lease("blue"):
        pass
    for fleet in (Fleet([blue]), Fleet([green])):
        fleet.stop(0, 1)


def test_least_outstanding_requests_takes_the_instance_with_the_fewest(
    tmp_path: Path, stopping: threading.Event
) -> None:
    blue = variant(tmp_path, Engine(200))
    blue._least_busy = True
    blue.grow_to(2, stopping)
    router = Router("endpoint")
    router.send_to((Fleet([blue]), 1.0))
    with router.lease() as first, router.lease() as second:
        assert first is not None
        assert second is not None
        assert first.instance is not second.instance
    Fleet([blue]).stop(0, 1)


def test_a_port_is_given_once_and_is_none_that_a_client_could_be_given() -> None:
    ports = {loopback_ports.take() for _ in range(50)}
    assert len(ports) == 50
    assert loopback_ports.FIRST <= min(ports) <= max(ports) <= loopback_ports.LAST
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if ephemeral.exists():
        assert max(ports) < int(ephemeral.read_text().split()[0])
    for port in ports:
        loopback_ports.release(port)


def test_a_port_that_another_local_cloud_was_given_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys; from local_cloud.sagemaker import loopback_ports as p; print(p.take(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        port = int(other.stdout.readline())
        chosen = iter([port, port, port + 1, *range(loopback_ports.FIRST, loopback_ports.LAST)])
        monkeypatch.setattr(random, "randint", lambda *_: next(chosen))
        ours = loopback_ports.take()
        loopback_ports.release(ours)
        assert ours != port
        other.stdin.close()
        assert other.wait(60) == 0
    monkeypatch.setattr(random, "randint", lambda *_: port)
    assert loopback_ports.take() == port, "it is free with the end of who had it"
    loopback_ports.release(port)


def test_a_log_stream_writes_in_order_and_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "MAX_BATCH_LINES", 10)
    # None before all lines are there.
    monkeypatch.setattr(log_stream, "FLUSH_INTERVAL_S", 600)
    logs = Logs()
    writer = stream(logs)
    for number in range(25):
        writer.write(f"{number}\n")
    writer.close(60)
    assert logs.lines == [str(number) for number in range(25)]
    assert max(logs.batches) == 10


def test_a_log_stream_says_how_many_lines_it_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "MAX_WAITING_LINES", 5)
    monkeypatch.setattr(log_stream, "FLUSH_INTERVAL_S", 600)
    logs = Logs()
    writer = stream(logs)
    for number in range(8):
        writer.write(str(number))
    writer.close(60)
    assert logs.lines == ["(3 lines were dropped)", "3", "4", "5", "6", "7"]


def test_a_role_that_may_not_create_the_group_still_writes_to_one_that_is_there() -> None:
    logs = Logs(denied=("create_log_group",))
    writer = stream(logs)
    writer.write("line")
    writer.close(60)
    assert logs.lines == ["line"]


def test_a_log_stream_that_is_denied_stays_quiet() -> None:
    logs = Logs(denied=("put_log_events",))
    writer = stream(logs)
    writer.write("line")
    writer.close(60)
    writer.write("another")
    assert logs.lines == []


@pytest.mark.parametrize(("name", "link"), [("../outside", None), ("link", "/etc/passwd"), ("link", "../../outside")])
def test_an_archive_cannot_reach_outside_its_folder(tmp_path: Path, name: str, link: str | None) -> None:
    member = tarfile.TarInfo(name)
    if link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    archive, folder = tmp_path / "model.tar.gz", tmp_path / "deep/model"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(member, io.BytesIO())
    folder.mkdir(parents=True)
    with pytest.raises(BadModelData, match="The archive s3://a/b is unsafe") as caught:
        extract(archive, folder, "s3://a/b")
    assert name in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == sorted([archive, folder, folder.parent])


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(b"plain text")
    with pytest.raises(BadModelData, match="s3://a/b is not a gzip-compressed tar archive"):
        extract(archive, tmp_path / "model", "s3://a/b")


def test_model_data_is_read_from_either_form() -> None:
    assert ModelData.of({}) is None
    assert ModelData.of({"ModelDataUrl": "s3://b/k/model.tar.gz"}) == ModelData("b", "k/model.tar.gz")
    source = {"S3Uri": "s3://b/k/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    data = ModelData.of({"ModelDataSource": {"S3DataSource": source}})
    assert data == ModelData("b", "k/", is_prefix=True, is_archive=False)
    assert data.uri == "s3://b/k/"


def test_metrics_are_exact_at_ordinary_rates_and_bounded_under_load() -> None:
    def one(model_s: float, status: int = 200) -> Invocation:
        return Invocation("endpoint", "blue", instance_count=4, status=status, model_s=model_s, total_s=model_s + 0.001)

    def told(entries: list[dict[str, Any]], name: str) -> dict[float, float]:
        return {v: c for e in entries if e["MetricName"] == name for v, c in zip(e["Values"], e["Counts"], strict=True)}

    entries = endpoint_metrics.data([one(0.0101), one(0.0101), one(0.02, 400), one(0.03, 0)], 1.0)
    assert told(entries, "Invocations") == {1.0: 4.0}
    assert told(entries, "InvocationsPerInstance") == {0.25: 4.0}
    assert told(entries, "ModelLatency") == {10100.0: 2.0, 20000.0: 1.0, 30000.0: 1.0}
    assert told(entries, "OverheadLatency") == {1000.0: 4.0}
    assert told(entries, "Invocation4XXErrors") == {0.0: 3.0, 1.0: 1.0}
    assert told(entries, "Invocation5XXErrors") == {0.0: 3.0, 1.0: 1.0}
    assert told(entries, "InvocationModelErrors") == {0.0: 2.0, 1.0: 2.0}

    entries = endpoint_metrics.data([one(0.01 + number / 1e6) for number in range(10_000)], 1.0)
    latencies = told(entries, "ModelLatency")
    assert sum(latencies.values()) == 10_000
    assert len(latencies) <= endpoint_metrics.MAX_VALUES
    assert sum(value * count for value, count in latencies.items()) == pytest.approx(10_000 * 15_000, rel=0.01)
