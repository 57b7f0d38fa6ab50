"""The queue of an asynchronous endpoint, where the local cloud itself fails."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from local_cloud.clock import Clock


def document(name: str, **members: Any) -> dict[str, Any]:
    return {
        "Id": name, "InferenceId": name, "Endpoint": "e", "Attempts": 0, "ReceivedTime": time.time(), "RequestTTLSeconds": 21600,
        "FailureLocation": f"s3://b/{name}-error.out", "KmsKeyId": None, "Topics": {}, "IncludeResponseIn": [], **members,
    }  # fmt: skip


def test_an_instance_gets_the_request_that_it_was_chosen_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h11", ModuleType("h11"))
    async_queue = importlib.import_module("local_cloud.sagemaker.asynchronous.async_queue")
    given: list[str] = []
    got = threading.Event()

    @contextmanager
    def lease(*_: object) -> Iterator[Any]:
        if queue._pending[0]["Id"] == "chosen":
            # One whose server did not listen is to be tried again, before all others, in this very moment.
            queue._pending.appendleft(document("again", Attempts=1, Concurrency=4))
            yield SimpleNamespace(variant=None, instance=SimpleNamespace(id="i"))
        else:
            yield None

    def process(_self: Any, taken: dict[str, Any], *_: object) -> None:
        given.append(taken["Id"])
        got.set()

    monkeypatch.setattr(async_queue.AsyncQueue, "_process", process)
    service = SimpleNamespace(
        store=SimpleNamespace(list=lambda *_: [], insert=lambda *_: None, delete=lambda *_: None),
        clock=Clock(30),
        platform=None,
        background={"endpoint_metrics": SimpleNamespace(record=lambda *_: None)},
    )
    hosting = SimpleNamespace(service=service, router=lambda key: SimpleNamespace(fleets=[], lease=lease))
    queue = async_queue.AsyncQueue(hosting, ("1", "r", "e"), "e")
    try:
        queue.put(document("chosen", Concurrency=4))
        assert got.wait(60)
    finally:
        queue.close()
    assert given == ["chosen"]


def test_a_request_that_the_local_cloud_cannot_process_fails_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    # The local cloud has an environment of its own; what asks model servers is not in ours, and is not needed here.
    monkeypatch.setitem(sys.modules, "h11", ModuleType("h11"))
    async_processing, async_queue = (
        importlib.import_module(f"local_cloud.sagemaker.asynchronous.{name}")
        for name in ("async_processing", "async_queue")
    )
    kept: dict[str, dict[str, Any]] = {}
    written: dict[str, bytes] = {}
    said: list[str] = []
    service = SimpleNamespace(
        store=SimpleNamespace(
            list=lambda *_: [],
            put=lambda kind, account, region, name, document: kept.update({name: document}),
            delete=lambda kind, account, region, name: kept.pop(name, None),
        ),
        clock=Clock(30),
        platform=None,
        background={"endpoint_metrics": SimpleNamespace(record=lambda *_: None)},
    )
    queue = async_queue.AsyncQueue(SimpleNamespace(service=service, router=lambda key: None), ("1", "r", "e"), "e")
    s3 = SimpleNamespace(put_object=lambda **put: written.update({put["Key"]: put["Body"]}))
    work = async_processing.Work(region="r", s3=s3, sns=None, own_s3=None, save=lambda document: None, log=said.append)
    monkeypatch.setattr(queue._access, "work", lambda *_: work)

    def fails(work: Any, document: dict[str, Any], *_: object) -> None:
        document["Attempts"] += 1
        raise RuntimeError("disk full")

    monkeypatch.setattr(async_processing, "answer", fails)
    request = document("one")
    lease = SimpleNamespace(variant=SimpleNamespace(name="v"), instance=SimpleNamespace(id="i"))
    try:
        for attempt in (1, 2, 3):
            assert not written, attempt
            queue._process(request, lease, ExitStack())
    finally:
        queue.close()
    assert written == {"one-error.out": b"InternalServerError: The local cloud failed: RuntimeError: disk full"}
    assert request["Result"]["Succeeded"] is False
