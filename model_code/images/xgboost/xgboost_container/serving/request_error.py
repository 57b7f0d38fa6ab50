"""Why a request is refused."""

from __future__ import annotations


class RequestError(Exception):
    """The client can mend it. The message is one line that says what and where.

    Attributes:
        status: the HTTP status, one of 400, 404, 405, 406, 408, 409, 413, 415, 431, 500, 503, 507.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
