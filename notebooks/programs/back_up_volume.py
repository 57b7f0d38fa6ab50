"""Keeps what is on a notebook's volume in S3, and brings it back to an empty one.

Below the prefix: `data/SHA256` (a file's content, once, whatever files have it) and `manifests/TIME.json.gz` (which files there
are, written last: a backup that broke off has none, and is never restored).
"""

# Paths here are text: the keys of a manifest, and names of files may be any bytes.

from __future__ import annotations

import calendar
import errno
import fnmatch
import gzip
import hashlib
import json
import os
import stat
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Entry = dict[str, Any]

FORMAT = 1
PART = 64 << 20
# Rebuilt, or written by programs for themselves.
NEVER = (".sagestack", "lost+found", ".ipynb_checkpoints", "__pycache__", "*.sagestack-restoring")


class Refused(Exception):
    """A backup that cannot be restored; nothing was written."""


class Store:
    """What is below one prefix of a bucket."""

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3, self._bucket, self._prefix = s3, bucket, prefix

    def sizes(self, below: str) -> dict[str, int]:
        """The objects there are, by the last part of their names."""
        start = self._prefix + below
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=start)
        return {each["Key"][len(start) :]: each["Size"] for page in pages for each in page.get("Contents", [])}

    def read(self, name: str) -> Any:
        """The content of an object, to be read in pieces."""
        return self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]

    def write(self, name: str, content: bytes) -> None:
        """Writes an object at once."""
        self._s3.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=content)

    def write_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """Writes an object of any size; it appears only when all parts are there and nothing was raised."""
        where = {"Bucket": self._bucket, "Key": self._prefix + name}
        upload = self._s3.create_multipart_upload(**where)["UploadId"]
        try:
            done = [
                {
                    "PartNumber": number,
                    "ETag": self._s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)["ETag"],
                }
                for number, part in enumerate(parts, 1)
            ]
            self._s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": done})
        except BaseException:
            self._s3.abort_multipart_upload(**where, UploadId=upload)
            raise

    def delete(self, names: list[str]) -> None:
        """Deletes objects, a thousand at a time as S3 takes them."""
        for start in range(0, len(names), 1000):
            objects = [{"Key": self._prefix + name} for name in names[start : start + 1000]]
            said = self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            for error in said.get("Errors", []):
                print(f"not deleted: {error.get('Key')}: {error.get('Message')}", flush=True)

    def manifest(self, name: str) -> dict[str, Any]:
        """A manifest; ValueError where it is none."""
        packed = self.read("manifests/" + name).read()
        try:
            found = json.loads(gzip.decompress(packed).decode())
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{name} is cut off or damaged: {error}") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("files"), dict):
            raise ValueError(f"{name} is no manifest of format {FORMAT}")
        return found


def excluded(path: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern is the path's, one of its parents' or one of its names'."""
    parts = path.split("/")
    below = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    return any(fnmatch.fnmatchcase(each, pattern) for pattern in patterns for each in [*below, *parts])


def walk(root: str, patterns: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """All that is on the volume, but for what is excluded and for file systems that are mounted on it; links are not followed."""
    patterns = (*NEVER, *patterns)
    device = os.lstat(root).st_dev
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            names = sorted(os.listdir(os.path.join(root, folder)))
        except OSError as error:
            print(f"not backed up: {folder}: {error.strerror}", flush=True)
            continue
        for name in names:
            path = folder + "/" + name if folder else name
            try:
                found = os.lstat(os.path.join(root, path))
            except OSError:
                continue  # It went while we looked.
            if found.st_dev != device or excluded(path, patterns):
                continue
            if stat.S_ISDIR(found.st_mode):
                folders.append(path)
            yield path, found


def _pieces(path: str, size: int) -> Iterator[bytes]:
    # S3 takes 10,000 parts.
    piece = max(PART, size // 9000 + 1)
    with open(path, "rb") as file:
        while True:
            content = file.read(piece)
            if not content:
                return
            yield content


class Backup:
    """One backup of a volume."""

    def __init__(self, store: Store, root: str, exclude: Iterable[str] = ()) -> None:
        self._store, self._root, self._exclude = store, root, tuple(exclude)
        self.uploaded = self.bytes = 0
        self.skipped: list[str] = []

    def run(self, name: str) -> dict[str, Any]:
        """Uploads what is new, then the manifest.

        Raises:
            whatever S3 raises: then there is no manifest, and what was uploaded waits for the next backup.
        """
        before = self._former()
        there = self._store.sizes("data/")
        files = dict(self._entries(before, there))
        manifest = {"format": FORMAT, "time": name, "files": files, "skipped": self.skipped}
        self._store.write(f"manifests/{name}.json.gz", gzip.compress(json.dumps(manifest).encode()))
        return manifest

    def _former(self) -> dict[str, Entry]:
        for name in sorted(self._store.sizes("manifests/"), reverse=True):
            try:
                return dict(self._store.manifest(name)["files"])
            except ValueError as error:
                print(f"unreadable, and left out: {name}: {error}", flush=True)
        return {}

    def _entries(self, before: dict[str, Entry], there: dict[str, int]) -> Iterator[tuple[str, Entry]]:
        for path, found in walk(self._root, self._exclude):
            mode = stat.S_IMODE(found.st_mode)
            if stat.S_ISDIR(found.st_mode):
                yield path, {"kind": "folder", "mode": mode}
            elif stat.S_ISLNK(found.st_mode):
                try:
                    yield path, {"kind": "link", "to": os.readlink(os.path.join(self._root, path))}
                except OSError as error:
                    self._skip(path, str(error.strerror))
            elif not stat.S_ISREG(found.st_mode):
                self._skip(path, "neither a file nor a folder nor a link")
            else:
                entry = self._file(path, before.get(path), there)
                if entry:
                    yield path, entry

    def _file(self, path: str, former: Entry | None, there: dict[str, int]) -> Entry | None:
        place = os.path.join(self._root, path)
        why = ""
        for attempt in range(3):
            try:
                found = os.stat(place)
                facts = {"size": found.st_size, "mtime": found.st_mtime_ns}
                entry = {"kind": "file", "mode": stat.S_IMODE(found.st_mode), **facts}
                if (
                    former
                    and all(former.get(key) == value for key, value in facts.items())
                    and there.get(former["sha256"]) == found.st_size
                ):
                    return {**entry, "sha256": former["sha256"]}
                digest = self._upload(place, found.st_size, there)
                after = os.stat(place)
            except OSError as error:
                if not isinstance(error, (FileNotFoundError, PermissionError)):
                    raise
                why = str(error.strerror)
                break
            if digest and (after.st_size, after.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
                return {**entry, "sha256": digest}
            why = "it changed while it was read"
            time.sleep(0.1 * attempt)
        self._skip(path, why)
        # An older content of it is better than none.
        return former if former and former.get("sha256") in there else None

    def _upload(self, place: str, size: int, there: dict[str, int]) -> str | None:
        """The file's digest, once its content is in S3; None where it changed meanwhile."""
        if size <= PART:
            with open(place, "rb") as file:
                content = file.read()
            digest = hashlib.sha256(content).hexdigest()
            if there.get(digest) != len(content):
                self._store.write("data/" + digest, content)
                self._count(digest, len(content), there)
            return digest
        whole = hashlib.sha256()
        for piece in _pieces(place, size):
            whole.update(piece)
        digest = whole.hexdigest()
        if there.get(digest) != size:
            try:
                self._store.write_parts("data/" + digest, _checked(_pieces(place, size), digest))
            except _Changed:
                return None
            self._count(digest, size, there)
        return digest

    def _count(self, digest: str, size: int, there: dict[str, int]) -> None:
        there[digest] = size
        self.uploaded += 1
        self.bytes += size

    def _skip(self, path: str, why: str) -> None:
        self.skipped.append(f"{path}: {why}")
        print(f"not backed up: {path}: {why}", flush=True)


class _Changed(Exception):
    pass


def _checked(pieces: Iterable[bytes], digest: str) -> Iterator[bytes]:
    whole = hashlib.sha256()
    for piece in pieces:
        whole.update(piece)
        yield piece
    if whole.hexdigest() != digest:
        raise _Changed


def prune(store: Store, keep: int) -> int:
    """Deletes all manifests but the newest `keep`, and what none of those has; says how many contents went.

    A manifest that cannot be read keeps everything: nobody knows what is its.
    """
    manifests = sorted(store.sizes("manifests/"))
    used: set[str] = set()
    for name in manifests[-keep:]:
        try:
            used.update(entry["sha256"] for entry in store.manifest(name)["files"].values() if "sha256" in entry)
        except ValueError as error:
            print(f"nothing is pruned: {name}: {error}", flush=True)
            return 0
    gone = sorted(set(store.sizes("data/")) - used)
    store.delete(["manifests/" + name for name in manifests[:-keep]])
    store.delete(["data/" + name for name in gone])
    return len(gone)


def check(files: dict[str, Entry]) -> None:
    """Refuses a manifest that would write elsewhere than below one folder, or that is not whole."""
    for path, entry in files.items():
        parts = path.split("/")
        if not isinstance(entry, dict):
            raise Refused(f"the entry of {path!r} is not whole")
        if path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts):
            raise Refused(f"the path {path!r} is not below the volume")
        for end in range(1, len(parts)):
            parent = files.get("/".join(parts[:end]))
            if parent and parent.get("kind") != "folder":
                raise Refused(f"the path {path!r} goes through what is no folder")
        kind, digest = entry.get("kind"), str(entry.get("sha256"))
        if not (
            kind == "folder"
            or (kind == "link" and isinstance(entry.get("to"), str))
            or (
                kind == "file"
                and isinstance(entry.get("mtime"), int)
                and len(digest) == 64
                and set(digest) <= set("0123456789abcdef")
            )
        ):
            raise Refused(f"the entry of {path!r} is not whole")


def newest(store: Store) -> dict[str, Entry] | None:
    """The files of the newest backup, checked; None where there is no backup.

    Raises:
        Refused: there is a backup, and it cannot be trusted.
    """
    names = sorted(store.sizes("manifests/"))
    if not names:
        return None
    try:
        files: dict[str, Entry] = store.manifest(names[-1])["files"]
    except ValueError as error:
        raise Refused(str(error)) from error
    check(files)
    return files


def restore(store: Store, files: dict[str, Entry], root: str) -> tuple[int, list[str]]:
    """Brings a backup back; says how many files, and which cannot be had any more.

    What is there already and is as new, or newer, stays. A file appears only when its content is whole and right.

    Raises:
        whatever S3 and a full volume raise: it goes on where it was when it is called again.
    """
    root, count, missing = os.path.realpath(root), 0, []
    # Links last: nothing is written through one of the backup's own.
    for path, entry in sorted(files.items(), key=lambda item: (item[1]["kind"] == "link", item[0])):
        place = os.path.join(root, path)
        try:
            if os.path.realpath(os.path.dirname(place)) != os.path.dirname(place):
                raise OSError("a link is in its way")
            if entry["kind"] == "folder":
                os.makedirs(place, exist_ok=True)
            elif entry["kind"] == "link":
                if not os.path.lexists(place):
                    os.makedirs(os.path.dirname(place), exist_ok=True)
                    os.symlink(entry["to"], place)
            else:
                count += _restore_file(store, place, entry)
        except Exception as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code")
            if getattr(error, "errno", None) == errno.ENOSPC or not (
                isinstance(error, (OSError, ValueError)) or code == "NoSuchKey"
            ):
                raise
            missing.append(f"{path}: {error}")
            print("not restored: " + missing[-1], flush=True)
    # Deepest first, and after what is in them: a folder may forbid writing.
    for path in sorted((path for path, entry in files.items() if entry["kind"] == "folder"), reverse=True):
        place = os.path.join(root, path)
        if os.path.isdir(place) and not os.path.islink(place):
            os.chmod(place, int(files[path].get("mode", 0o755)) & 0o777)
    return count, missing


def _restore_file(store: Store, place: str, entry: Entry) -> int:
    if os.path.lexists(place) and os.lstat(place).st_mtime_ns >= entry["mtime"]:
        return 0
    os.makedirs(os.path.dirname(place), exist_ok=True)
    new, whole = place + ".sagestack-restoring", hashlib.sha256()
    if os.path.lexists(new):
        os.unlink(new)
    try:
        body = store.read("data/" + entry["sha256"])
        with open(new, "xb") as file:
            for piece in iter(lambda: body.read(1 << 20), b""):
                whole.update(piece)
                file.write(piece)
        if whole.hexdigest() != entry["sha256"]:
            raise ValueError("its content is not what was backed up")
        os.chmod(new, int(entry.get("mode", 0o644)) & 0o777)
        os.utime(new, ns=(entry["mtime"], entry["mtime"]))
        os.replace(new, place)
    finally:
        if os.path.lexists(new):
            os.unlink(new)
    return 1


def is_empty(root: str) -> bool:
    """Whether nobody has worked on the volume: nothing but what AWS and we put there, clones of repositories and mounts.

    So it is, too, where a restore broke off: it is to go on.
    """
    said = noted(root)
    if said:
        return bool(said.get("restoring"))
    for name in os.listdir(root):
        place = os.path.join(root, name)
        if name in (".sagestack", "lost+found", ".ipynb_checkpoints", "examples") or os.path.ismount(place):
            continue
        if not os.path.isdir(place) or (os.listdir(place) and not os.path.isdir(os.path.join(place, ".git"))):
            return False
    return True


def _note_path(root: str) -> str:
    return os.path.join(root, ".sagestack", "backup.json")


def note(root: str, **facts: Any) -> None:
    """Says to people, and to the next start, what was done; it also keeps a volume with a past from being restored over."""
    path = _note_path(root)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        json.dump({**noted(root), **facts}, file)
    os.replace(path + ".new", path)


def noted(root: str) -> dict[str, Any]:
    """What was said."""
    try:
        with open(_note_path(root)) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def back_up(store: Store, root: str, exclude: Iterable[str], keep: int) -> None:
    """One backup, and what it leaves no need for."""
    if noted(root).get("restoring"):
        # It would be the newest backup, and lack what was not restored yet.
        raise Refused(f"a restore has not ended ({_note_path(root)} says so)")
    began = time.time()
    backup = Backup(store, root, exclude)
    manifest = backup.run(time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(began)))
    gone = prune(store, keep)
    count = len(manifest["files"])
    print(
        f"backed up {manifest['time']}: {count} files, {backup.uploaded} new ({backup.bytes} bytes), "
        f"{len(backup.skipped)} skipped, {gone} old contents deleted",
        flush=True,
    )
    try:
        note(root, last=began, time=manifest["time"], files=count, skipped=backup.skipped[:100])
    except OSError as error:
        print(f"not noted on the volume: {error}", flush=True)


def is_fresh(then: float, hours: float) -> bool:
    """Whether something was less than `hours` ago; a clock that was set back must not stop backups for as long."""
    return 0 <= time.time() - then < hours * 3600


def newest_time(store: Store) -> float:
    """When the newest backup began, by its name; 0 where there is none."""
    names = sorted(store.sizes("manifests/"))
    try:
        return calendar.timegm(time.strptime(names[-1], "%Y-%m-%dT%H-%M-%SZ.json.gz"))
    except (IndexError, ValueError):
        return 0


def bring_back(store: Store, root: str) -> int:
    """Restores the newest backup, and says what came of it; the exit code."""
    try:
        # Whatever breaks off from here is tried again, and until then nothing is backed up.
        note(root, restoring=True)
        files = newest(store)
        if files is None:
            note(root, restoring=False)
            print("There is no backup")
            return 0
        count, missing = restore(store, files, root)
        note(root, restoring=False, restored=time.time(), missing=missing[:100])
    except Exception as error:
        if isinstance(error, Refused):
            note(root, restoring=False, refused=str(error))
        print(f"Not restored: {type(error).__name__}: {error}")
        return 1
    print(f"restored {count} files, {len(missing)} not")
    return 1 if missing else 0


def main(arguments: list[str]) -> int:
    """`look` (is the volume empty?), `restore` (if it is), `once`, `due` (if it is time); all else is in the environment."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # Names of files are any bytes.
    root = os.environ.get("SAGESTACK_VOLUME", "/home/ec2-user/SageMaker")
    verdict = os.path.join(os.environ.get("SAGESTACK_HOME", root + "/.sagestack"), ".volume-is-empty")
    hours = float(os.environ.get("BACKUP_HOURS", "24"))
    if arguments == ["look"]:
        if os.path.lexists(verdict):
            os.unlink(verdict)
        if is_empty(root):
            os.makedirs(os.path.dirname(verdict), exist_ok=True)
            open(verdict, "x").close()
        return 0
    if arguments == ["restore"] and not os.path.exists(verdict):
        print("The volume is not empty: nothing is restored")
        return 0
    if arguments == ["due"] and is_fresh(noted(root).get("last", 0), hours):
        return 0
    import boto3
    from botocore.config import Config

    notebook = os.environ.get("SAGESTACK_NOTEBOOK", "")
    if not notebook:
        print("This is no notebook instance (its name is not known): nothing is backed up or restored")
        return 1
    patience = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 5, "mode": "standard"})
    store = Store(
        boto3.client("s3", config=patience), os.environ["SAGESTACK_ARTIFACT_BUCKET"], f"notebooks/{notebook}/backup/"
    )
    if arguments == ["restore"]:
        return bring_back(store, root)
    try:
        if arguments == ["due"]:
            if noted(root).get("restoring") and bring_back(store, root):
                return 1
            # What could not be noted on a full volume, or was restored from there.
            if is_fresh(newest_time(store), hours):
                return 0
        back_up(store, root, os.environ.get("BACKUP_EXCLUDE", "").splitlines(), int(os.environ.get("BACKUP_KEEP", "7")))
    # What S3 says is for people to read, and the next time comes.
    except Exception as error:
        print(f"No backup now: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
