"""The XGBoost server as clients, SageMaker and attackers meet it: over real sockets, mostly in a real process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from asyncio.subprocess import Process
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
import pytest
import uvloop
from xgboost_container.contract import UserError
from xgboost_container.machine import memory_limit, usable_cpus
from xgboost_container.serving import server as server_module
from xgboost_container.serving import workers
from xgboost_container.serving.application import SingleModelApplication
from xgboost_container.serving.messages import Answer as Reply
from xgboost_container.serving.messages import Request
from xgboost_container.serving.request_error import RequestError
from xgboost_container.serving.selection import Selection
from xgboost_container.serving.settings import Settings

from local_cloud.sagemaker.loopback_ports import loopback_port
from tests.image_environment import python_path
from tests.waiting import wait_for
from tests.xgboost_servers import (
    ROOT,
    Answer,
    Client,
    Server,
    csv_of,
    is_running,
    refused_start,
    request_bytes,
    serving,
    small_model,
    some_rows,
    trained,
    write_artifact,
)

ROW = csv_of(some_rows(1))
BEFORE_THE_DRAIN_IS_OVER_S = server_module.DRAIN_SECONDS - 3
INSERTED = [b"\r\n", b"\0", b":", b"9" * 20, b" ", b"\xff", b"Content-Length: 3\r\n"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opt-ml")
    write_artifact(small_model(), folder / "model")
    return folder


# Who sends what is not read has two seconds to end that, and then may find the connection reset instead of the answer.
UNHURRIED = "from xgboost_container.serving import connection; connection.LINGER_SECONDS = 60.0"


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Server]:
    with serving(base, first=UNHURRIED, MAX_CONTENT_LENGTH="100000") as running:
        yield running
        assert "Traceback" not in running.log  # whatever the tests sent


@pytest.fixture(scope="module")
def impatient(base: Path) -> Iterator[Server]:
    """For requests that never end; one that ends, but is sent in pieces, might be too slow for it."""
    with serving(base, SAGEMAKER_MODEL_SERVER_TIMEOUT="1") as running:
        yield running
        assert "Traceback" not in running.log


def assert_one_line(answer: Answer, status: int, *words: str) -> None:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.endswith("\n")
    assert answer.text.count("\n") == 1
    for word in words:
        assert word in answer.text


# --- answers ------------------------------------------------------------------------------------------


def test_it_is_ready_soon(server: Server) -> None:
    assert server.ready_after_cpu < 4  # 0.5 seconds in the image, which has no scipy, on a machine of its own


def test_ping_is_200_and_empty(server: Server) -> None:
    answer = server.call("GET", "/ping")
    assert (answer.status, answer.body) == (200, b"")


def test_execution_parameters_are_those_of_the_settings(server: Server) -> None:
    answer = server.call("GET", "/execution-parameters")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"MaxConcurrentTransforms": 1, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 1}


@pytest.mark.parametrize("count", [1, 7, 900], ids=["one row", "a few, at once", "many, in a thread"])
def test_rows_get_the_scores_that_the_booster_gives(server: Server, count: int) -> None:
    rows = some_rows(count)
    answer = server.invoke(csv_of(rows))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/csv")
    np.testing.assert_allclose(answer.scores(), small_model().inplace_predict(rows), atol=1e-6)


def test_no_body_is_204_without_one(server: Server) -> None:
    answer = server.invoke(b"")
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (400, b"1,2,3", {}, ["row 1"]),
        (400, ROW + b"\n1,2,three,4,5", {}, ["row 2", "column 3", "three"]),
        (406, ROW, {"accept": "image/png"}, ["image/png", "text/csv"]),
        (406, b"1,2,three", {"accept": "image/png"}, ["image/png"]),  # before anybody looks at the body
        (415, ROW, {"content_type": "image/png"}, ["image/png", "text/csv"]),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(
    server: Server, status: int, body: bytes, headers: dict[str, str], words: list[str]
) -> None:
    with server.client() as client:
        assert_one_line(
            client.call("POST", "/invocations", body, **{"content_type": "text/csv", **headers}), status, *words
        )
        assert client.call("GET", "/ping").status == 200  # on the same connection


def test_another_path_is_404_and_another_method_405(server: Server) -> None:
    with server.client() as client:
        assert_one_line(client.call("GET", "/elsewhere"), 404, "/elsewhere", "/invocations")
        assert_one_line(client.call("POST", "/elsewhere", ROW), 404)
        refused = client.call("GET", "/invocations")
        assert_one_line(refused, 405, "POST", "GET")
        assert refused.headers["allow"] == "POST"
        assert client.call("DELETE", "/ping").headers["allow"] == "GET, HEAD"


# --- length -------------------------------------------------------------------------------------------


def test_a_body_that_is_too_long_is_413_before_it_is_sent(server: Server) -> None:
    with server.client() as client:
        client.send_request("POST", "/invocations", content_length="100001", content_type="text/csv")
        answer = client.answer()
        assert_one_line(answer, 413, "100001", "100000")
        assert answer.headers["connection"] == "close"


def test_a_client_that_sends_it_all_the_same_gets_to_read_why(server: Server) -> None:
    with server.client() as client:
        client.send_request("POST", "/invocations", b"1," * 2_000_000)
        assert_one_line(client.answer(), 413)


def test_chunks_are_counted_while_they_come(server: Server) -> None:
    chunk = b"4e20\r\n" + b"1," * 10_000 + b"\r\n"
    with server.client() as client:
        client.send_request("POST", "/invocations", transfer_encoding="chunked")
        for _ in range(6):
            client.send(chunk)
        assert_one_line(client.answer(), 413, "more than 100000")


def test_the_longest_body_that_is_allowed_is_taken(server: Server) -> None:
    body = ROW + b"\n" * (100_000 - len(ROW))
    assert server.invoke(body).status in (200, 400)  # blank lines are the decoder's business
    assert server.invoke(body + b"\n").status == 413


# --- HTTP ---------------------------------------------------------------------------------------------


def test_chunks_and_trailers_are_a_body_like_any_other(server: Server) -> None:
    half = len(ROW) // 2
    with server.client() as client:
        client.send_request("POST", "/invocations", transfer_encoding="chunked", content_type="text/csv")
        for part in (ROW[:half], ROW[half:]):
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
        client.send(b"0\r\ncontent-type: image/png\r\n\r\n")
        assert client.answer().status == 200
        # The trailer belongs to nothing, least of all to the next request.
        assert client.call("POST", "/invocations", ROW).status == 200


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    many = csv_of(some_rows(800))
    with server.client() as client:
        client.send(
            request_bytes("POST", "/invocations", many, content_type="text/csv")
            + request_bytes("GET", "/ping")
            + request_bytes("GET", "/elsewhere")
            + request_bytes("POST", "/invocations", ROW, content_type="text/csv")
        )
        answers = [client.answer() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 404, 200]
    assert [len(answer.scores()) for answer in (answers[0], answers[3])] == [800, 1]


def test_a_thousand_pipelined_requests_get_a_thousand_answers(server: Server) -> None:
    with server.client() as client:
        client.send(request_bytes("POST", "/invocations", ROW, content_type="text/csv") * 1000)
        assert {client.answer().status for _ in range(1000)} == {200}


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    with server.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request_bytes("POST", "/invocations", ROW, content_type="text/csv"):
            client.send(bytes([byte]))
        assert client.answer().status == 200


def test_expect_is_answered_when_the_body_is_welcome(server: Server) -> None:
    with server.client() as client:
        client.send_request(
            "POST", "/invocations", content_type="text/csv", content_length=str(len(ROW)), expect="100-continue"
        )
        assert client.answer().status == 100
        client.send(ROW)
        assert client.answer().status == 200


def test_expect_is_refused_at_once_when_it_is_not(server: Server) -> None:
    for path, length, status in (("/invocations", "100001", 413), ("/elsewhere", "10", 404)):
        with server.client() as client:
            client.send_request("POST", path, content_length=length, expect="100-continue")
            answer = client.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    with server.client() as client:
        client.send(b"GET /ping HTTP/1.0\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.is_closed()


def test_connection_close_closes(server: Server) -> None:
    with server.client() as client:
        assert client.call("GET", "/ping", connection="close").headers["connection"] == "close"
        assert client.is_closed()


def test_head_has_no_body(server: Server) -> None:
    with server.client() as client:
        answer = client.call("HEAD", "/execution-parameters")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 0
        assert client.call("HEAD", "/invocations").status == 405
        assert client.call("GET", "/ping").status == 200


def test_a_query_and_an_absolute_target_lead_to_the_same_place(server: Server) -> None:
    assert server.call("GET", "/ping?x=1").status == 200
    assert server.call("GET", "http://anywhere:80/ping").status == 200


def test_an_upgrade_is_not_taken_up(server: Server) -> None:
    for method, path, body, status in (("GET", "/ping", b"", 200), ("POST", "/invocations", ROW, 400)):
        answer = server.call(method, path, body, connection="Upgrade, HTTP2-Settings", upgrade="h2c")
        assert (answer.status, answer.headers["connection"]) == (status, "close")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: minus one\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"POST /invocations HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n",
        b"GET /ping HTTP/1.1\r\nbad header\x00: x\r\n\r\n",
        b"hello\r\n\r\n",
    ],
)
def test_what_is_not_http_is_400(server: Server, garbage: bytes) -> None:
    with server.client() as client:
        client.send(garbage)
        answer = client.answer()
        assert_one_line(answer, 400)
        assert answer.headers["connection"] == "close"


def test_garbage_after_a_request_does_not_cost_it_its_answer(server: Server) -> None:
    with server.client() as client:
        client.send(
            request_bytes("POST", "/invocations", csv_of(some_rows(800)), content_type="text/csv") + b"\0\0\0\r\n"
        )
        assert len(client.answer().scores()) == 800
        assert client.answer().status == 400


def test_headers_without_an_end_are_431(server: Server) -> None:
    with server.client() as client:
        client.send(b"GET /ping HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                client.send(b"x-filler: " + b"y" * 1000 + b"\r\n")
        assert_one_line(client.answer(), 431)


def test_trailers_without_an_end_are_refused(server: Server) -> None:
    with server.client() as client:
        client.send_request("POST", "/invocations", transfer_encoding="chunked", content_type="text/csv")
        client.send(b"%x\r\n%b\r\n0\r\n" % (len(ROW), ROW))
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                client.send(b"x-filler: " + b"y" * 1000 + b"\r\n")
        assert_one_line(client.answer(), 400, f"the chunks of {len(ROW)} bytes")


def test_chunks_may_be_as_short_as_a_byte(server: Server) -> None:
    body = ROW + b"\n" * 50_000
    with server.client() as client:
        client.send_request("POST", "/invocations", transfer_encoding="chunked", content_type="text/csv")
        client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert client.answer().status == 200


def test_no_mutated_request_stops_it(server: Server) -> None:
    """2,000 requests, each damaged in a few places: every answer is HTTP, and none is our fault."""
    generator = random.Random(3)
    seeds = [
        request_bytes("POST", "/invocations", ROW, content_type="text/csv"),
        request_bytes("POST", "/invocations", b"5\r\n1,2,3\r\n0\r\n\r\n", transfer_encoding="chunked"),
        request_bytes("GET", "/ping", expect="100-continue", connection="upgrade", upgrade="x"),
    ]
    seen: set[int] = set()
    for number in range(2000):
        damaged = bytearray(seeds[number % 3])
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(len(damaged))
            kind = generator.randrange(3)
            if kind == 0:
                damaged[place] = generator.randrange(256)
            elif kind == 1:
                del damaged[place : place + generator.randint(1, 5)]
            else:
                damaged[place:place] = generator.choice(INSERTED)
        with server.client() as client:
            client.send(bytes(damaged))
            client.socket.shutdown(socket.SHUT_WR)
            answered = client.rest()
        assert answered == b"" or answered.startswith(b"HTTP/1.1 "), answered
        if answered:
            seen.add(int(answered[9:12]))
    assert {200, 400} <= seen
    assert 500 not in seen
    assert server.call("GET", "/ping").status == 200


# --- a body that stops half way -----------------------------------------------------------------------


def test_a_body_that_stops_half_way_holds_nobody_up_and_is_408_in_the_end(impatient: Server) -> None:
    begun = request_bytes("POST", "/invocations", content_length="1000", content_type="text/csv") + b"1,2"
    clients = [impatient.client() for _ in range(20)]
    for client in clients:
        client.send(begun)
    assert impatient.invoke(ROW).status == 200
    answer = clients[0].answer()
    assert_one_line(answer, 408, "1 seconds", "3 bytes")
    for client in clients:
        client.socket.close()
    assert impatient.invoke(ROW).status == 200


def test_headers_that_stop_half_way_are_408_too(impatient: Server) -> None:
    with impatient.client() as client:
        client.send(b"POST /invocations HT")
        assert_one_line(client.answer(), 408)


def test_a_client_that_closes_in_the_middle_of_the_body_is_told_so_if_it_listens(server: Server) -> None:
    with server.client() as client:
        client.send_request("POST", "/invocations", content_length="1000", content_type="text/csv")
        client.send(b"1,2")
        client.socket.shutdown(socket.SHUT_WR)
        assert_one_line(client.answer(), 400, "3 bytes", "1000")
        assert client.is_closed()


def test_a_client_that_has_said_all_still_gets_its_answer(server: Server) -> None:
    for count in (1, 800):
        with server.client() as client:
            client.send_request("POST", "/invocations", csv_of(some_rows(count)), content_type="text/csv")
            client.socket.shutdown(socket.SHUT_WR)
            assert len(client.answer().scores()) == count
            assert client.is_closed()


# --- load and memory ----------------------------------------------------------------------------------


def test_64_clients_at_once_are_all_answered(server: Server) -> None:
    rows = some_rows(64)
    expected = small_model().inplace_predict(rows)

    def ask(index: int) -> None:
        with server.client() as client:
            for _ in range(10):
                answer = client.call("POST", "/invocations", csv_of(rows[index : index + 1]), content_type="text/csv")
                assert abs(answer.scores()[0] - expected[index]) < 1e-6

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(ask, range(64)))


@pytest.mark.long
def test_large_requests_do_not_hold_up_small_ones(base: Path) -> None:
    large = csv_of(np.tile(some_rows(1000), (40, 1)))
    stop = threading.Event()

    def ask_much(server: Server) -> list[float]:
        took = []
        while not stop.is_set():
            began = time.monotonic()
            assert len(server.invoke(large).scores()) == 40_000
            took.append(time.monotonic() - began)
        return took

    with serving(base) as server, ThreadPoolExecutor(3) as pool, server.client() as client:
        asking = [pool.submit(ask_much, server) for _ in range(3)]
        waited = []
        for _ in range(40):
            time.sleep(0.02)
            began = time.monotonic()
            assert client.call("GET", "/ping").status == 200
            waited.append(time.monotonic() - began)
        stop.set()
        large_ones = [seconds for one in asking for seconds in one.result()]
    # Side by side, so that the machine's pace is in both.
    assert median(waited) < median(large_ones) / 3


@pytest.mark.long
def test_memory_stays_flat_over_20000_requests(base: Path) -> None:
    batch = request_bytes("POST", "/invocations", ROW, content_type="text/csv") * 100
    batch += request_bytes("POST", "/invocations", b"1,2,three", content_type="text/csv") * 20
    batch += request_bytes("POST", "/invocations", csv_of(some_rows(600)), content_type="text/csv") * 2

    def ask(server: Server, times: int) -> None:
        for _ in range(times):
            with server.client() as client:
                client.send(batch)
                for _ in range(122):
                    client.answer()

    with serving(base) as server:
        ask(server, 15)
        before = server.resident_bytes()
        ask(server, 165)
        grown = server.resident_bytes() - before
        assert grown < 3 * 1024**2, f"{grown / 1024**2:.1f} MiB more"


def test_a_batch_takes_no_new_pages_from_the_system(base: Path) -> None:
    batch = csv_of(np.tile(some_rows(1000), (20, 1)))
    with serving(base) as server, server.client() as client:

        def page_faults_of(requests: int) -> int:
            before = server.page_faults()
            for _ in range(requests):
                assert client.call("POST", "/invocations", batch, content_type="text/csv").status == 200
            return server.page_faults() - before

        page_faults_of(5)
        # 1,000 each where every thread has an arena of its own. The best of three: a machine short of memory takes pages away.
        assert min(page_faults_of(10) for _ in range(3)) < 10 * 50


def test_a_connection_that_nobody_uses_makes_room_for_one_that_somebody_does(base: Path) -> None:
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); sys.argv[1:] = ['serve']; "
    limited += "runpy.run_module('xgboost_container', run_name='__main__', alter_sys=True)"
    environment = {
        **os.environ,
        "PYTHONPATH": python_path(ROOT),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": "0",
    }
    environment |= {"SAGEMAKER_BIND_TO_HOST": "127.0.0.1", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    log = base / "limited.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", limited], env=environment, stdout=output, stderr=output)
    try:
        server = Server(process, log, time.monotonic()).wait_until_ready()
        idle = [server.client() for _ in range(150)]
        assert server.invoke(ROW).status == 200
        for client in idle:
            client.socket.close()
    finally:
        process.kill()
        process.wait()


# --- loading ------------------------------------------------------------------------------------------


# Loading imports XGBoost, and finds this first.
XGBOOST_THAT_WAITS = """
import os, sys, time
folder = os.path.dirname(__file__)
while os.path.exists(os.path.join(folder, "hold")):
    time.sleep(0.01)
sys.path.remove(folder)
del sys.modules["xgboost"]
import xgboost
"""


@dataclass
class Loading:
    """Servers with this PYTHONPATH load no model while it is held."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "xgboost.py").write_text(XGBOOST_THAT_WAITS)

    @property
    def python_path(self) -> str:
        return python_path(self.folder, ROOT)

    def hold(self) -> None:
        (self.folder / "hold").touch()

    def let_go(self) -> None:
        (self.folder / "hold").unlink()


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


def test_it_says_503_while_it_loads_and_200_after(base: Path, loading: Loading) -> None:
    loading.hold()
    with serving(base, wait=False, PYTHONPATH=loading.python_path) as server:
        assert_one_line(server.call("GET", "/ping"), 503, "loaded")
        assert_one_line(server.invoke(ROW), 503)
        loading.let_go()
        server.wait_until_ready()
        assert server.invoke(ROW).status == 200


def test_a_model_that_cannot_be_loaded_ends_it_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "xgboost-model").write_bytes(b"\x80\x04\x95 a pickle")
    code, log = refused_start(tmp_path)
    assert code == 1
    assert "Traceback" not in log
    *_, last = log.splitlines()
    assert last.startswith("Cannot serve: UserError: ")
    assert "xgboost-model" in last


def test_it_does_not_start_without_a_model(tmp_path: Path) -> None:
    code, log = refused_start(tmp_path)
    assert (code, log.splitlines()[-1][:24]) == (1, "Cannot serve: UserError:")


def test_a_port_that_is_taken_is_named(base: Path, server: Server) -> None:
    code, log = refused_start(base, SAGEMAKER_BIND_TO_PORT=str(server.port))
    assert code == 1
    assert f"127.0.0.1:{server.port}" in log
    assert "SAGEMAKER_BIND_TO_PORT" in log


def test_a_model_that_stops_scoring_turns_ping_into_503() -> None:
    class Broken:
        def check(self) -> None:
            raise UserError("scores the sample row 1, should be 2")

    application = SingleModelApplication(Settings())
    application.ready(Broken(), None)  # type: ignore[arg-type]
    answer = application.answer(Request(method="GET", path=b"/ping"))
    assert isinstance(answer, Reply)
    assert answer.status == 503
    assert b"scores the sample row 1" in answer.body


# --- the drain ----------------------------------------------------------------------------------------


def test_sigterm_while_nothing_happens_ends_it_at_once(base: Path) -> None:
    with serving(base) as server, server.client() as idle:
        assert idle.call("GET", "/ping").status == 200
        server.terminate()
        assert server.wait(BEFORE_THE_DRAIN_IS_OVER_S) == 0
        assert idle.is_closed()


def test_sigterm_while_it_loads_ends_it_too(base: Path, loading: Loading) -> None:
    loading.hold()
    with serving(base, wait=False, PYTHONPATH=loading.python_path) as server:
        server.terminate()
        assert server.wait(BEFORE_THE_DRAIN_IS_OVER_S) == 0


# What has begun has three seconds to come in; a test on a busy machine may take longer to send it.
PATIENT = "from xgboost_container.serving import server; server.DRAIN_REQUEST_SECONDS = 60.0"


def test_a_request_that_has_begun_is_answered_and_others_are_503(base: Path) -> None:
    with serving(base, first=PATIENT) as server, server.client() as begun, server.client() as ping:
        others = [server.client() for _ in range(20)]
        begun.send_request(
            "POST", "/invocations", content_length=str(len(ROW)), content_type="text/csv", expect="100-continue"
        )
        assert begun.answer().status == 100  # so it has begun for the server, too
        begun.send(ROW[:5])
        server.terminate()
        wait_for(lambda: is_refused(server), what="it goes on listening")
        # For a tenth of a second more, who asks is still answered, once.
        answer = wait_for(lambda: refusal(others.pop()), what="it goes on answering")
        for one in (answer, ping.call("GET", "/ping")):
            assert_one_line(one, 503, "stopping")
            assert one.headers["connection"] == "close"
        begun.send(ROW[5:])
        answer = begun.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        for client in others:
            client.socket.close()
        assert server.wait(BEFORE_THE_DRAIN_IS_OVER_S) == 0


def is_refused(server: Server) -> bool:
    try:
        server.client().socket.close()
    except ConnectionRefusedError:
        return True
    return False


def refusal(client: Client) -> Answer | None:
    with client:
        answer = client.call("POST", "/invocations", ROW, content_type="text/csv")
    return None if answer.status == 200 else answer


def test_a_request_that_never_ends_does_not_keep_it(base: Path) -> None:
    with serving(base) as server, server.client() as client:
        client.send_request(
            "POST", "/invocations", content_length="1000", content_type="text/csv", expect="100-continue"
        )
        assert client.answer().status == 100
        client.send(b"1,")
        server.terminate()
        assert client.answer().status == 408
        client.socket.close()
        assert server.wait(BEFORE_THE_DRAIN_IS_OVER_S) == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("workers", "reconnects"),
    [("1", False), ("1", True), ("2", False)],
    ids=["kept alive", "a connection for each", "two workers"],
)
def test_no_answer_is_broken_off_by_sigterm_under_a_load_that_never_pauses(
    base: Path, workers: str, reconnects: bool
) -> None:
    answered = 0
    broken: list[str] = []
    too_late: list[str] = []
    stop = threading.Event()
    lock = threading.Lock()

    def ask(server: Server) -> None:
        nonlocal answered
        body = csv_of(some_rows(700))  # in a thread, so that some are being scored when SIGTERM comes
        while not stop.is_set():
            try:
                client = server.client()
            except OSError:
                time.sleep(0.001)  # goes on knocking
                continue
            first = True
            with client:
                while not stop.is_set():
                    try:
                        headers = {"connection": "close"} if reconnects else {}
                        answer = client.call("POST", "/invocations", body, content_type="text/csv", **headers)
                    except (OSError, EOFError) as error:
                        silent = isinstance(error, ConnectionError) or str(error).endswith("after b''")
                        (too_late if first and silent else broken).append(repr(error))
                        break
                    first = False
                    with lock:
                        answered += 1
                    if answer.status not in (200, 503) or (answer.status == 200 and len(answer.scores()) != 700):
                        broken.append(repr(answer)[:200])
                    if answer.headers.get("connection") == "close":
                        break

    with serving(base, SAGEMAKER_MODEL_SERVER_WORKERS=workers) as server, ThreadPoolExecutor(12) as pool:
        asking = [pool.submit(ask, server) for _ in range(12)]
        try:
            wait_for(lambda: answered > 50, what="nothing is answered")
            server.terminate()
            assert server.wait(BEFORE_THE_DRAIN_IS_OVER_S) == 0
        finally:
            stop.set()
        for one in asking:
            one.result()
    assert broken == []
    # The system may complete a handshake between the last accept and the end of listening, which nobody can take back.
    assert len(too_late) <= 1


# --- several processes --------------------------------------------------------------------------------


def test_several_workers_serve_and_one_that_dies_is_replaced(base: Path) -> None:
    with serving(base, SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        assert server.call("GET", "/execution-parameters").json()["MaxConcurrentTransforms"] == 2
        server.wait_for_log("2 of 2 workers are up")
        before = server.children()
        os.kill(before[0], signal.SIGKILL)
        server.wait_for_log("another one takes its place")
        for _ in range(20):
            assert server.invoke(ROW).status == 200
        server.wait_for_log("(?s)another one takes its place.*2 of 2 workers are up")
        after = server.children()
        assert len(after) == 2
        assert before[1] in after
        server.terminate()
        assert server.wait(BEFORE_THE_DRAIN_IS_OVER_S) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(before[1], 0)


def test_workers_that_die_all_at_once_and_again_while_they_start_are_replaced(base: Path, loading: Loading) -> None:
    with serving(base, SAGEMAKER_MODEL_SERVER_WORKERS="2", PYTHONPATH=loading.python_path) as server:
        server.wait_for_log("2 of 2 workers are up")
        loading.hold()
        dead = set(server.children())
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        starting = wait_for(lambda: two if len(two := set(server.children()) - dead) == 2 else None)
        assert_one_line(server.call("GET", "/ping"), 503, "no worker is up")
        os.kill(starting.pop(), signal.SIGKILL)
        loading.let_go()
        server.wait_until_ready()
        assert server.invoke(ROW).status == 200


def test_a_request_on_its_way_when_the_first_worker_takes_over_is_answered() -> None:
    async def handed_over() -> bytes:
        listener = server_module.listen("127.0.0.1", 0)
        supervisor = workers._Supervisor(Settings(), listener)
        supervisor._server.start_accepting()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        while not supervisor._server.connections:
            await asyncio.sleep(0)
        supervisor._ready.add(cast(Process, object()))
        supervisor._hand_over()
        writer.write(request_bytes("GET", "/ping"))
        try:
            return await reader.read()
        finally:
            writer.close()
            listener.close()

    assert asyncio.run(handed_over()).startswith(b"HTTP/1.1 503 ")


def test_workers_end_when_nobody_is_left_to_stop_them(base: Path) -> None:
    with serving(base, SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        workers = server.children()
        server.process.kill()
        wait_for(lambda: not any(map(is_running, workers)), what="a worker goes on")


def test_workers_that_cannot_load_end_the_container(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    code, log = refused_start(tmp_path, SAGEMAKER_MODEL_SERVER_WORKERS="2")
    assert code == 1
    assert "Cannot serve: UserError: " in log
    assert "Traceback" not in log


def test_two_servers_side_by_side_serve_two_models(base: Path, server: Server, tmp_path: Path) -> None:
    # What several containers on one endpoint need of the image: each at the port that SageMaker gives it.
    other = trained(seed=5)
    write_artifact(other, tmp_path / "model")
    rows = some_rows(3)
    with loopback_port() as port, serving(tmp_path, SAGEMAKER_BIND_TO_PORT=str(port)) as second:
        assert second.port == port
        for one, booster in ((server, small_model()), (second, other)):
            np.testing.assert_allclose(one.invoke(csv_of(rows)).scores(), booster.inplace_predict(rows), atol=1e-6)


# --- the server without a model: what a real one shows too rarely --------------------------------------


class Scripted:
    """An application that does what the path says."""

    def __init__(self) -> None:
        self.pending: list[asyncio.Future[Reply]] = []
        self.large = threading.Event()

    def admit(self, request: Request) -> None:
        if request.path == b"/bug-in-the-head":
            raise ZeroDivisionError

    def answer(self, request: Request) -> Reply | asyncio.Future[Reply]:
        if request.path == b"/later":
            future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self.pending.append(future)
            return future
        if request.path == b"/large":
            self.large.set()
            return Reply(200, b"x" * 30_000_000, "text/csv")
        return Reply(200, request.body, "text/csv")


@contextlib.contextmanager
def scripted_server(*, request_seconds: float = 60) -> Iterator[tuple[int, server_module.Server]]:
    listener = server_module.listen("127.0.0.1", 0)
    started: list[server_module.Server] = []
    ready, stop = threading.Event(), threading.Event()

    async def run() -> None:
        server = server_module.Server(listener, Scripted(), max_content_length=1000, request_seconds=request_seconds)
        server.start_accepting()
        started.append(server)
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.01)
        await server.last_call()
        await server.drain(0.2)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield listener.getsockname()[1], started[0]
    finally:
        stop.set()
        thread.join()


def scripted(server: server_module.Server) -> Scripted:
    assert isinstance(server.application, Scripted)
    return server.application


def test_an_idle_connection_is_closed_in_the_end() -> None:
    with scripted_server() as (port, server), Client(port) as client:
        assert client.call("GET", "/").status == 200
        server._idle_seconds = 0.5  # from now on: the client has asked in time, however long that took
        assert client.is_closed()


def test_a_client_that_does_not_read_is_cut_off() -> None:
    with scripted_server(request_seconds=0.5) as (port, server), Client(port) as client:
        client.send_request("GET", "/large")
        assert scripted(server).large.wait(60)
        wait_for(lambda: not server.connections, what="it was not cut off")
        received = 0
        with contextlib.suppress(ConnectionError):
            while piece := client.socket.recv(1 << 20):
                received += len(piece)
        assert received < 30_000_000


def test_a_fault_while_a_request_is_read_is_500_and_the_server_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted_server() as (port, _):
        with Client(port) as client:
            assert_one_line(client.call("GET", "/bug-in-the-head"), 500)
        with Client(port) as client:
            assert client.call("POST", "/", b"abc").body == b"abc"
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_what_is_in_memory_is_counted_back_to_nothing() -> None:
    with scripted_server() as (port, server):
        pending = scripted(server).pending
        for number, ending in enumerate((b"", b"0123456789", b"\r\n\0"), 1):
            with Client(port) as client:
                client.send_request("POST", "/later", b"x" * 500)
                client.send_request("POST", "/", content_length="900")
                client.send(b"y" * 400 + ending)
                wait_for(lambda number=number: len(pending) == number)  # type: ignore[misc]
                assert server.buffered >= 500
        for future in pending:
            future.get_loop().call_soon_threadsafe(future.set_result, Reply(200))
        wait_for(lambda: not server.connections, what="a connection is left")
        assert server.buffered == 0


def test_when_memory_for_bodies_is_full_more_of_them_is_503() -> None:
    with scripted_server() as (port, server):
        server.max_buffered = 700
        with Client(port) as first, Client(port) as second, Client(port) as third:
            first.send_request("POST", "/", content_length="900")
            first.send(b"x" * 600)
            wait_for(lambda: server.buffered == 600)
            second.send_request("POST", "/", content_length="900")
            second.send(b"x" * 600)
            assert second.answer().status == 503
            assert third.call("GET", "/").status == 200
            first.send(b"x" * 300)
            assert first.answer().status in (200, 503)


def test_what_was_sent_before_the_last_call_is_answered_also_by_a_process_that_is_held_up_then() -> None:
    async def last_call() -> bytes:
        listener = server_module.listen("127.0.0.1", 0)
        server = server_module.Server(listener, Scripted(), max_content_length=1000, request_seconds=60)
        server.start_accepting()
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(request_bytes("GET", "/", connection="close"))
            # As long as the last call, and more: as by a container that has used up its share of the CPU.
            asyncio.get_running_loop().call_soon(time.sleep, 2 * server_module.LAST_CALL_SECONDS)
            await server.last_call()
            await server.drain(60)
            return client.recv(1000)

    assert uvloop.run(last_call()).startswith(b"HTTP/1.1 200 ")


# --- settings -----------------------------------------------------------------------------------------


def test_settings_have_sagemakers_defaults() -> None:
    settings = Settings.from_environment({})
    assert (settings.port, settings.max_content_length, settings.default_accept) == (8080, 6 * 1024**2, "text/csv")
    assert (settings.batch, settings.ensemble, settings.multi_model) == (False, True, False)
    assert settings.workers == usable_cpus()


def test_settings_are_read_from_their_variables() -> None:
    settings = Settings.from_environment(
        {
            "SAGEMAKER_BIND_TO_PORT": "9000",
            "SAGEMAKER_BIND_TO_HOST": "127.0.0.1",
            "MAX_CONTENT_LENGTH": "1000",
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_INFERENCE_OUTPUT": "predicted_label,probability",
            "SAGEMAKER_INFERENCE_ENSEMBLE": "false",
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "application/json",
            "SAGEMAKER_MODEL_SERVER_WORKERS": "3",
            "SAGEMAKER_MODEL_CACHE_BYTES": "5000",
        }
    )
    assert (settings.port, settings.host, settings.max_content_length) == (9000, "127.0.0.1", 1000)
    assert (settings.batch, settings.ensemble, settings.default_accept) == (True, False, "application/json")
    assert settings.inference_output == Selection(("predicted_label", "probability"))
    assert (settings.workers, settings.model_cache_bytes) == (3, 5000)


def test_no_more_than_20_mib_are_ever_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert Settings.from_environment({"MAX_CONTENT_LENGTH": "99999999"}).max_content_length == 20 * 1024**2
    assert "MAX_CONTENT_LENGTH" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http", "65535"),
        ("SAGEMAKER_BIND_TO_PORT", "65536", "65535"),
        ("MAX_CONTENT_LENGTH", "6MB", "whole number"),
        ("MAX_CONTENT_LENGTH", "9" * 5000, "whole number"),
        ("SAGEMAKER_BATCH", "perhaps", "true or false"),
        ("SAGEMAKER_INFERENCE_ENSEMBLE", "2", "true or false"),
        ("SAGEMAKER_MULTI_MODEL", "2", "true or false"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0", "from 1"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "-1", "from 1"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "image/png", "text/csv"),
        ("SAGEMAKER_INFERENCE_OUTPUT", "predicted_lable", "predicted_label"),
        ("SAGEMAKER_PROGRAM", "inference.py", "script"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_value_and_what_is_allowed(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(UserError) as refused:
        Settings.from_environment({variable: value})
    assert variable in str(refused.value)
    assert value[:20] in str(refused.value)
    assert allowed in str(refused.value)


def test_a_wrong_setting_ends_the_program_before_it_listens(base: Path) -> None:
    code, log = refused_start(base, SAGEMAKER_BATCH="perhaps")
    assert code == 1
    assert log == "Cannot serve: UserError: SAGEMAKER_BATCH must be true or false, got 'perhaps'\n"


def test_a_share_of_the_machine_counts_and_not_the_machine(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("123456789\n")
    assert usable_cpus(tmp_path) == 1
    assert memory_limit(tmp_path) == 123456789
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))
    assert memory_limit(tmp_path) > 123456789


def test_request_errors_keep_to_one_line() -> None:
    from xgboost_container.serving.messages import refuse

    assert refuse(RequestError(400, "row 1:\r\nInjected: yes")).body == b"row 1: Injected: yes\n"
