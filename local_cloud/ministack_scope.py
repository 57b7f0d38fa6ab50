"""Runs work as MiniStack runs a request: for one account, in one region."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TypeVar

from ministack.core import responses

T = TypeVar("T")


def in_scope(account: str, region: str | None, work: Callable[[], T]) -> T:
    """Run `work` as a request of that account and region: MiniStack keeps both in context variables."""

    def scoped() -> T:
        responses.set_request_account_id(account)
        if region:
            responses.set_request_region(region)
        return work()

    return contextvars.copy_context().run(scoped)
