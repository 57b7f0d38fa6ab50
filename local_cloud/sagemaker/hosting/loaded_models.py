"""The models that one multi-model container has loaded: fetched, loaded and unloaded as requests need them.

It speaks SageMaker's contract ("Custom Containers Contract for Multi-Model Endpoints" in the developer guide) with the
container. What was downloaded stays on the instance's disk when it is unloaded from the memory, so an archive that is
replaced in S3 under the same key is not seen while either has the old one (the guide's "Add or Remove Models" warns of it).
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from local_cloud.containers.engine import ContainerEngine, path_inside
from local_cloud.sagemaker.hosting.container_calls import Call, Reply, Unreachable
from local_cloud.sagemaker.hosting.model_archives import ModelArchives, name_of

logger = logging.getLogger(__name__)

MODELS = "models"
"""The folder below `/opt/ml` that has the models, each in a folder of its name."""
LOAD_TIMEOUT_S = 360.0
"""How long a model may take to be downloaded and loaded (developer guide, "Invoke a Multi-Model Endpoint")."""
DISK_BYTES = 10 * 1024**3
"""How much of an instance's disk its models take before those that are not loaded are deleted, the one that was loaded
longest ago first. On AWS that is the size of the instance's volume."""
TARGET_MODEL = "x-amzn-sagemaker-target-model"
_NO_ROOM, _LOADED_ALREADY, _NOT_LOADED = 507, 409, 404


@dataclass(frozen=True)
class ModelHost:
    """What a multi-model container is given.

    Attributes:
        archives: where its models are.
        s3: a client with the credentials of the model's role.
        ask: sends a request to a port of this machine; raises Unreachable.
        tell: takes one value of a metric, by the metric's name; times are in seconds.
    """

    archives: ModelArchives
    s3: Any
    ask: Callable[[int, Call, float], Awaitable[Reply]]
    tell: Callable[[str, float], None]


class NotReady(Exception):
    """A model is still being downloaded or loaded; it goes on, and a later request may find it."""


class NotLoaded(Exception):
    """The container did not load a model; says what it answered."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"The container answered {reply.status} to POST /models")
        self.reply = reply


@dataclass
class _Model:
    loading: asyncio.Task[None]
    users: int = 0
    unloading: asyncio.Task[None] | None = None

    @property
    def is_loaded(self) -> bool:
        return self.loading.done() and not self.loading.cancelled() and self.loading.exception() is None


@dataclass(frozen=True)
class Use:
    """A model that is loaded and stays so for the block.

    Attributes:
        name: what the container calls it.
        hit: whether it was loaded before.
        waited_s: how long the request waited for it.
    """

    name: str
    hit: bool
    waited_s: float


class LoadedModels:
    """The models of one container, the least recently used first. All but `forget` and `tell_count` on the event loop."""

    def __init__(self, host: ModelHost, engine: ContainerEngine, ml_dir: Path, port: Callable[[], int]) -> None:
        """Nothing is loaded yet.

        Args:
            host: what the container is given.
            engine: runs it.
            ml_dir: what is `/opt/ml` inside.
            port: where it listens now.
        """
        self._host, self._engine, self._port = host, engine, port
        self._ml_dir = ml_dir
        # Beside /opt/ml: a container sees no model that is not whole. No container's name begins with a dot.
        self._staging = ml_dir.with_name(f".{ml_dir.name}")
        self._models: OrderedDict[str, _Model] = OrderedDict()
        self._on_disk: OrderedDict[str, int] = OrderedDict()
        self._making_room = asyncio.Lock()
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deleted = 0

    def has(self, target_model: str) -> bool:
        """Whether a model is loaded, or is being loaded."""
        return target_model in self._models

    def forget(self) -> None:
        """Nothing is loaded any more: the container was started again."""
        self._models = OrderedDict()

    def tell_count(self) -> None:
        """Tell how many models are loaded."""
        self._host.tell("LoadedModelCount", float(sum(model.is_loaded for model in list(self._models.values()))))

    @asynccontextmanager
    async def using(self, target_model: str, timeout_s: float) -> AsyncIterator[Use]:
        """A model for one request; loaded first where it is not, once for all requests that wait for it.

        Args:
            target_model: relative to the archives' prefix.
            timeout_s: how long to wait for it.

        Raises:
            NotReady: it takes longer; the loading goes on.
            NoModel: there is no such archive.
            NotLoaded: the container refuses it.
            Unreachable: the container does not listen.
        """
        began = time.perf_counter()
        while (model := self._models.get(target_model)) and model.unloading:
            await asyncio.shield(model.unloading)
        hit = model is not None and model.is_loaded
        if model is None:
            model = self._models[target_model] = _Model(self._task(self._load(target_model)))
            model.loading.add_done_callback(partial(self._drop_if_failed, target_model, model))
        self._models.move_to_end(target_model)
        model.users += 1
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    await asyncio.shield(model.loading)
            except TimeoutError:
                raise NotReady from None
            yield Use(name_of(target_model), hit, time.perf_counter() - began)
        finally:
            model.users -= 1
            self._released.set()
            is_current = self._models.get(target_model) is model and model.is_loaded and not model.unloading
            if is_current and not model.users and not self._host.archives.cached:
                self._begin_unloading(target_model, model, from_disk=True)

    async def lost(self, target_model: str) -> bool:
        """Whether the container has unloaded a model by itself; if so, the next request loads it again."""
        model = self._models.get(target_model)
        reply = await self._ask(target_model, f"/models/{name_of(target_model)}", method="GET")
        if reply.status != _NOT_LOADED:
            return False
        if model is not None and self._models.get(target_model) is model:
            del self._models[target_model]
        return True

    async def _load(self, target_model: str) -> None:
        async with asyncio.timeout(LOAD_TIMEOUT_S):
            folder = self._folder(target_model)
            if target_model not in self._on_disk:
                began = time.perf_counter()
                size = await asyncio.to_thread(
                    self._host.archives.download, self._host.s3, target_model, folder, self._staging
                )
                self._host.tell("ModelDownloadingTime", time.perf_counter() - began)
                self._on_disk[target_model] = size
                await self._trim_disk(target_model)
            self._on_disk.move_to_end(target_model)
            url = path_inside(self._engine, self._ml_dir, folder / "model")
            body = json.dumps({"model_name": name_of(target_model), "url": url}).encode()
            reply = await self._post(target_model, body)
            if reply.status == _NO_ROOM:
                # One at a time: two that make room for each other would unload more than is needed.
                async with self._making_room:
                    while reply.status == _NO_ROOM and await self._unload_one():
                        reply = await self._post(target_model, body)
            if not reply.succeeded and reply.status != _LOADED_ALREADY:
                raise NotLoaded(reply)
            self._host.tell("ModelLoadingTime", reply.seconds)

    async def _unload_one(self) -> bool:
        """Unload the model that was used longest ago and is not used now, once there is one; False if none is loaded."""
        while loaded := [(name, model) for name, model in self._models.items() if model.is_loaded]:
            if unloading := next((model.unloading for _, model in loaded if model.unloading), None):
                await asyncio.shield(unloading)
                return True
            idle = next(((name, model) for name, model in loaded if not model.users), None)
            if idle:
                await asyncio.shield(self._begin_unloading(*idle, from_disk=False))
                return True
            self._released.clear()
            await self._released.wait()
        return False

    def _begin_unloading(self, target_model: str, model: _Model, *, from_disk: bool) -> asyncio.Task[None]:
        # At once, not in the task: whoever comes now waits for its end.
        model.unloading = self._task(self._unload(target_model, model, from_disk=from_disk))
        return model.unloading

    async def _unload(self, target_model: str, model: _Model, *, from_disk: bool) -> None:
        try:
            reply = await self._ask(target_model, f"/models/{name_of(target_model)}", method="DELETE")
            if not reply.succeeded and reply.status != _NOT_LOADED:
                logger.warning("A container answered %d to the unloading of %s", reply.status, target_model)
            self._host.tell("ModelUnloadingTime", reply.seconds)
        except Unreachable:
            logger.info("%s is not unloaded: its container has ended", target_model)
        if from_disk:
            await self._delete(target_model)
        if self._models.get(target_model) is model:
            del self._models[target_model]

    async def _trim_disk(self, but: str) -> None:
        """Delete models that are not loaded, down to what the disk takes."""
        for target_model in list(self._on_disk):
            if sum(self._on_disk.values()) <= DISK_BYTES:
                return
            if target_model != but and target_model not in self._models and target_model in self._on_disk:
                await self._delete(target_model)

    async def _delete(self, target_model: str) -> None:
        if self._on_disk.pop(target_model, None) is None:
            return
        # Out of the way at once: it may be downloaded again while it is being deleted.
        self._deleted += 1
        away = self._staging / f"deleted-{self._deleted}"
        self._folder(target_model).rename(away)
        await asyncio.to_thread(shutil.rmtree, away, ignore_errors=True)

    def _folder(self, target_model: str) -> Path:
        return self._ml_dir / MODELS / name_of(target_model)

    def _drop_if_failed(self, target_model: str, model: _Model, _: asyncio.Task[None]) -> None:
        # Asking for its exception also keeps asyncio from reporting it where nobody waits any more.
        if not model.is_loaded and self._models.get(target_model) is model:
            del self._models[target_model]

    async def _post(self, target_model: str, body: bytes) -> Reply:
        return await self._ask(target_model, "/models", body=body)

    async def _ask(self, target_model: str, path: str, *, method: str = "POST", body: bytes = b"") -> Reply:
        headers = {"content-type": "application/json", "accept": "application/json", TARGET_MODEL: target_model}
        return await self._host.ask(self._port(), Call(path, headers, body, method), LOAD_TIMEOUT_S)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # The loop itself holds its tasks only weakly.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
