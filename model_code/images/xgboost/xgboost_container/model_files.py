"""Where a model's files are read from: a folder, or an archive that is never extracted."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .contract import UserError

LARGEST_MODEL = 1024**3
"""Bytes of one file: at 5 bytes of memory for each, what a host of 8 GB can hold."""


class Files(Protocol):
    """Names without folders, and their bytes. `str()` of it says where, for messages."""

    def names(self) -> Sequence[str]:
        """By name, without hidden files."""
        ...

    def read(self, name: str) -> bytes:
        """One file.

        Raises:
            UserError: it is too large, or not to be read.
        """
        ...


class Folder:
    """The files of a folder; not those below it, where SageMaker puts code."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def names(self) -> Sequence[str]:
        try:
            return sorted(
                path.name for path in self._folder.iterdir() if not path.name.startswith(".") and not path.is_dir()
            )
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{self._folder}: the model's folder is not there") from None

    def read(self, name: str) -> bytes:
        path = self._folder / name
        target = Path(os.path.realpath(path))  # unlike resolve(), without a RuntimeError for a link to itself
        if not target.is_relative_to(os.path.realpath(self._folder)):
            raise UserError(f"{path}: is a link that leads out of the model's folder, to {target}")
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: is not a plain file")
            if status.st_size > LARGEST_MODEL:
                raise UserError(f"{path}: has {status.st_size} bytes, at most {LARGEST_MODEL} are read")
            return path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{path}: the file is not there") from None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise UserError(f"{path}: is a link to itself") from None
