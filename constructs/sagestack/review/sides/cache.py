"""Keeps what was synthesized, by the hash of all that went into it, so that the same side is not made twice."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from sagestack.cli.errors import CliError

SIDES_KEPT = 12
"""About two megabytes each: a branch with its base, a few commits back, and what colleagues asked to look at."""
FINDINGS_KEPT = 500
"""One for each template that was checked: some twelve for a side."""

_CONTENT = "content.json"
_WORK = "work-"
_LOCK = ".lock"


class Cache(AbstractContextManager["Cache"]):
    """A folder with an entry for each side and environment, and work folders that go with whoever made them.

    Entries appear whole, by a rename, so two reviews at once and one that is killed leave nothing half written. Each review holds
    a lock that ends with its process: who gets it alone may sweep.
    """

    def __init__(self, folder: Path, sides_kept: int = SIDES_KEPT, findings_kept: int = FINDINGS_KEPT) -> None:
        self._folder = folder / "sides"
        self.findings = folder / "findings"
        """A folder of small files that others keep by hashes of their own."""
        self._sides_kept = sides_kept
        self._findings_kept = findings_kept
        self._lock: int | None = None

    def __enter__(self) -> Cache:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self._sweep()
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self._work = Path(tempfile.mkdtemp(prefix=_WORK, dir=self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        is_gone = self._is_removed()
        shutil.rmtree(self._work, ignore_errors=True)
        assert self._lock is not None  # since it was entered
        os.close(self._lock)
        if is_gone and isinstance(error, Exception):
            # Whatever failed first for it (a file that is not there, an app.py) would only puzzle people.
            raise CliError(
                f"Somebody removed {self._folder.parent} while this review worked in it.",
                hint="Run it again: nothing is left half done.",
                code="refused",
            ) from error

    def _is_removed(self) -> bool:
        """Whether somebody removed it all meanwhile, even where a folder of it was made again."""
        assert self._lock is not None
        try:
            there = (self._folder / _LOCK).stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._lock)) or not self._work.exists()

    def work_folder(self, name: str) -> Path:
        """A path for what is needed while this review runs; nothing is there yet."""
        return self._work / name

    def find(self, key: str, environment: str) -> Path | None:
        """The folder of an entry, if it is there and still what was put in. What is damaged is thrown away."""
        entry = self._folder / key / environment
        if not entry.is_dir():
            return None
        try:
            written = json.loads((entry / _CONTENT).read_text(encoding="utf-8"))
            is_whole = written == _content(entry)
        except (OSError, ValueError):
            is_whole = False
        if not is_whole:
            shutil.rmtree(entry, ignore_errors=True)
            return None
        # The time of the last use is what the oldest is found by.
        os.utime(entry.parent)
        return entry

    def keep(self, key: str, environment: str, made: Path) -> Path:
        """Takes over an assembly that is complete; only its documents are kept, not the assets.

        Returns:
            Where it is now. Where another review was faster, its entry, which is the same.
        """
        _leave_documents(made)
        (made / _CONTENT).write_text(json.dumps(_content(made), indent=0), encoding="utf-8")
        entry = self._folder / key / environment
        entry.parent.mkdir(exist_ok=True)
        try:
            made.rename(entry)
        except OSError:
            if (found := self.find(key, environment)) is None:
                raise
            return found
        return entry

    def _sweep(self) -> None:
        """Removes what killed reviews left, and the sides that were used longest ago."""
        for path in self._folder.glob(f"{_WORK}*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in _oldest(self._folder, self._sides_kept):
            shutil.rmtree(path, ignore_errors=True)
        for path in _oldest(self.findings, self._findings_kept):
            path.unlink(missing_ok=True)


def _oldest(folder: Path, kept: int) -> list[Path]:
    """All but the newest of what is in a folder."""
    paths = list(folder.glob("[!.]*"))
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[kept:]


def _content(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _CONTENT)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _leave_documents(folder: Path) -> None:
    """Templates, manifests and metadata are read again; archives of code and build contexts are not, and weigh most."""
    for path in list(folder.iterdir()):
        if path.is_dir() and (path / "manifest.json").exists():
            _leave_documents(path)
        elif path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".json":
            path.unlink()
