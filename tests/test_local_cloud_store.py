"""What the local cloud knows is on disk before it answers, and no two writers undo each other."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local_cloud.sagemaker.store import Document, Duplicate, Store

WHERE = ("000000000000", "us-east-1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def test_a_document_comes_back_as_a_copy(store: Store) -> None:
    store.insert("model", *WHERE, "housing", {"Tags": ["a"]})
    copy = store.get("model", *WHERE, "housing")
    assert copy is not None
    copy["Tags"].append("b")
    assert store.get("model", *WHERE, "housing") == {"Tags": ["a"]}


def test_a_name_is_taken_once_per_kind_account_and_region(store: Store) -> None:
    store.insert("model", *WHERE, "housing", {})
    store.insert("endpoint", *WHERE, "housing", {})
    store.insert("model", "111111111111", "us-east-1", "housing", {})
    store.insert("model", "000000000000", "eu-west-1", "housing", {})
    with pytest.raises(Duplicate):
        store.insert("model", *WHERE, "housing", {})


def test_updates_from_many_threads_all_count(store: Store) -> None:
    store.insert("group", *WHERE, "housing", {"Versions": 0})

    def bump(document: Document) -> None:
        document["Versions"] += 1

    threads = [
        threading.Thread(target=lambda: [store.update("group", *WHERE, "housing", bump) for _ in range(25)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("group", *WHERE, "housing") == {"Versions": 200}


def test_a_failed_change_leaves_nothing_behind(store: Store) -> None:
    store.insert("model", *WHERE, "housing", {"State": "before"})

    def fail(document: Document) -> None:
        document["State"] = "half"
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        store.update("model", *WHERE, "housing", fail)
    assert store.get("model", *WHERE, "housing") == {"State": "before"}


def test_a_killed_process_loses_nothing_that_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    program = (
        "import os, signal; from local_cloud.sagemaker.store import Store;"
        f"Store({str(path)!r}).insert('model', '0', 'r', 'n', {{'a': 1}}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent.parent, check=False)
    assert killed.returncode == -9
    assert Store(path).get("model", "0", "r", "n") == {"a": 1}


def test_a_store_of_another_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    store._connection.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(RuntimeError, match=r"schema 99.*sagestack down --forget"):
        Store(path)


def test_a_full_disk_is_said_as_that_and_what_comes_later_is_written(store: Store) -> None:
    store.put("k", "a", "r", "one", {"value": 1})
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages + 1}").fetchone()
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        store.put("k", "a", "r", "big", {"value": "x" * 100_000})
    store.put("k", "a", "r", "one", {"value": 2})
    assert store.get("k", "a", "r", "one") == {"value": 2}
    assert store.get("k", "a", "r", "big") is None
