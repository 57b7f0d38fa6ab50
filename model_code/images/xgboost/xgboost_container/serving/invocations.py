"""Scores one request: bytes in, bytes out, at once where it is small and in a thread where it would hold others up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..contract import log
from .accept import negotiate
from .application import Reply, failed
from .decode import decode
from .encode import encode
from .messages import Answer, Request
from .request_error import RequestError

if TYPE_CHECKING:
    from .model import Model
    from .settings import Settings

# Up to here a request costs less than a millisecond, which others can wait; a thread costs each about 100 microseconds.
INLINE_BYTES = 32 * 1024


class Invocations:
    """Answers requests for predictions.

    Threads help because parsing holds Python's lock for a few milliseconds at most and scoring not at all.
    """

    def __init__(self, settings: Settings, threads: ThreadPoolExecutor) -> None:
        self._default_accept = settings.default_accept
        self._selection = settings.inference_output
        self._batch = settings.batch
        self._threads = threads

    def answer(self, model: Model, request: Request) -> Reply:
        """Score a request whose body is whole.

        What can be refused without the model is refused first: an answer that nobody accepts is not worked for.

        Raises:
            RequestError: 406, or what `decode` raises, when it is scored at once.
        """
        body = request.body
        if not body:
            return Answer(204)
        media_type = negotiate(request.header(b"accept"), self._default_accept)
        content_type = request.header(b"content-type")
        if len(body) <= INLINE_BYTES and (content_type is None or "csv" in content_type or "json" in content_type):
            return self._score(model, content_type, body, media_type)
        # The other formats say much in few bytes, and their libraries are imported when they are first needed.
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, self._score_safely, model, content_type, body, media_type)

    def warn(self, model: Model, name: str) -> None:
        """Say once, when a model is loaded, what its answers will hold no number for."""
        if self._selection is not None and (invalid := self._selection.invalid(model.objective)):
            log(f"SAGEMAKER_INFERENCE_OUTPUT: {', '.join(invalid)} will be NaN, because {name} is of {model.objective}")

    def _score_safely(self, model: Model, content_type: str | None, body: bytes, media_type: str) -> Answer:
        try:
            return self._score(model, content_type, body, media_type)
        except Exception as error:
            return failed(error)

    def _score(self, model: Model, content_type: str | None, body: bytes, media_type: str) -> Answer:
        rows = decode(content_type, body, model.schema)
        if not len(rows):
            return Answer(204)
        try:
            prediction = model.predict(rows)
        except ValueError as error:  # infinity, where the booster knows none
            raise RequestError(400, str(error)) from error
        if self._selection is None:
            content = encode(prediction, media_type, batch=self._batch)
        else:
            selected = self._selection.of(model.objective, model.num_class, prediction)
            content = encode(selected, media_type, batch=self._batch)
        return Answer(200, content, media_type)
