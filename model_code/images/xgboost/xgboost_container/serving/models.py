"""The models of a multi-model endpoint: which are loaded, in how much memory, and which one has to go.

SageMaker decides what is loaded and unloaded (`POST` and `DELETE /models`), and this keeps it within bounds: when a model
does not fit, those that were used least recently leave memory first, and only when that is not enough SageMaker is told
(507), which then unloads others on its side. SageMaker does not know what left memory here and goes on invoking it, so
such a model is loaded again when it is invoked, from where it was loaded before. It is not listed meanwhile: the list is
what is in memory.
"""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract import UserError, log
from .memory import give_back_memory
from .request_error import RequestError

if TYPE_CHECKING:
    from .model import Model


@dataclass
class Entry:
    """A model that SageMaker has loaded. `model` is None while it is not in memory."""

    name: str
    url: str
    model: Model | None = None
    nbytes: int = 0
    in_use: int = 0


class Models:
    """What is loaded. Every method is called in the event loop's thread; only files are read in another.

    Args:
        capacity: what all models together may take, in bytes of `Model.nbytes`.
        load: reads a model's folder and scores a row with it; UserError where it cannot be served.
    """

    def __init__(self, capacity: int, load: Callable[[Path], Model], threads: ThreadPoolExecutor) -> None:
        self._capacity = capacity
        self._load = load
        self._threads = threads
        self._entries: OrderedDict[str, Entry] = OrderedDict()  # the least recently used first
        # One at a time: memory is exceeded by one model at most while its true size is not known yet.
        self._turn = asyncio.Lock()

    @property
    def nbytes(self) -> int:
        """What the models in memory take."""
        return sum(entry.nbytes for entry in self._entries.values())

    async def load(self, name: str, url: str) -> None:
        """Load a model from the folder `url` and keep it under `name`.

        Raises:
            RequestError: 409 when it is loaded already, 400 when the folder holds no model that can be served, 507 when there
                is not enough memory for it.
        """
        async with self._turn:
            known = self._entries.get(name)
            if known is not None and known.model is not None:
                raise RequestError(409, f"a model {name!r} is already loaded")
            entry = Entry(name, url)
            await self._bring(entry)
            if known is not None:
                self._entries.pop(name, None)
            self._entries[name] = entry

    def resident(self, name: str) -> Entry | None:
        """The model if it is in memory; it counts as used now.

        Raises:
            RequestError: 404 when it is not loaded.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise not_loaded(name)
        if entry.model is None:
            return None
        self._entries.move_to_end(name)
        return entry

    async def bring_back(self, name: str) -> Entry:
        """The model, loaded again if it had left memory.

        Raises:
            RequestError: 404 when it is not loaded or cannot be loaded again, 507 when there is not enough memory for it.
        """
        async with self._turn:
            entry = self.resident(name)
            if entry is not None:
                return entry
            entry = self._entries[name]
            try:
                await self._bring(entry)
            except RequestError as error:
                if error.status == 400 and self._entries.get(name) is entry:
                    del self._entries[name]
                    raise RequestError(404, f"the model {name!r} had left memory and is gone: {error}") from error
                raise
            if self._entries.get(name) is not entry:  # unloaded meanwhile
                raise not_loaded(name)
            self._entries.move_to_end(name)
            return entry

    def unload(self, name: str) -> None:
        """Forget a model. A request that uses it now is still answered.

        Raises:
            RequestError: 404 when it is not loaded.
        """
        if self._entries.pop(name, None) is None:
            raise not_loaded(name)
        self._threads.submit(give_back_memory)

    def describe(self, name: str) -> dict[str, str]:
        """Name and folder of a model in memory.

        Raises:
            RequestError: 404 when it is not in memory.
        """
        entry = self._entries.get(name)
        if entry is None or entry.model is None:
            raise not_loaded(name)
        return {"modelName": entry.name, "modelUrl": entry.url}

    def page(self, token: str | None, limit: int) -> tuple[list[dict[str, str]], str | None]:
        """The models in memory after `token`, by name, at most `limit`, and the token of the next page if there is one.

        A token names the last model of its page: what is loaded and unloaded between two pages neither repeats nor
        hides others.

        Raises:
            RequestError: 400 when the token is none of ours.
        """
        names = sorted(entry.name for entry in self._entries.values() if entry.model is not None)
        if token is not None:
            try:
                last = base64.b64decode(token, altchars=b"-_", validate=True).decode()
            except ValueError as error:
                raise RequestError(400, f"next_page_token {token[:40]!r} is not one that was given out here") from error
            names = [name for name in names if name > last]
        page = names[:limit]
        more = base64.urlsafe_b64encode(page[-1].encode()).decode() if len(names) > limit else None
        return [self.describe(name) for name in page], more

    def hold(self, entry: Entry, until: asyncio.Future[Any]) -> None:
        """Keep a model in memory while a request uses it."""

        def release(_: object) -> None:
            entry.in_use -= 1

        entry.in_use += 1
        until.add_done_callback(release)

    async def _bring(self, entry: Entry) -> None:
        """Load into memory, having made room."""
        loop = asyncio.get_running_loop()
        folder = Path(entry.url)
        self._make_room(await loop.run_in_executor(self._threads, _bytes_on_disk, folder), entry)
        try:
            model = await loop.run_in_executor(self._threads, self._load, folder)
        except (UserError, OSError) as error:
            raise RequestError(400, f"the model {entry.name!r} cannot be loaded: {error}") from error
        except MemoryError as error:
            raise RequestError(507, f"there is not enough memory for the model {entry.name!r}") from error
        self._make_room(model.nbytes, entry)
        entry.model, entry.nbytes = model, model.nbytes

    def _make_room(self, nbytes: int, newcomer: Entry) -> None:
        free = self._capacity - self.nbytes
        idle = [entry for entry in self._entries.values() if entry.model is not None and not entry.in_use]
        if nbytes > free + sum(entry.nbytes for entry in idle):
            raise RequestError(
                507,
                f"the model {newcomer.name!r} needs {nbytes} bytes; of the {self._capacity} that models may take "
                "(SAGEMAKER_MODEL_CACHE_BYTES) the rest is in use",
            )
        left = []
        for entry in idle:
            if nbytes <= free:
                break
            free += entry.nbytes
            entry.model, entry.nbytes = None, 0
            left.append(entry.name)
        if left:
            log(f"Out of memory to make room for {newcomer.name}, least recently used first: {', '.join(left)}")
            self._threads.submit(give_back_memory)


def not_loaded(name: str) -> RequestError:
    return RequestError(404, f"no model {name!r} is loaded")


def _bytes_on_disk(folder: Path) -> int:
    """The least that a model can need in memory: what its files hold."""
    try:
        return sum(file.stat().st_size for file in folder.glob("xgboost-model*"))
    except OSError:
        return 0  # loading it says what is wrong
