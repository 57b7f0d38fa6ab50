"""What is on a notebook's volume is in S3, whatever is in the way, and comes back to an empty volume and to no other."""

from __future__ import annotations

import errno
import gzip
import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

import back_up_volume as program
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.local_cloud_fixtures import LocalCloud
from tests.volume_backup_fakes import Bucket

PREFIX = "notebooks/explore/backup/"
HEX = "0" * 64


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def store(bucket: Bucket) -> program.Store:
    return program.Store(bucket, "artifacts", PREFIX)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "SageMaker"
    folder.mkdir()
    return folder


def write(volume: Path, path: str, content: str | bytes = "x", *, at: int | None = None) -> Path:
    file = volume / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    if at is not None:
        os.utime(file, (at, at))
    return file


def backed_up(store: program.Store, volume: Path, name: str = "1", **more: Any) -> program.Backup:
    backup = program.Backup(store, str(volume), **more)
    backup.run(name)
    return backup


def restored(store: program.Store, volume: Path) -> tuple[int, list[str]]:
    files = program.newest(store)
    assert files is not None
    return program.restore(store, files, str(volume))


def manifest(bucket: Bucket, name: str = "1") -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(bucket.objects[f"{PREFIX}manifests/{name}.json.gz"])))


def put_manifest(bucket: Bucket, files: Any, name: str = "1") -> None:
    text = json.dumps({"format": 1, "files": files})
    bucket.objects[f"{PREFIX}manifests/{name}.json.gz"] = gzip.compress(text.encode())


def tree(volume: Path) -> dict[str, Any]:
    """What is there: content, permissions, time of files; where links go."""
    found: dict[str, Any] = {}
    for path in sorted(volume.rglob("*")):
        facts = path.lstat()
        name = str(path.relative_to(volume))
        if stat.S_ISLNK(facts.st_mode):
            found[name] = ("link", str(path.readlink()))
        elif stat.S_ISDIR(facts.st_mode):
            found[name] = ("folder", stat.S_IMODE(facts.st_mode))
        else:
            found[name] = ("file", path.read_bytes(), stat.S_IMODE(facts.st_mode), facts.st_mtime_ns)
    return found


def test_what_comes_back_is_what_was_there(store: program.Store, volume: Path, tmp_path: Path) -> None:
    write(volume, "a.ipynb", "cells", at=1_700_000_000)
    write(volume, "run.sh").chmod(0o750)
    write(volume, "deep/er/empty.txt", "")
    write(volume, "a name with spaces é and\nlines", "odd")
    write(volume, os.fsdecode(b"no-utf8-\xff"), "bytes")
    (volume / "nothing-in-it").mkdir(mode=0o700)
    (volume / "link").symlink_to("a.ipynb")
    (volume / "dangling").symlink_to("/nowhere")
    (volume / "to-folder").symlink_to("deep")
    (volume / "locked").mkdir()
    write(volume, "locked/secret").chmod(0o400)
    (volume / "locked").chmod(0o500)
    backed_up(store, volume)
    other = tmp_path / "other"
    other.mkdir()
    assert restored(store, other) == (6, [])
    assert tree(other) == tree(volume)


def test_a_second_backup_uploads_only_what_changed(store: program.Store, bucket: Bucket, volume: Path) -> None:
    for name in "abc":
        write(volume, name, name)
    backed_up(store, volume, "1")
    write(volume, "b", "another")
    bucket.calls.clear()
    again = backed_up(store, volume, "2")
    assert (again.uploaded, again.bytes) == (1, 7)
    # The content, then the manifest.
    assert bucket.calls.count("put_object") == 2


def test_what_was_only_touched_or_renamed_is_not_uploaded_again(store: program.Store, volume: Path) -> None:
    write(volume, "a", "content", at=1_600_000_000)
    backed_up(store, volume, "1")
    os.utime(volume / "a", (1_700_000_000, 1_700_000_000))
    (volume / "a").rename(volume / "b")
    assert backed_up(store, volume, "2").uploaded == 0
    assert list(program.newest(store) or {}) == ["b"]


def test_a_file_whose_content_changed_under_an_old_time_is_not_missed_if_its_size_did(
    store: program.Store, volume: Path
) -> None:
    write(volume, "a", "one", at=1_600_000_000)
    backed_up(store, volume, "1")
    write(volume, "a", "three", at=1_600_000_000)
    assert backed_up(store, volume, "2").uploaded == 1


def test_a_deleted_file_does_not_come_back(store: program.Store, volume: Path, tmp_path: Path) -> None:
    write(volume, "kept")
    write(volume, "deleted", "y")
    backed_up(store, volume, "1")
    (volume / "deleted").unlink()
    backed_up(store, volume, "2")
    (tmp_path / "new").mkdir()
    restored(store, tmp_path / "new")
    assert list(tree(tmp_path / "new")) == ["kept"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.parquet", ["a.ipynb", "data", "data/deep", "data/deep/b.csv"]),
        ("data/*", ["a.ipynb", "data", "data.parquet"]),
        ("deep", ["a.ipynb", "data", "data.parquet", "data/c.parquet"]),
        ("data/deep/b.csv", ["a.ipynb", "data", "data.parquet", "data/c.parquet", "data/deep"]),
    ],
    ids=["ending", "folder", "name", "path"],
)
def test_excluded_paths_are_left_out(store: program.Store, volume: Path, pattern: str, left: list[str]) -> None:
    for path in ("a.ipynb", "data.parquet", "data/c.parquet", "data/deep/b.csv"):
        write(volume, path)
    for path in (".sagestack/conda/x", "lost+found/y", "z/.ipynb_checkpoints/a", "__pycache__/m"):
        write(volume, path)
    (volume / "z" / ".ipynb_checkpoints" / "a").unlink()
    backed_up(store, volume, exclude=[pattern])
    assert sorted(program.newest(store) or {}) == sorted([*left, "z"])


def test_a_mounted_file_system_is_not_the_volume(
    store: program.Store, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(volume, "mine")
    write(volume, "shared/theirs")
    real = os.lstat

    def elsewhere(path: Any) -> Any:
        found = real(path)
        if not str(path).startswith(str(volume / "shared")):
            return found
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]])

    monkeypatch.setattr("back_up_volume.os.lstat", elsewhere)
    backed_up(store, volume)
    assert list(manifest_names(store)) == ["mine"]


def manifest_names(store: program.Store) -> list[str]:
    return sorted(program.newest(store) or {})


def test_sockets_and_pipes_are_said_and_left_out(
    store: program.Store, volume: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(volume)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        write(volume, "file")
        backup = backed_up(store, volume)
    assert [each.split(":")[0] for each in backup.skipped] == ["pipe", "socket"]
    assert "not backed up: pipe" in capsys.readouterr().out
    assert manifest_names(store) == ["file"]


def test_a_file_that_goes_while_it_is_read_costs_itself_alone(
    store: program.Store, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(volume, "a")
    write(volume, "b", "y")
    upload = program.Backup._upload

    def gone(self: Any, place: str, size: int, there: Any) -> Any:
        if place.endswith("/a"):
            Path(place).unlink()
        return upload(self, place, size, there)

    monkeypatch.setattr(program.Backup, "_upload", gone)
    assert backed_up(store, volume).skipped == ["a: No such file or directory"]
    assert manifest_names(store) == ["b"]


def test_a_file_that_changes_while_it_is_read_is_read_again(
    store: program.Store, bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(volume, "a", "before", at=1_600_000_000)
    upload = program.Backup._upload
    seen: list[str] = []

    def changing(self: Any, place: str, size: int, there: Any) -> Any:
        digest = upload(self, place, size, there)
        if not seen:
            write(volume, "a", "after!", at=1_600_000_001)
        seen.append(place)
        return digest

    monkeypatch.setattr(program.Backup, "_upload", changing)
    assert backed_up(store, volume).skipped == []
    digest = manifest(bucket)["files"]["a"]["sha256"]
    assert bucket.objects[f"{PREFIX}data/{digest}"] == b"after!"


def test_of_a_file_that_never_rests_the_last_whole_content_is_kept(
    store: program.Store, bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(volume, "log", "whole", at=1)
    backed_up(store, volume, "1")
    upload, times = program.Backup._upload, iter(range(10, 100))

    def growing(self: Any, place: str, size: int, there: Any) -> Any:
        write(volume, "log", "x" * next(times))
        return upload(self, place, size, there)

    monkeypatch.setattr(program.Backup, "_upload", growing)
    monkeypatch.setattr("back_up_volume.time.sleep", lambda seconds: None)
    write(volume, "log", "begun", at=2)
    assert backed_up(store, volume, "2").skipped == ["log: it changed while it was read"]
    digest = manifest(bucket, "2")["files"]["log"]["sha256"]
    assert bucket.objects[f"{PREFIX}data/{digest}"] == b"whole"


def test_a_huge_file_goes_in_parts(
    store: program.Store, bucket: Bucket, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "PART", 1000)
    content = os.urandom(3500)
    write(volume, "model.bin", content)
    backed_up(store, volume)
    assert bucket.calls.count("upload_part") == 4
    (tmp_path / "new").mkdir()
    restored(store, tmp_path / "new")
    assert (tmp_path / "new" / "model.bin").read_bytes() == content


def test_a_huge_file_that_changes_between_its_readings_leaves_nothing_wrong_behind(
    store: program.Store, bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "PART", 10)
    monkeypatch.setattr("back_up_volume.time.sleep", lambda seconds: None)
    write(volume, "big", "a" * 25)
    pieces, readings = program._pieces, []

    def other(path: str, size: int) -> Any:
        readings.append(path)
        write(volume, "big", ("b" if len(readings) % 2 else "c") * 25, at=1)
        return pieces(path, size)

    monkeypatch.setattr(program, "_pieces", other)
    backup = backed_up(store, volume)
    assert backup.skipped == ["big: it changed while it was read"]
    assert bucket.calls.count("abort_multipart_upload") == 3
    assert not bucket.uploads
    assert not [key for key in bucket.objects if "/data/" in key]


def test_a_file_of_sixteen_terabytes_fits_into_ten_thousand_parts(tmp_path: Path) -> None:
    asked = []

    class File:
        def read(self, size: int) -> bytes:
            asked.append(size)
            return b""

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    size = 16 << 40
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.open", lambda *_: File())
        assert list(program._pieces("huge", size)) == []
    assert size / asked[0] <= 10_000
    assert asked[0] <= 5 << 30


def test_a_backup_that_breaks_off_is_never_restored(
    store: program.Store, bucket: Bucket, volume: Path, tmp_path: Path
) -> None:
    write(volume, "a", "old", at=1)
    backed_up(store, volume, "1")
    write(volume, "a", "new and longer")
    write(volume, "b", "b")
    bucket.fail["put_object"] = EndpointConnectionError(endpoint_url="https://s3")
    with pytest.raises(EndpointConnectionError):
        backed_up(store, volume, "2")
    (tmp_path / "new").mkdir()
    restored(store, tmp_path / "new")
    assert (tmp_path / "new" / "a").read_text() == "old"


def test_an_upload_that_broke_off_is_ended_with_s3_too(
    store: program.Store, bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "PART", 10)
    write(volume, "big", "a" * 25)
    bucket.fail["complete_multipart_upload"] = EndpointConnectionError(endpoint_url="https://s3")
    with pytest.raises(EndpointConnectionError):
        backed_up(store, volume)
    assert bucket.calls[-1] == "abort_multipart_upload"


def test_a_content_that_somebody_deleted_from_the_bucket_is_uploaded_again(
    store: program.Store, bucket: Bucket, volume: Path
) -> None:
    write(volume, "a", "content")
    backed_up(store, volume, "1")
    for key in [key for key in bucket.objects if "/data/" in key]:
        del bucket.objects[key]
    assert backed_up(store, volume, "2").uploaded == 1


def test_only_the_newest_backups_and_their_contents_are_kept(
    store: program.Store, bucket: Bucket, volume: Path
) -> None:
    for number in range(4):
        write(volume, "a", "x" * (number + 1))
        backed_up(store, volume, str(number))
    bucket.objects[f"{PREFIX}data/{HEX}"] = b"left by a backup that broke off"
    bucket.objects["notebooks/other/backup/data/theirs"] = b""
    assert program.prune(store, 2) == 3
    assert sorted(store.sizes("manifests/")) == ["2.json.gz", "3.json.gz"]
    assert sorted(store.sizes("data/").values()) == [3, 4]
    assert "notebooks/other/backup/data/theirs" in bucket.objects


def test_nothing_is_pruned_on_the_word_of_a_manifest_that_cannot_be_read(
    store: program.Store, bucket: Bucket, volume: Path
) -> None:
    write(volume, "a")
    backed_up(store, volume, "1")
    bucket.objects[f"{PREFIX}manifests/2.json.gz"] = b"\x1f\x8b cut"
    before = dict(bucket.objects)
    assert program.prune(store, 1) == 0
    assert bucket.objects == before


def test_more_objects_than_one_answer_of_s3_holds_are_all_seen(
    store: program.Store, bucket: Bucket, volume: Path
) -> None:
    bucket.page = 2
    for number in range(5):
        write(volume, str(number), str(number))
    backed_up(store, volume, "1")
    assert len(store.sizes("data/")) == 5


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("../evil", {"kind": "file", "mode": 0o644, "mtime": 1, "sha256": HEX}),
        ("/etc/cron.d/evil", {"kind": "file", "mode": 0o644, "mtime": 1, "sha256": HEX}),
        ("a/../../evil", {"kind": "folder"}),
        ("a//b", {"kind": "folder"}),
        ("./a", {"kind": "folder"}),
        ("", {"kind": "folder"}),
        ("a\0b", {"kind": "folder"}),
        ("a", {"kind": "device"}),
        ("a", {"kind": "file", "mtime": 1, "sha256": "../../../secrets"}),
        ("a", {"kind": "file", "mtime": "soon", "sha256": HEX}),
        ("a", {"kind": "link", "to": 3}),
        ("a", "text"),
    ],
    ids=[
        "above",
        "absolute",
        "hidden",
        "double",
        "dot",
        "empty",
        "nul",
        "kind",
        "another-object",
        "time",
        "link",
        "no-entry",
    ],
)
def test_a_manifest_that_leads_elsewhere_is_refused_whole(
    store: program.Store, bucket: Bucket, path: str, entry: Any
) -> None:
    put_manifest(bucket, {"good": {"kind": "folder"}, path: entry})
    with pytest.raises(program.Refused):
        program.newest(store)


def test_no_file_is_written_through_a_link_of_the_backup(store: program.Store, bucket: Bucket) -> None:
    put_manifest(
        bucket,
        {"out": {"kind": "link", "to": "/tmp"}, "out/evil": {"kind": "file", "mtime": 1, "sha256": HEX}},
    )
    with pytest.raises(program.Refused, match="'out/evil' goes through what is no folder"):
        program.newest(store)


def test_no_file_is_written_through_a_link_on_the_volume(store: program.Store, volume: Path, tmp_path: Path) -> None:
    write(volume, "out/file", "content")
    backed_up(store, volume)
    outside, new = tmp_path / "outside", tmp_path / "new"
    outside.mkdir()
    new.mkdir()
    (new / "out").symlink_to(outside)
    assert restored(store, new) == (0, ["out/file: a link is in its way"])
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"{}")[:-9], gzip.compress(b"[1]"), gzip.compress(b'{"format": 2, "files": {}}')],
    ids=["empty", "no-gzip", "cut", "no-manifest", "of-the-future"],
)
def test_a_manifest_that_is_damaged_is_refused(store: program.Store, bucket: Bucket, content: bytes) -> None:
    bucket.objects[f"{PREFIX}manifests/1.json.gz"] = content
    with pytest.raises(program.Refused):
        program.newest(store)


def test_what_is_newer_on_the_volume_stays(store: program.Store, volume: Path, tmp_path: Path) -> None:
    write(volume, "a", "backed up", at=1_600_000_000)
    write(volume, "b", "backed up", at=1_600_000_000)
    backed_up(store, volume)
    new = tmp_path / "new"
    write(new, "a", "newer", at=1_700_000_000)
    write(new, "b", "older", at=1_500_000_000)
    assert restored(store, new) == (1, [])
    assert ((new / "a").read_text(), (new / "b").read_text()) == ("newer", "backed up")


def test_a_content_that_is_not_what_was_backed_up_is_not_restored(
    store: program.Store, bucket: Bucket, volume: Path, tmp_path: Path
) -> None:
    write(volume, "a", "good")
    write(volume, "b", "fine")
    backed_up(store, volume)
    digest = manifest(bucket)["files"]["a"]["sha256"]
    bucket.objects[f"{PREFIX}data/{digest}"] = b"evil"
    (tmp_path / "new").mkdir()
    count, missing = restored(store, tmp_path / "new")
    assert (count, missing) == (1, ["a: its content is not what was backed up"])
    assert list(tree(tmp_path / "new")) == ["b"]


def test_a_full_volume_ends_a_restore_and_leaves_no_half_files(
    store: program.Store, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(volume, "a", "content")
    backed_up(store, volume)
    new = tmp_path / "new"
    new.mkdir()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("back_up_volume.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        restored(store, new)
    assert list(new.iterdir()) == []


def run(volume: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str, **environment: str) -> int:
    """The program as the instance starts it."""
    import boto3

    monkeypatch.setattr(boto3, "client", lambda *_, **__: bucket)
    given = {
        "SAGESTACK_VOLUME": str(volume),
        "SAGESTACK_HOME": str(volume / ".sagestack"),
        "SAGESTACK_NOTEBOOK": "explore",
        "SAGESTACK_ARTIFACT_BUCKET": "artifacts",
        **environment,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return program.main(list(arguments))


def backup_of(bucket: Bucket, tmp_path: Path) -> None:
    write(tmp_path / "former", "work.ipynb", "work")
    backed_up(program.Store(bucket, "artifacts", PREFIX), tmp_path / "former", "2026-01-01T00-00-00Z")


def test_a_new_volume_gets_the_backup(
    bucket: Bucket, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_of(bucket, tmp_path)
    write(volume, "a-clone/.git/HEAD")
    write(volume, "lost+found/x")
    (volume / "empty").mkdir()
    assert run(volume, bucket, monkeypatch, "look") == 0
    # Steps that come later write to it, and do not change what was seen.
    write(volume, "something.txt")
    assert run(volume, bucket, monkeypatch, "restore") == 0
    assert (volume / "work.ipynb").read_text() == "work"


@pytest.mark.parametrize("what", ["file", "folder", "past"])
def test_a_volume_with_work_on_it_is_left_alone(
    bucket: Bucket, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    backup_of(bucket, tmp_path)
    if what == "past":
        program.note(str(volume), last=1.0)
    else:
        write(volume, "mine.txt" if what == "file" else "mine/a.txt")
    run(volume, bucket, monkeypatch, "look")
    assert run(volume, bucket, monkeypatch, "restore") == 0
    assert not (volume / "work.ipynb").exists()
    assert "get_object" not in bucket.calls


def test_a_restore_that_breaks_off_goes_on_at_the_next_start_and_nothing_is_backed_up_until_then(
    bucket: Bucket,
    volume: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    backup_of(bucket, tmp_path)
    run(volume, bucket, monkeypatch, "look")
    bucket.fail["get_object"] = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")
    assert run(volume, bucket, monkeypatch, "restore") == 1
    del bucket.fail["get_object"]
    assert run(volume, bucket, monkeypatch, "once") == 1
    assert "a restore has not ended" in capsys.readouterr().out
    run(volume, bucket, monkeypatch, "look")
    assert run(volume, bucket, monkeypatch, "restore") == 0
    assert (volume / "work.ipynb").exists()
    assert run(volume, bucket, monkeypatch, "once") == 0


def test_a_backup_that_is_refused_does_not_stop_new_ones(
    bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_manifest(bucket, {"../evil": {"kind": "folder"}}, "2026-01-01T00-00-00Z")
    run(volume, bucket, monkeypatch, "look")
    assert run(volume, bucket, monkeypatch, "restore") == 1
    assert "Refused: the path '../evil' is not below the volume" in capsys.readouterr().out
    assert run(volume, bucket, monkeypatch, "once") == 0


def test_where_there_is_no_backup_yet_an_empty_volume_is_fine(
    bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(volume, bucket, monkeypatch, "look")
    assert run(volume, bucket, monkeypatch, "restore") == 0
    assert "There is no backup" in capsys.readouterr().out
    assert run(volume, bucket, monkeypatch, "once") == 0


def test_backups_are_made_when_they_are_due_and_not_before(
    bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(volume, "a")
    for _ in range(2):
        assert run(volume, bucket, monkeypatch, "due", BACKUP_HOURS="24") == 0
    assert len([key for key in bucket.objects if "/manifests/" in key]) == 1
    now = time.time()
    # A day later, and with a clock that was set back by a year.
    for then in (now + 25 * 3600, now - 365 * 86400):
        monkeypatch.setattr("back_up_volume.time.time", lambda then=then: then)
        run(volume, bucket, monkeypatch, "due", BACKUP_HOURS="24")
    assert len([key for key in bucket.objects if "/manifests/" in key]) == 3


def test_a_volume_too_full_to_note_a_backup_gets_no_second_one_soon(
    bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(volume, "a")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(program, "note", full)
    for _ in range(2):
        assert run(volume, bucket, monkeypatch, "due") == 0
    assert "not noted on the volume: [Errno 28] No space left" in capsys.readouterr().out
    assert len([key for key in bucket.objects if "/manifests/" in key]) == 1


def test_a_restore_that_broke_off_is_tried_again_when_a_backup_is_looked_at(
    bucket: Bucket, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_of(bucket, tmp_path)
    run(volume, bucket, monkeypatch, "look")
    bucket.fail["list_objects_v2"] = EndpointConnectionError(endpoint_url="https://s3")
    assert run(volume, bucket, monkeypatch, "restore") == 1
    assert run(volume, bucket, monkeypatch, "due") == 1
    bucket.fail.clear()
    assert run(volume, bucket, monkeypatch, "due") == 0
    assert (volume / "work.ipynb").read_text() == "work"


def test_people_find_when_the_last_backup_was_and_what_it_lacks(
    bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(volume, "a")
    os.mkfifo(volume / "pipe")
    run(volume, bucket, monkeypatch, "once")
    said = json.loads((volume / ".sagestack" / "backup.json").read_text())
    assert said["files"] == 1
    assert said["skipped"] == ["pipe: neither a file nor a folder nor a link"]


def test_an_s3_that_does_not_answer_is_said_and_survived(
    bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(volume, "a")
    bucket.fail["list_objects_v2"] = EndpointConnectionError(endpoint_url="https://s3")
    assert run(volume, bucket, monkeypatch, "due") == 1
    assert "No backup now: EndpointConnectionError" in capsys.readouterr().out


def test_a_machine_that_is_no_notebook_instance_backs_up_nothing(
    bucket: Bucket, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(volume, bucket, monkeypatch, "once", SAGESTACK_NOTEBOOK="") == 1
    assert bucket.calls == []


@pytest.mark.long
def test_the_clouds_own_s3_takes_it_all_and_gives_it_back(
    cloud: LocalCloud, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real requests: several parts, pages, names that must be quoted, batches that delete."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="artifacts")
    monkeypatch.setattr(program, "PART", 5 << 20)
    write(volume, "model.bin", os.urandom(12 << 20))
    write(volume, "a name with spaces & é+.ipynb", "cells", at=1_700_000_000)
    (volume / "link").symlink_to("model.bin")
    for number in range(3):
        write(volume, "log", "x" * number)
        at = time.time() + number
        monkeypatch.setattr("back_up_volume.time.time", lambda at=at: at)
        assert run(volume, s3, monkeypatch, "once", BACKUP_KEEP="2") == 0
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="artifacts", Prefix=PREFIX)["Contents"]]
    assert sum("/manifests/" in key for key in keys) == 2
    assert sum("/data/" in key for key in keys) == 4
    other = tmp_path / "other"
    other.mkdir()
    run(other, s3, monkeypatch, "look")
    assert run(other, s3, monkeypatch, "restore") == 0
    found, wanted = tree(other), tree(volume)
    assert {path for path in found if ".sagestack" not in path} == {path for path in wanted if ".sagestack" not in path}
    assert found["model.bin"] == wanted["model.bin"]
