"""A multi-model endpoint as SageMaker runs it: models are loaded, listed, asked and unloaded while the server runs."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xgboost_container.contract import UserError
from xgboost_container.serving import model as model_module
from xgboost_container.serving.models import Entry, Models
from xgboost_container.serving.request_error import RequestError

from tests.waiting import wait_for
from tests.xgboost_servers import (
    Answer,
    Server,
    csv_of,
    refused_start,
    serving,
    some_rows,
    trained,
    write_artifact,
)

import xgboost  # isort: skip

COUNT = 6
NAMES = st.sampled_from("abc")
ROWS = some_rows(2)


@pytest.fixture(scope="module")
def boosters() -> list[xgboost.Booster]:
    return [trained(seed=seed, rounds=40, depth=5) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def folders(boosters: list[xgboost.Booster], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    store = tmp_path_factory.mktemp("models")
    return [write_artifact(booster, store / str(seed) / "model") for seed, booster in enumerate(boosters)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("opt-ml"), SAGEMAKER_MULTI_MODEL="true") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """With no model loaded, before and after."""
    assert names_of(shared) == []
    yield shared
    for name in names_of(shared):
        assert shared.call("DELETE", path_of(name)).status == 200


def path_of(name: str) -> str:
    return "/models/" + quote(name, safe="")


def load(server: Server, name: str, folder: Path) -> Answer:
    body = json.dumps({"model_name": name, "url": str(folder)}).encode()
    return server.call("POST", "/models", body, content_type="application/json")


def invoke(server: Server, name: str, rows: Any = ROWS) -> Answer:
    return server.call("POST", path_of(name) + "/invoke", csv_of(rows), content_type="text/csv")


def names_of(server: Server) -> list[str]:
    return [model["modelName"] for model in server.call("GET", "/models").json()["models"]]


def assert_scores(answer: Answer, booster: xgboost.Booster, rows: Any = ROWS) -> None:
    assert answer.status == 200, answer
    np.testing.assert_allclose(answer.scores(), booster.inplace_predict(rows), atol=1e-6)


# --- the verbs ----------------------------------------------------------------------------------------


def test_ping_is_200_with_no_model_loaded(server: Server) -> None:
    assert server.call("GET", "/ping").status == 200
    assert server.call("GET", "/models").json() == {"models": []}
    assert server.call("GET", "/execution-parameters").status == 200


def test_a_model_comes_is_asked_and_goes(server: Server, folders: list[Path], boosters: list[xgboost.Booster]) -> None:
    for seed in (0, 1):
        assert load(server, f"m{seed}", folders[seed]).status == 200
    described = [{"modelName": f"m{seed}", "modelUrl": str(folders[seed])} for seed in (0, 1)]
    assert server.call("GET", "/models").json() == {"models": described}
    assert server.call("GET", "/models/m1").json() == described[1]
    for seed in (0, 1):
        assert_scores(invoke(server, f"m{seed}"), boosters[seed])
    assert server.call("DELETE", "/models/m0").status == 200
    assert names_of(server) == ["m1"]
    assert invoke(server, "m0").status == 404
    assert_scores(invoke(server, "m1"), boosters[1])


def test_what_is_not_loaded_is_404_by_name(server: Server) -> None:
    for method, path in (("GET", "/models/x"), ("DELETE", "/models/x"), ("POST", "/models/x/invoke")):
        answer = server.call(method, path, b"1" if method == "POST" else b"")
        assert (answer.status, answer.text) == (404, "no model 'x' is loaded\n")


def test_a_model_that_is_loaded_already_is_409(server: Server, folders: list[Path]) -> None:
    assert load(server, "m", folders[0]).status == 200
    assert load(server, "m", folders[1]).status == 409
    assert server.call("GET", "/models/m").json()["modelUrl"] == str(folders[0])


def test_of_two_loads_of_one_name_at_once_one_is_409(server: Server, folders: list[Path]) -> None:
    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(lambda _: load(server, "m", folders[0]).status, range(6)))
    assert statuses == [200, 409, 409, 409, 409, 409]


@pytest.mark.parametrize("name", ["a/b", "a b", "50%", "ä", "invoke", "x/invoke", "..", "a?b=c#d"])
def test_a_name_may_be_anything(
    server: Server, folders: list[Path], boosters: list[xgboost.Booster], name: str
) -> None:
    assert load(server, name, folders[0]).status == 200
    assert names_of(server) == [name]
    assert server.call("GET", path_of(name)).json()["modelName"] == name
    assert_scores(invoke(server, name), boosters[0])
    assert server.call("DELETE", path_of(name)).status == 200


def test_the_list_comes_in_pages(server: Server, folders: list[Path]) -> None:
    for number in range(5):
        load(server, f"m{number}", folders[0])
    pages, token = [], ""
    while True:
        content = server.call(
            "GET", f"/models?limit=2&next_page_token={quote(token)}" if token else "/models?limit=2"
        ).json()
        pages.append([model["modelName"] for model in content["models"]])
        if "nextPageToken" not in content:
            break
        token = content["nextPageToken"]
        # What goes between two pages takes no other model out of the next one.
        server.call("DELETE", f"/models/{pages[0][0]}")
    assert pages == [["m0", "m1"], ["m2", "m3"], ["m4"]]


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "limit=-1", "next_page_token=%C3%A4", "next_page_token=x"])
def test_a_wrong_page_is_400(server: Server, query: str) -> None:
    answer = server.call("GET", f"/models?{query}")
    assert (answer.status, answer.text.count("\n")) == (400, 1)


def test_invocations_go_to_a_model(server: Server) -> None:
    answer = server.invoke(csv_of(ROWS))
    assert answer.status == 404
    assert "/models/{name}/invoke" in answer.text
    assert server.call("PUT", "/models").headers["allow"] == "GET, HEAD, POST"
    assert server.call("POST", "/models/x", b"1").headers["allow"] == "GET, HEAD, DELETE"


def test_a_refused_request_is_refused_as_with_one_model(server: Server, folders: list[Path]) -> None:
    load(server, "m", folders[0])
    path = "/models/m/invoke"
    assert server.call("POST", path).status == 204
    assert server.call("POST", path, b"1,2", content_type="text/csv").status == 400
    assert server.call("POST", path, csv_of(ROWS), content_type="image/png").status == 415
    assert server.call("POST", path, csv_of(ROWS), content_type="text/csv", accept="image/png").status == 406


# --- what cannot be loaded ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"model_name": "\\ud83d", "url": "/x"}', "JSON"),  # which no path can name again
        (b"[]", "object"),
        (b'{"url": "/x"}', "model_name"),
        (b'{"model_name": "m"}', "url"),
        (b'{"model_name": "m", "url": 1}', "url"),
        (b'{"model_name": "", "url": "/x"}', "model_name"),
        (b'{"model_name": "m", "url": "models/m"}', "absolute"),
        (b'{"model_name": "m", "url": "s3://bucket/m"}', "absolute"),
        (b'{"model_name": "m", "url": "/nowhere/at/all"}', "/nowhere/at/all"),
    ],
)
def test_a_load_that_makes_no_sense_is_400(server: Server, body: bytes, word: str) -> None:
    answer = server.call("POST", "/models", body, content_type="application/json")
    assert answer.status == 400
    assert word in answer.text
    assert answer.text.count("\n") == 1
    assert names_of(server) == []


def test_a_damaged_model_is_400_and_the_others_go_on(
    server: Server, folders: list[Path], boosters: list[xgboost.Booster], tmp_path: Path
) -> None:
    load(server, "good", folders[0])
    damaged = tmp_path / "damaged"
    shutil.copytree(folders[1], damaged)
    content = bytearray((damaged / "xgboost-model").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (damaged / "xgboost-model").write_bytes(content)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "xgboost-model").write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00")
    for name in ("damaged", "pickled"):
        answer = load(server, name, tmp_path / name)
        assert answer.status == 400
        assert name in answer.text
    assert names_of(server) == ["good"]
    assert_scores(invoke(server, "good"), boosters[0])
    assert load(server, "damaged", folders[1]).status == 200  # the name was not spent


def test_several_workers_are_refused_with_the_reason(tmp_path: Path) -> None:
    code, log = refused_start(tmp_path, SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_MODEL_SERVER_WORKERS="2")
    assert code == 1
    assert "one process" in log


# --- memory -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nbytes(folders: list[Path]) -> int:
    """What the largest of the models counts as."""
    return max(model_module.load(folder).nbytes for folder in folders)


def test_the_least_recently_used_leaves_memory_and_comes_back_when_it_is_asked(
    folders: list[Path], boosters: list[xgboost.Booster], nbytes: int, tmp_path: Path
) -> None:
    with serving(tmp_path, SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_MODEL_CACHE_BYTES=str(2 * nbytes)) as server:
        for seed in (0, 1):
            assert load(server, f"m{seed}", folders[seed]).status == 200
        invoke(server, "m0")
        assert load(server, "m2", folders[2]).status == 200
        assert names_of(server) == ["m0", "m2"]  # m1 was used least recently
        assert server.call("GET", "/models/m1").status == 404
        assert "m1" in server.log
        # SageMaker does not know, and goes on asking.
        assert_scores(invoke(server, "m1"), boosters[1])
        assert names_of(server) == ["m1", "m2"]
        # It may also load it once more, or unload it.
        assert load(server, "m0", folders[0]).status == 200
        assert server.call("DELETE", "/models/m2").status == 200
        assert invoke(server, "m2").status == 404
        assert "Traceback" not in server.log


def test_a_model_larger_than_all_memory_is_507(folders: list[Path], nbytes: int, tmp_path: Path) -> None:
    with serving(tmp_path, SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_MODEL_CACHE_BYTES=str(nbytes // 2)) as server:
        answer = load(server, "m", folders[0])
        assert answer.status == 507
        assert "SAGEMAKER_MODEL_CACHE_BYTES" in answer.text
        assert names_of(server) == []


def test_models_under_load_come_and_go_and_every_score_is_right(
    folders: list[Path], boosters: list[xgboost.Booster], nbytes: int, tmp_path: Path
) -> None:
    rows = some_rows(500)  # in a thread, so that models are in use while others need room
    stop = threading.Event()
    wrong: list[object] = []
    asked = [0] * COUNT

    def ask(server: Server, seed: int) -> None:
        while not stop.is_set():
            answer = invoke(server, f"m{seed}", rows)
            asked[seed] += 1
            if answer.status == 200:
                try:
                    assert_scores(answer, boosters[seed], rows)
                except AssertionError as error:
                    wrong.append(error)
            elif answer.status != 507:
                wrong.append(answer)

    with serving(tmp_path, SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_MODEL_CACHE_BYTES=str(3 * nbytes)) as server:
        for seed in range(COUNT):
            assert load(server, f"m{seed}", folders[seed]).status == 200
        with ThreadPoolExecutor(COUNT) as pool:
            asking = [pool.submit(ask, server, seed) for seed in range(COUNT)]
            try:
                wait_for(lambda: min(asked) > 10 or any(one.done() for one in asking))
            finally:
                stop.set()
            for one in asking:
                one.result()
        assert wrong == []
        assert len(names_of(server)) <= 3
        assert "Traceback" not in server.log


def test_a_model_that_left_memory_and_whose_files_are_gone_is_404(
    folders: list[Path], nbytes: int, tmp_path: Path
) -> None:
    shutil.copytree(folders[0], tmp_path / "copy")
    with serving(tmp_path, SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_MODEL_CACHE_BYTES=str(nbytes)) as server:
        assert load(server, "gone", tmp_path / "copy").status == 200
        assert load(server, "other", folders[1]).status == 200
        shutil.rmtree(tmp_path / "copy")
        answer = invoke(server, "gone")
        assert answer.status == 404
        assert "gone" in answer.text
        assert invoke(server, "gone").text == "no model 'gone' is loaded\n"


def test_memory_is_given_back_when_models_go(boosters: list[xgboost.Booster], tmp_path: Path) -> None:
    large = write_artifact(trained(rounds=400, depth=8, rows=3000), tmp_path / "large")
    with serving(tmp_path, SAGEMAKER_MULTI_MODEL="true") as server:

        def come_and_go(times: int) -> int:
            for _ in range(times):
                assert load(server, "m", large).status == 200
                assert invoke(server, "m").status == 200
                assert server.call("DELETE", "/models/m").status == 200
            time.sleep(0.2)  # it is given back in a thread, at leisure
            return server.resident_bytes()

        most = come_and_go(3) + 4 * 1024**2
        come_and_go(12)
        wait_for(lambda: server.resident_bytes() < most, what="more than 4 MiB more")


class Sized:
    """As much of a model as the bookkeeping looks at."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def _load_sized(folder: Path) -> Any:
    if folder.name == "broken":
        raise UserError("broken")
    return Sized(int(folder.name))


def test_a_model_in_use_is_not_pulled_away() -> None:
    async def story() -> None:
        with ThreadPoolExecutor(2) as threads:
            models = Models(100, _load_sized, threads)
            await models.load("a", "/60")
            entry = models.resident("a")
            assert entry is not None
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            models.hold(entry, answered)
            with pytest.raises(RequestError) as refused:
                await models.load("b", "/50")
            assert refused.value.status == 507
            await models.load("c", "/40")
            assert models.nbytes == 100
            answered.set_result(None)
            await asyncio.sleep(0)
            await models.load("b", "/50")
            assert models.nbytes == 90
            models.unload("b")
            assert models.nbytes == 40

    asyncio.run(story())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["load", "load", "ask", "ask", "unload", "answered"]), NAMES, st.integers(20, 70)),
        min_size=20,
    )
)
def test_whatever_comes_and_goes_memory_is_bounded_and_nothing_in_use_is_pulled_away(
    steps: list[tuple[str, str, int]],
) -> None:
    async def story() -> None:
        models = Models(100, _load_sized, threads)
        loaded: set[str] = set()
        asked: list[tuple[Entry, Any, asyncio.Future[None]]] = []
        for step, name, size in steps:
            if step == "answered" and asked:
                asked.pop(size % len(asked))[2].set_result(None)
                await asyncio.sleep(0)
            refused = None
            try:
                if step == "load":
                    await models.load(name, f"/{size}")
                    loaded.add(name)
                elif step == "unload":
                    models.unload(name)
                    loaded.discard(name)
                elif step == "ask":
                    entry = models.resident(name) or await models.bring_back(name)
                    asked.append((entry, entry.model, asyncio.get_running_loop().create_future()))
                    models.hold(entry, asked[-1][2])
            except RequestError as error:
                refused = error.status
            assert refused in (None, 507, 409 if name in loaded else 404)
            assert models.nbytes <= 100
            assert all(entry.model is model for entry, model, _ in asked)
            assert {model["modelName"] for model in models.page(None, 1000)[0]} <= loaded

    with ThreadPoolExecutor(1) as threads:
        asyncio.run(story())


def test_failures_leave_the_count_as_it_was() -> None:
    async def story() -> None:
        with ThreadPoolExecutor(2) as threads:
            models = Models(100, _load_sized, threads)
            await models.load("a", "/60")
            for url, status in (("/broken", 400), ("/101", 507)):
                with pytest.raises(RequestError) as refused:
                    await models.load("b", url)
                assert refused.value.status == status
            assert models.nbytes == 60
            assert cast(Sized, models.resident("a").model).nbytes == 60  # type: ignore[union-attr]

    asyncio.run(story())
