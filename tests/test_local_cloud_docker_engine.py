"""The Docker engine where an engine's answers are rare ones, which a real one gives only by chance."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from local_cloud.containers.engine import ContainerError, ContainerSpec, Image


class FakeContainer:
    """A container that ends when its output does."""

    name = "one"

    def __init__(self, output: list[bytes], when_started: threading.Event | None = None) -> None:
        self.removed = threading.Event()
        self.begun, self.may_begin = threading.Event(), when_started
        self._output = output

    def start(self) -> None:
        self.begun.set()
        if self.may_begin:
            assert self.may_begin.wait(60)

    def logs(self, **_: Any) -> Any:
        yield from self._output
        raise RuntimeError("the engine went away")

    def remove(self, **_: Any) -> None:
        self.removed.set()


@pytest.fixture
def docker_engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, where the `docker` package is only in the local cloud's own environment."""
    docker, errors = ModuleType("docker"), ModuleType("docker.errors")
    for name in ("DockerException", "APIError", "ImageNotFound"):
        setattr(errors, name, type(name, (Exception,), {}))
    docker.errors = errors  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "docker", docker)
    monkeypatch.setitem(sys.modules, "docker.errors", errors)
    monkeypatch.delitem(sys.modules, "local_cloud.containers.docker_engine", raising=False)
    yield importlib.import_module("local_cloud.containers.docker_engine")
    sys.modules.pop("local_cloud.containers.docker_engine", None)


def engine_of(docker_engine: Any, container: FakeContainer, folder: Path) -> Any:
    containers = SimpleNamespace(list=lambda **_: [], create=lambda *_, **__: container)
    return docker_engine.DockerEngine(SimpleNamespace(containers=containers, close=lambda: None), folder)


def spec(folder: Path, **more: Any) -> ContainerSpec:
    ml = folder / "ml"
    ml.mkdir()
    return ContainerSpec("one", Image("x", "x"), ml, **more)


def test_a_container_that_the_engine_loses_has_ended(docker_engine: Any, tmp_path: Path) -> None:
    lost = FakeContainer([b"one\ntwo\n"])
    printed: list[str] = []
    container = engine_of(docker_engine, lost, tmp_path).start(spec(tmp_path, on_line=printed.append))
    assert container.wait(60) == 137
    assert printed == ["one", "two"]
    assert lost.removed.is_set()


def test_a_container_that_starts_while_the_cloud_ends_is_removed(docker_engine: Any, tmp_path: Path) -> None:
    may_begin = threading.Event()
    late = FakeContainer([], may_begin)
    engine = engine_of(docker_engine, late, tmp_path)
    refusals: list[str] = []

    def start() -> None:
        try:
            engine.start(spec(tmp_path))
        except ContainerError as error:
            refusals.append(str(error))

    starting = threading.Thread(target=start)
    starting.start()
    assert late.begun.wait(60)
    engine.close()
    may_begin.set()
    starting.join(60)
    assert refusals == ["The local cloud is stopping."]
    assert late.removed.is_set()
