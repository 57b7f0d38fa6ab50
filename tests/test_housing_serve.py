"""Serve: what it answers, what it refuses and in which words, and how it stops."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from model_code.housing.housing import payload
from model_code.housing.housing.artifact import Model, from_folder
from model_code.housing.housing.columns import FEATURES
from model_code.housing.housing.serve import ModelServer
from tests.housing_runs import (
    ROW,
    ROW_CSV,
    Answer,
    Server,
    call,
    expected_scores,
    finished_run,
    program,
    serving,
    table,
)

RECORD = dict(zip(FEATURES, ROW, strict=True))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(finished_run().base, MAX_CONTENT_LENGTH="100000") as running:
        yield running


def json_body(*instances: Any) -> str:
    return json.dumps({"instances": list(instances)})


# --- answers ------------------------------------------------------------------------------------------


def test_it_is_ready_in_two_seconds(server: Server) -> None:
    assert server.started_in < 2


def test_ping_says_that_the_model_scores(server: Server) -> None:
    answer = server.call("GET", "/ping")
    assert (answer.status, answer.body) == (200, b"")


def test_csv_rows_get_the_scores_that_the_booster_gives(server: Server) -> None:
    rows = table(finished_run().processing_output / "test" / "test.csv")[:, 1:].tolist()
    answer = server.invoke("\n".join(",".join(repr(value) for value in row) for row in rows))
    assert answer.status == 200
    assert answer.content_type == "text/csv"
    assert answer.scores() == expected_scores(rows)


@pytest.mark.parametrize(
    "instance",
    [ROW, {"features": ROW}, RECORD, dict(reversed(RECORD.items()))],
    ids=["list", "features", "record", "record in another order"],
)
def test_json_rows_get_the_scores_that_the_booster_gives(server: Server, instance: Any) -> None:
    other = [value * 1.1 for value in ROW]
    answer = server.invoke(json_body(instance, other), "application/json")
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert json.loads(answer.text).keys() == {"predictions"}
    assert answer.scores() == expected_scores([ROW, other])


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n", "\r\n\r\n  \n"])
def test_line_ends_and_blank_lines_at_the_end_do_not_matter(server: Server, ending: str) -> None:
    assert server.invoke(ROW_CSV + ending).scores() == expected_scores([ROW])


@pytest.mark.parametrize(
    ("content_type", "accept", "expected"),
    [
        ("text/csv", None, "text/csv"),
        ("text/csv", "*/*", "text/csv"),
        ("text/csv", "application/json", "application/json"),
        ("text/csv", "text/*", "text/csv"),
        ("text/csv", "image/png, application/json;q=0.5", "application/json"),
        ("text/csv", "text/csv;q=0.1, application/json", "application/json"),
        ("text/csv", "text/csv;q=0, */*", "application/json"),
        ("text/csv; charset=UTF-8", "TEXT/CSV", "text/csv"),
        ("application/json", None, "application/json"),
        ("application/json", "text/csv", "text/csv"),
        ("application/json", "application/*", "application/json"),
    ],
)
def test_accept_chooses_the_form_of_the_answer(
    server: Server, content_type: str, accept: str | None, expected: str
) -> None:
    body = json_body(ROW) if content_type == "application/json" else ROW_CSV
    answer = server.invoke(body, content_type, accept)
    assert (answer.status, answer.content_type) == (200, expected)
    assert answer.scores() == expected_scores([ROW])


@pytest.mark.parametrize("content_type", ["text/csv", "application/json"])
def test_an_empty_body_has_no_content(server: Server, content_type: str) -> None:
    answer = server.invoke("", content_type)
    assert (answer.status, answer.body) == (204, b"")


def test_a_connection_stays_open_and_answers_without_delay(server: Server) -> None:
    connection = server.connect()
    started = time.monotonic()
    for _ in range(50):
        assert call(connection, "POST", "/invocations", ROW_CSV, {"Content-Type": "text/csv"}).status == 200
        assert call(connection, "GET", "/ping").status == 200
        assert call(connection, "POST", "/invocations", "", {"Content-Type": "text/csv"}).status == 204
        assert call(connection, "POST", "/invocations", "x", {"Content-Type": "text/csv"}).status == 400
    local_port = connection.sock.getsockname()[1]
    assert call(connection, "GET", "/ping").status == 200
    assert connection.sock.getsockname()[1] == local_port
    connection.close()
    # 200 requests that waited for a delayed acknowledgement would take eight seconds.
    assert time.monotonic() - started < 4


def test_many_callers_at_once_each_get_their_own_scores(server: Server) -> None:
    rows = [[value * (1 + i / 50) for value in ROW] for i in range(40)]
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda row: server.invoke(json_body(row), "application/json").scores(), rows))
    assert [score for answer in answers for score in answer] == expected_scores(rows)


# --- refusals -----------------------------------------------------------------------------------------


def assert_refused(answer: Answer, status: int, *expected: str) -> None:
    assert answer.status == status, answer.text
    assert answer.text.count("\n") == 1, "the reason is one line"
    for part in expected:
        assert part in answer.text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("1,2", ["row 1", "2 values, expected 12 (CRIM, ZN"]),
        (f"{ROW_CSV}\n{ROW_CSV},1", ["row 2", "13 values, expected 12"]),
        (f"{ROW_CSV}\n\n{ROW_CSV}", ["row 2", "0 values"]),
        (ROW_CSV.replace("6.575", "six"), ["row 1, column RM", "'six' is not a number"]),
        (ROW_CSV.replace("6.575", ""), ["row 1, column RM", "empty"]),
        (ROW_CSV.replace("6.575", "nan"), ["row 1, column RM", "'nan'"]),
        (ROW_CSV.replace("6.575", "1e39"), ["row 1, column RM", "32-bit"]),
        (",".join(FEATURES), ["row 1, column CRIM", "'CRIM' is not a number"]),
        (ROW_CSV.replace("6.575", "x" * 500), ["row 1, column RM", "xxx..."]),
        (ROW_CSV.replace("6.575", '"6'), ["not valid CSV"]),
        (b"\xff\xfe1,2", ["not UTF-8"]),
    ],
)
def test_csv_that_cannot_be_scored_is_a_400_with_row_and_column(
    server: Server, body: str | bytes, expected: list[str]
) -> None:
    assert_refused(server.invoke(body), 400, *expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{", ["not valid JSON"]),
        ("[" * 50000, ["not valid JSON"]),
        ("[[1]]", ['{"instances": [...]}']),
        ("{}", ['{"instances": [...]}']),
        ('{"instances": []}', ["at least one row"]),
        ('{"instances": [[1]], "more": 1}', ['{"instances": [...]}']),
        (json_body(ROW, ROW[:-1]), ["row 2", "11 values, expected 12"]),
        (json_body("text"), ["row 1", "list of numbers"]),
        (json_body([*ROW[:-1], "4.98"]), ["row 1, column LSTAT", "is not a number"]),
        (json_body([*ROW[:-1], True]), ["row 1, column LSTAT", "'true' is not a number"]),
        (json_body([*ROW[:-1], None]), ["row 1, column LSTAT", "'null' is not a number"]),
        (json_body([*ROW[:-1], [1]]), ["row 1, column LSTAT", "'[1]' is not a number"]),
        (json_body([*ROW[:-1], float("nan")]), ["row 1, column LSTAT", "is not a number"]),
        (json_body([*ROW[:-1], 1e39]), ["row 1, column LSTAT", "32-bit"]),
        (json_body([*ROW[:-1], 10**400]), ["row 1, column LSTAT", "32-bit"]),
        (json_body({**RECORD, "B": 1}), ["row 1", "unknown column 'B'"]),
        (json_body({k: v for k, v in RECORD.items() if k != "RM"}), ["row 1", "missing column RM"]),
        (json_body({"features": "abc"}), ["row 1", "list of numbers"]),
    ],
)
def test_json_that_cannot_be_scored_is_a_400_with_row_and_column(
    server: Server, body: str, expected: list[str]
) -> None:
    assert_refused(server.invoke(body, "application/json"), 400, *expected)


def test_an_unknown_content_type_is_a_415_that_names_it(server: Server) -> None:
    assert_refused(server.invoke(ROW_CSV, "application/x-npy"), 415, "'application/x-npy'", "text/csv")
    assert_refused(server.invoke(ROW_CSV, "text/csv; charset=utf-16"), 415, "character set")
    assert_refused(server.call("POST", "/invocations", ROW_CSV), 415, "missing", "text/csv")


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0, application/json;q=0", "text/html;q=1, image/*"])
def test_an_accept_that_allows_neither_form_is_a_406(server: Server, accept: str) -> None:
    assert_refused(server.invoke(ROW_CSV, accept=accept), 406, "text/csv or application/json")


def test_a_body_that_is_too_large_is_a_413_and_the_caller_reads_it(server: Server) -> None:
    for size in (100_001, 5_000_000):
        assert_refused(server.invoke("1" * size), 413, str(size), "100000")


def test_a_caller_who_asks_first_need_not_send_what_is_too_large(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        head = "POST /invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: text/csv\r\n"
        connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_caller_who_asks_first_is_told_to_go_on(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        head = "POST /invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: text/csv\r\n"
        connection.sendall(f"{head}Content-Length: {len(ROW_CSV)}\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(ROW_CSV.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/models", 404),
        ("GET", "/invocations", 405),
        ("DELETE", "/invocations", 405),
        ("POST", "/ping", 405),
        ("HEAD", "/ping", 405),
    ],
)
def test_other_paths_and_methods_are_404_and_405(server: Server, method: str, path: str, status: int) -> None:
    answer = server.call(method, path, "body" if method == "POST" else None)
    assert answer.status == status
    if status == 405:
        assert answer.headers["Allow"] == ("GET" if path == "/ping" else "POST")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("POST /invocations HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: many\r\n\r\n", 400),
        ("POST /invocations HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /invocations HTTP/1.1\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("nonsense\r\n\r\n", 400),
        ("BREW /ping HTTP/1.1\r\n\r\n", 501),
    ],
)
def test_broken_http_is_refused_in_plain_text(server: Server, request_text: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request_text.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"<html" not in answer
    if answer.startswith(b"HTTP"):
        assert answer.split()[1] == str(status).encode()
    else:  # HTTP/0.9, which is what a line without a version means
        assert answer.endswith(b"\n")


def test_a_caller_that_goes_away_takes_nothing_with_it(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: 100\r\n\r\n1,2")
    assert server.call("GET", "/ping").status == 200


def test_a_model_that_stops_scoring_is_a_503_on_ping_and_a_500_without_details(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Model, rows: Any) -> Any:
        raise RuntimeError("the secret inside")

    model = from_folder(finished_run().model)
    monkeypatch.setattr(Model, "predict", broken)
    server = ModelServer(("127.0.0.1", 0), model, 1000)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        assert call(connection, "GET", "/ping").status == 503
        answer = call(connection, "POST", "/invocations", ROW_CSV, {"Content-Type": "text/csv"})
        connection.close()
    finally:
        assert server.drain(5) == 0
        thread.join()
    assert_refused(answer, 500, "RuntimeError")
    assert "secret" not in answer.text
    assert "the secret inside" in capsys.readouterr().out


def test_scores_keep_every_digit() -> None:
    scores = [25.106218338012695, 0.1, 1e-7]
    assert [float(line) for line in payload.body_of(scores, payload.CSV).split()] == scores
    assert [item["score"] for item in json.loads(payload.body_of(scores, payload.JSON))["predictions"]] == scores


# --- start and end ------------------------------------------------------------------------------------


def test_sigterm_lets_a_request_finish_and_does_not_wait_for_idle_connections() -> None:
    with serving(finished_run().base) as server:
        idle = server.connect()
        assert call(idle, "GET", "/ping").status == 200
        busy = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        head = f"POST /invocations HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: {len(ROW_CSV)}\r\n\r\n"
        busy.sendall(head.encode() + ROW_CSV[:10].encode())
        time.sleep(0.2)  # until the server has read the head
        sent = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        while _accepts(server.port):
            assert time.monotonic() - sent < 5, "it still takes new connections"
            time.sleep(0.02)
        busy.sendall(ROW_CSV[10:].encode())
        answer = b"".join(iter(lambda: busy.recv(65536), b"")).decode()
        assert server.process.wait(timeout=5) == 0
        assert time.monotonic() - sent < 3
    assert answer.startswith("HTTP/1.1 200 ")
    assert "Connection: close" in answer
    assert float(answer.rsplit("\r\n\r\n", 1)[1]) == expected_scores([ROW])[0]
    idle.close()
    busy.close()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_requests_under_load_are_answered_or_never_taken_when_it_stops() -> None:
    broken: list[str] = []
    answered: list[int] = []

    def keep_asking(server: Server) -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            except OSError:
                return  # refused: it was never taken
            head = f"POST /invocations HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: {len(ROW_CSV)}\r\n\r\n"
            try:
                connection.sendall((head + ROW_CSV).encode())
                answer = connection.recv(65536)
            except OSError as error:
                broken.append(str(error))
                return
            finally:
                connection.close()
            if answer.startswith(b"HTTP/1.1 200 "):
                answered.append(1)
            else:
                broken.append(repr(answer))

    with serving(finished_run().base) as server:
        callers = [threading.Thread(target=keep_asking, args=(server,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        time.sleep(0.4)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=5) == 0
        for caller in callers:
            caller.join(10)
    assert len(answered) > 20
    # One connection can reach the socket in the instant in which it closes; nothing else may break.
    assert len(broken) <= 1, broken


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"SAGEMAKER_BIND_TO_PORT": "http"},
            "SAGEMAKER_BIND_TO_PORT must be a whole number from 0 to 65535, got 'http'",
        ),
        ({"SAGEMAKER_BIND_TO_PORT": "65536"}, "SAGEMAKER_BIND_TO_PORT must be a whole number"),
        ({"MAX_CONTENT_LENGTH": "6MB"}, "MAX_CONTENT_LENGTH must be a whole number"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(variables: dict[str, str], expected: str) -> None:
    done = program("serve", finished_run().base, SAGEMAKER_BIND_TO_HOST="127.0.0.1", **variables)
    assert done.returncode == 1
    assert expected in done.stdout


def test_a_taken_port_is_named(server: Server) -> None:
    port = str(server.port)
    done = program("serve", finished_run().base, SAGEMAKER_BIND_TO_HOST="127.0.0.1", SAGEMAKER_BIND_TO_PORT=port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stdout
    assert "SAGEMAKER_BIND_TO_PORT names another port" in done.stdout


def test_without_a_sound_model_it_never_listens(tmp_path: Path) -> None:
    shutil.copytree(finished_run().model, tmp_path / "model")
    (tmp_path / "model" / "model.ubj").write_bytes(b"")
    done = program("serve", tmp_path, SAGEMAKER_BIND_TO_HOST="127.0.0.1", SAGEMAKER_BIND_TO_PORT="0")
    assert done.returncode == 1
    assert "Cannot serve: model.ubj: damaged" in done.stdout
    assert "Listening" not in done.stdout


def test_a_load_that_never_pauses_does_not_keep_it_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    from model_code.housing.housing.serve import ModelServer

    taken: list[int] = []
    server = ModelServer.__new__(ModelServer)
    server._busy, server._changed, server._backlog_is_empty = {}, threading.Condition(), False
    monkeypatch.setattr(server, "shutdown", lambda: None)
    monkeypatch.setattr(server, "server_close", lambda: None)
    # Somebody waits whenever one looks.
    monkeypatch.setattr(server, "handle_request", lambda: taken.append(1))
    assert server.drain(1.0) == 0
    assert len(taken) == ModelServer.request_queue_size
