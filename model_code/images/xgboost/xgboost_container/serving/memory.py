"""What becomes of freed memory: kept between two requests, given back when a model goes.

Only glibc, which the image has, is told anything; elsewhere these do nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

# The numbers of the parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# A request with 1,000 rows needs 3 MB at once. What one of 20 MiB needs goes back to the system when it is answered.
_LARGEST_KEPT = 8 << 20
_KEPT = 16 << 20


def keep_freed_memory() -> None:
    """Have small amounts of freed memory used again, by whichever thread asks next. Called before threads start.

    By default glibc gives each thread an arena of its own, whose end goes back to the system at each free. Then a request
    with 1,000 rows begins with 480 page faults, which take a millisecond.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def give_back_memory() -> None:
    """Return all freed memory to the system. Kept, it would make the container look as full as before."""
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_libc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None)
