"""What the SageMaker part knows, in one SQLite file: written before a call is answered, so a killed cloud loses nothing."""

from __future__ import annotations

import builtins
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Document = dict[str, Any]

SCHEMA_VERSION = 1


class Duplicate(Exception):
    """A document of that kind and name is there already."""


class Store:
    """Documents (JSON objects) by kind, account, region and name; safe to use from many threads.

    A document is returned as a copy: change it, then `put` it back, or use `update` for a read-modify-write that no
    other thread can get between. Times are POSIX seconds as floats, the way SageMaker's JSON carries them.
    """

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit survives a power cut, not only a killed process.
        self._connection.execute("PRAGMA synchronous=FULL")
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, SCHEMA_VERSION):
            raise RuntimeError(
                f"{path} was written by another version of the local cloud (schema {found}, this one reads "
                f"{SCHEMA_VERSION}). Start empty with `sagestack down --forget`."
            )
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS documents (kind TEXT, account TEXT, region TEXT, name TEXT, created REAL, "
            "document TEXT NOT NULL, PRIMARY KEY (kind, account, region, name)) WITHOUT ROWID"
        )
        self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several reads and writes as one; nested transactions join the outer one."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has taken it back by itself where the disk is full; left open, it would swallow all that comes.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Nobody else reads or writes for the block: for who tells of a write in the order in which writes happen, and
        before anybody can know of it. Nothing in the block may wait for another thread."""
        with self._lock:
            yield

    def get(self, kind: str, account: str, region: str, name: str) -> Document | None:
        """The document, or None."""
        with self._lock:
            row = self._connection.execute(
                "SELECT document FROM documents WHERE kind=? AND account=? AND region=? AND name=?",
                (kind, account, region, name),
            ).fetchone()
        return json.loads(row[0]) if row else None

    def insert(self, kind: str, account: str, region: str, name: str, document: Document) -> None:
        """Add a new document.

        Raises:
            Duplicate: one of that name is there.
        """
        try:
            with self.transaction():
                self._connection.execute(
                    "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)",
                    (kind, account, region, name, time.time(), json.dumps(document)),
                )
        except sqlite3.IntegrityError as error:
            raise Duplicate(f"{kind} {name}") from error

    def put(self, kind: str, account: str, region: str, name: str, document: Document) -> None:
        """Write a document, whether or not it was there."""
        with self.transaction():
            self._connection.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (kind, account, region, name) DO UPDATE SET document=excluded.document",
                (kind, account, region, name, time.time(), json.dumps(document)),
            )

    def update(
        self, kind: str, account: str, region: str, name: str, change: Callable[[Document], None]
    ) -> Document | None:
        """Let `change` edit the document in place, and write it. None if there is no such document."""
        with self.transaction():
            document = self.get(kind, account, region, name)
            if document is None:
                return None
            change(document)
            self.put(kind, account, region, name, document)
            return document

    def delete(self, kind: str, account: str, region: str, name: str) -> bool:
        """Remove a document; False if it was not there."""
        with self.transaction():
            cursor = self._connection.execute(
                "DELETE FROM documents WHERE kind=? AND account=? AND region=? AND name=?",
                (kind, account, region, name),
            )
            return cursor.rowcount > 0

    def list(self, kind: str, account: str, region: str) -> list[Document]:
        """All documents of a kind in one account and region, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT document FROM documents WHERE kind=? AND account=? AND region=? ORDER BY created, name",
                (kind, account, region),
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def everywhere(self, kind: str) -> builtins.list[tuple[str, str, Document]]:
        """All documents of a kind as (account, region, document): what a restart goes through."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT account, region, document FROM documents WHERE kind=? ORDER BY created, name", (kind,)
            ).fetchall()
        return [(account, region, json.loads(document)) for account, region, document in rows]

    def close(self) -> None:
        """Fold the write-ahead log back and close the file."""
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
