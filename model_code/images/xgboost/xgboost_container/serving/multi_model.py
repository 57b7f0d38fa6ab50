"""A multi-model endpoint's side of SageMaker's contract: models come, are asked, and go while the server runs.

Source: "Custom Containers Contract for Multi-Model Endpoints" in the Amazon SageMaker AI Developer Guide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import orjson

from .application import Application, Handler, Reply, failed
from .messages import JSON, Answer, Request
from .models import Entry, Models
from .request_error import RequestError

if TYPE_CHECKING:
    from .invocations import Invocations
    from .model import Model
    from .settings import Settings

_PREFIX = b"/models/"
_INVOKE = b"/invoke"
DEFAULT_PAGE = 100
LARGEST_PAGE = 1000


class MultiModelApplication(Application):
    """`/ping`, `/execution-parameters`, and the verbs of `/models`.

    `/ping` is 200 with no model loaded: SageMaker loads them only after that.
    """

    def __init__(self, settings: Settings, threads: ThreadPoolExecutor) -> None:
        super().__init__(settings)
        self.unready = "the server is starting"
        self._settings = settings
        self._threads = threads
        self._invocations: Invocations | None = None
        self._models: Models | None = None
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._routes[b"/models"] = {"GET": self._list, "HEAD": self._list, "POST": self._load}

    def prepare(self) -> Callable[[], None]:
        """Import what models need, so that the first one does not wait for it. The result belongs into the loop's thread."""
        from .invocations import Invocations
        from .model import load

        invocations = Invocations(self._settings, self._threads)

        def load_and_warn(folder: Path) -> Model:
            model = load(folder, ensemble=self._settings.ensemble)
            invocations.warn(model, str(folder))
            return model

        def ready() -> None:
            self._models = Models(self._settings.model_cache_bytes, load_and_warn, self._threads)
            self._invocations = invocations
            self.unready = None

        return ready

    def _methods(self, request: Request) -> Mapping[str, Handler]:
        path = request.path
        if path.startswith(_PREFIX) and len(path) > len(_PREFIX):
            # A name may hold an escaped slash, and end like a verb.
            if path.endswith(_INVOKE) and len(path) > len(_PREFIX) + len(_INVOKE) and request.method == "POST":
                return {"POST": self._invoke}
            return {"GET": self._describe, "HEAD": self._describe, "DELETE": self._unload}
        if path == b"/invocations":
            raise RequestError(404, "this endpoint has many models: POST /models/{name}/invoke asks one of them")
        return super()._methods(request)

    @property
    def models(self) -> Models:
        assert self._models is not None
        return self._models

    def _list(self, request: Request) -> Answer:
        query = parse_qs(request.query.decode("latin-1"))
        text = query.get("limit", [str(DEFAULT_PAGE)])[-1]
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= LARGEST_PAGE:
            raise RequestError(400, f"limit must be a whole number from 1 to {LARGEST_PAGE}, got {text[:40]!r}")
        page, token = self.models.page(query.get("next_page_token", [None])[-1], int(text))
        content: dict[str, Any] = {"models": page}
        if token is not None:
            content["nextPageToken"] = token
        return _json(content)

    def _describe(self, request: Request) -> Answer:
        return _json(self.models.describe(_name(request.path[len(_PREFIX) :])))

    def _unload(self, request: Request) -> Answer:
        self.models.unload(_name(request.path[len(_PREFIX) :]))
        return Answer(200)

    def _load(self, request: Request) -> Reply:
        try:
            # Refuses what json would take: a lone surrogate (no path could name such a model again), endless nesting.
            content = orjson.loads(request.body)
        except orjson.JSONDecodeError as error:
            raise RequestError(400, f"the body is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise RequestError(400, "the body must be a JSON object with model_name and url")
        for key in ("model_name", "url"):
            if not isinstance(content.get(key), str) or not content[key]:
                raise RequestError(400, f"the body must be a JSON object with model_name and url, and {key} a string")
        name, url = content["model_name"], content["url"]
        if not url.startswith("/") or "\0" in url:
            raise RequestError(400, f"url must be the absolute path of a folder, got {url[:100]!r}")

        async def load() -> Answer:
            await self.models.load(name, url)
            return _json({"modelName": name, "modelUrl": url})

        return self._later(load())

    def _invoke(self, request: Request) -> Reply:
        name = _name(request.path[len(_PREFIX) : -len(_INVOKE)])
        entry = self.models.resident(name)
        if entry is None:
            return self._later(self._bring_back_and_invoke(name, request))
        return self._ask(entry, request)

    async def _bring_back_and_invoke(self, name: str, request: Request) -> Answer:
        reply = self._ask(await self.models.bring_back(name), request)
        return reply if isinstance(reply, Answer) else await reply

    def _ask(self, entry: Entry, request: Request) -> Reply:
        assert self._invocations is not None
        assert entry.model is not None
        reply = self._invocations.answer(entry.model, request)
        if not isinstance(reply, Answer):
            self.models.hold(entry, reply)
        return reply

    def _later(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        async def safely() -> Answer:
            try:
                return await work
            except Exception as error:
                return failed(error)

        task = asyncio.get_running_loop().create_task(safely())
        self._tasks.add(task)  # the loop itself keeps a task only weakly
        task.add_done_callback(self._tasks.discard)
        return task


def _name(escaped: bytes) -> str:
    return unquote(escaped.decode("latin-1"))


def _json(content: Mapping[str, Any]) -> Answer:
    return Answer(200, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE), JSON)
