"""Paths in settings: of files in the project, or on a volume; never of anything above."""

from __future__ import annotations

from pathlib import PurePosixPath


def check_below(path: str) -> str:
    """Returns a path that stays below where it begins, or raises `ValueError`: absolute ones and `..` do not."""
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} leads elsewhere (allowed: a path below the root, without ..)")
    return path
