"""Pull requests and their comments, kept beside the repository: git itself knows nothing of them."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class InUse(Exception):
    """Another git host serves this repository."""


class Unreadable(Exception):
    """The file was written by something else."""


@dataclass
class Pull:
    """A pull request.

    Attributes:
        base_sha: where the base was when it was opened, or merged.
        head_sha: where the branch was when somebody last looked: what is left of it once the branch is deleted.
    """

    number: int
    title: str
    body: str
    head: str
    base: str
    head_sha: str
    base_sha: str
    user: str
    created_at: str
    updated_at: str
    state: str = "open"
    merged_at: str | None = None
    closed_at: str | None = None
    merge_commit_sha: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"


@dataclass
class IssueComment:
    """What somebody said about one."""

    id: int
    number: int
    body: str
    user: str
    created_at: str
    updated_at: str


@dataclass
class State:
    """All of it."""

    pulls: list[Pull] = field(default_factory=list)
    comments: list[IssueComment] = field(default_factory=list)
    last_comment: int = 0


class Store:
    """The state in one file, written in one step, by one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder, and makes it where there is none.

        Raises:
            InUse: another process has it open.
            Unreadable: what is in there was not written by us.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._token = folder / "pulls.json", folder / "token"
        self._held = (folder / "lock").open("w")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._held.close()
            raise InUse(str(folder)) from None
        self._lock = threading.RLock()
        self._state = self._read()

    def close(self) -> None:
        """Let another process have it."""
        self._held.close()

    def token(self) -> str:
        """The one token that is let in: made the first time, and kept, readable for its owner alone."""
        if not self._token.exists():
            _replace(self._token, f"sagestack_{secrets.token_urlsafe(24)}\n")
        return self._token.read_text(encoding="utf-8").strip()

    @contextlib.contextmanager
    def reading(self) -> Iterator[State]:
        """The state, which nobody changes meanwhile."""
        with self._lock:
            yield self._state

    @contextlib.contextmanager
    def changing(self) -> Iterator[State]:
        """The state, to be changed: kept on the disk at the end, or as before where something went wrong."""
        with self._lock:
            before = json.dumps(asdict(self._state))
            try:
                yield self._state
                if json.dumps(asdict(self._state)) != before:
                    _replace(self._file, json.dumps(asdict(self._state), indent=1) + "\n")
            except BaseException:
                self._state = _parsed(json.loads(before))
                raise

    def _read(self) -> State:
        if not self._file.exists():
            return State()
        try:
            return _parsed(json.loads(self._file.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError) as error:
            raise Unreadable(f"{self._file}: {error}") from error


def now() -> str:
    """As GitHub writes it: UTC, whole seconds."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parsed(document: dict[str, Any]) -> State:
    kinds: dict[str, Callable[..., Any]] = {"pulls": Pull, "comments": IssueComment}
    lists = {name: [kind(**each) for each in document[name]] for name, kind in kinds.items()}
    return State(**lists, last_comment=document["last_comment"])


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
