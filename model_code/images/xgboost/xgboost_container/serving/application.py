"""Which request goes where, for one model and for many, and what is answered when that goes wrong."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .messages import JSON, Answer, MethodNotAllowed, Request, refuse
from .request_error import RequestError

if TYPE_CHECKING:
    from .invocations import Invocations
    from .model import Model
    from .settings import Settings

Reply = Answer | asyncio.Future[Answer]
Handler = Callable[[Request], Reply]


def failed(error: Exception) -> Answer:
    """What is answered when something raised. A fault of ours goes to the log, whole."""
    if isinstance(error, RequestError):
        return refuse(error)
    if isinstance(error, MemoryError):
        return refuse(RequestError(503, "there is not enough memory for this request now; send fewer rows at once"))
    traceback.print_exception(error)
    return refuse(RequestError(500, f"the server failed ({type(error).__name__}); its log says more"))


class Application:
    """What all requests go through: the order of the checks, the routes, the failures.

    Attributes:
        unready: why nothing is served yet; None once it is.
        is_stopping: SIGTERM came. `/ping` says so from then on.
        is_draining: requests that begin now are refused.
    """

    def __init__(self, settings: Settings) -> None:
        self.unready: str | None = "the model is being loaded"
        self.is_stopping = False
        self.is_draining = False
        self._parameters = Answer(200, execution_parameters(settings), JSON)
        self._routes: dict[bytes, dict[str, Handler]] = {
            b"/ping": _get(self._ping),
            b"/execution-parameters": _get(lambda request: self._parameters),
        }

    def admit(self, request: Request) -> None:
        """The checks that need no body, in the order that SageMaker's contract implies: the server's state, then the request.

        Raises:
            RequestError: 503 while loading or draining, 404, 405.
        """
        if self.is_draining or (self.is_stopping and request.path == b"/ping"):
            raise RequestError(503, "the server is stopping")
        if self.unready is not None:
            raise RequestError(503, self.unready)
        self._handler(request)

    def answer(self, request: Request) -> Reply:
        """Answer a request that was admitted."""
        try:
            return self._handler(request)(request)
        except Exception as error:
            return failed(error)

    def _handler(self, request: Request) -> Handler:
        methods = self._methods(request)
        handler = methods.get(request.method)
        if handler is None:
            path = request.path.decode("latin-1")[:100]
            raise MethodNotAllowed(path, request.method[:20], ", ".join(methods))
        return handler

    def _methods(self, request: Request) -> Mapping[str, Handler]:
        methods = self._routes.get(request.path)
        if methods is None:
            path = request.path.decode("latin-1")[:100]
            raise RequestError(404, f"there is no {path!r} here, only {self._all_routes()}")
        return methods

    def _all_routes(self) -> str:
        *most, last = (route.decode() for route in self._routes)
        return f"{', '.join(most)} and {last}"

    def _ping(self, request: Request) -> Answer:
        return Answer(200)


class SingleModelApplication(Application):
    """`/ping`, `/execution-parameters` and `/invocations` for the one model of the container."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._invocations: Invocations | None = None
        self._model: Model | None = None
        self._routes[b"/invocations"] = {"POST": self._invoke}

    def ready(self, model: Model, invocations: Invocations) -> None:
        """Serve from now on with a model that has scored a row."""
        self._model = model
        self._invocations = invocations
        self.unready = None

    def _invoke(self, request: Request) -> Reply:
        assert self._model is not None
        assert self._invocations is not None
        return self._invocations.answer(self._model, request)

    def _ping(self, request: Request) -> Answer:
        """200 when the model scores its sample row, now: one that has stopped scoring must be taken out of service."""
        assert self._model is not None
        try:
            self._model.check()
        except Exception as error:
            raise RequestError(503, f"the model does not score: {error}") from error
        return Answer(200)


def execution_parameters(settings: Settings) -> bytes:
    """What batch transform is told where its job does not say: how many requests at once, and how large.

    Source: "Custom Inference Code with Batch Transform" in the Amazon SageMaker AI Developer Guide.
    """
    return (
        b'{"MaxConcurrentTransforms":%d,"BatchStrategy":"MULTI_RECORD","MaxPayloadInMB":%d}\n'
        # Whole MiB, rounded down: a larger payload would be refused. SageMaker takes 0 for "without a limit".
    ) % (settings.workers, max(settings.max_content_length // 1024**2, 1))


def _get(handler: Handler) -> dict[str, Handler]:
    return {"GET": handler, "HEAD": handler}
