"""Scores one request: bytes in, bytes out, at once where it is small and in a thread where it would hold others up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .accept import negotiate
from .application import Reply, guarded
from .decode import decode
from .encode import encode
from .messages import Answer, Request
from .request_error import RequestError

if TYPE_CHECKING:
    from .model import Model
    from .settings import Settings

# Up to here a request costs less than a millisecond, which others can wait; a thread costs each about 100 microseconds.
INLINE_BYTES = 32 * 1024
# Small on the wire and large in memory, or read by a library that is imported when it is first needed.
_NEVER_INLINE = ("parquet", "recordio")


class Invocations:
    """Answers requests for predictions.

    Threads help because parsing holds Python's lock for a few milliseconds at most and scoring not at all.
    """

    def __init__(self, settings: Settings, threads: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._threads = threads

    def answer(self, model: Model, request: Request) -> Reply:
        """Score a request whose body is whole.

        What can be refused without the model is refused first: an answer that nobody accepts is not worked for.
        """
        body = request.body
        if not body:
            return Answer(204)
        headers = request.headers
        accept = headers.get(b"accept")
        media_type = self._answer_types.get(accept)
        if media_type is None:
            media_type = self._negotiate(accept)
        content_type = request.header(b"content-type")
        if len(body) > INLINE_BYTES or (content_type is not None and any(kind in content_type for kind in _NEVER_INLINE)):
            loop = asyncio.get_running_loop()
            return loop.run_in_executor(self._threads, guarded, lambda: self._score(model, content_type, body, media_type))
        return guarded(lambda: self._score(model, content_type, body, media_type))

    def _score(self, model: Model, content_type: str | None, body: bytes, media_type: str) -> Answer:
        rows = decode(content_type, body, model.schema)
        return Answer(200, encode(model.predict(rows), media_type), media_type)
