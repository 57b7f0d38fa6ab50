"""Keeps the checkpoints of one host and S3 the same, while a training job runs.

Source: "Checkpoints in Amazon SageMaker AI" in the developer guide: what is in S3 is copied to the host at the start, what
the container writes to S3 while it runs, and what it deletes is deleted in S3.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from local_cloud.sagemaker.jobs.job_data import DataError, JobData, Location

logger = logging.getLogger(__name__)

INTERVAL_S = 0.5
"""Between two looks at the folder: about as much as a killed local cloud loses."""
QUIET_S = 0.2
"""A file that does not change for so long is taken for whole; one that does is left for the next look."""
MAX_OPEN = 64
"""Files that are held open at once."""


class _Version(NamedTuple):
    """What changes when a file is written to, or another one takes its place."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> _Version:
        return cls(stat.st_ino, stat.st_size, stat.st_mtime_ns)


class CheckpointSync:
    """The checkpoints of one host.

    Args:
        data: S3 with the credentials of the job's role.
        folder: on the host.
        uri: where they are kept; all hosts of a job share it, and keep apart by the names of their files.
        note: takes what people should know of it.
        on_error: takes why they cannot be kept; the thread has ended then.
    """

    def __init__(
        self, data: JobData, folder: Path, uri: str, note: Callable[[str], None], on_error: Callable[[str], None]
    ) -> None:
        self._data, self._folder = data, folder
        self._place = Location.parse(uri.rstrip("/"))
        self._uri = uri
        self._note, self._on_error = note, on_error
        self._kept: dict[str, _Version] = {}
        self._unreadable: set[str] = set()
        self._may_delete = True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def download(self) -> None:
        """Bring what is kept to the host; nothing is the ordinary case of a first start.

        Raises:
            DataError: it may not be read.
        """
        self._data.download_objects(self._data.objects_below(self._uri), self._folder)
        self._kept = {name: _Version.of(path.stat()) for name, path in self._files().items()}

    def start(self) -> None:
        """Begin to keep what the container writes."""
        self._thread.start()

    def finish(self) -> None:
        """Keep what the container has left when it ended.

        Raises:
            DataError: it may not be written.
        """
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        while not self._look(0):
            pass

    def _run(self) -> None:
        while not self._closing.wait(INTERVAL_S):
            try:
                self._look(QUIET_S)
            except DataError as error:
                self._on_error(f"ClientError: Failed to upload checkpoints. {error}")
                return
            except Exception as error:
                logger.exception("Checkpoints cannot be kept")
                self._on_error(f"InternalServerError: The local cloud failed to keep checkpoints ({error!r}).")
                return

    def _look(self, quiet_s: float) -> bool:
        """Upload what has changed and is whole, and delete what is gone; whether S3 has all that is there now.

        A file is held open from the first sight on: a program that keeps only its last checkpoints may delete one, or
        rename another into its place, sooner than an upload takes.
        """
        files = self._files()
        with ExitStack() as stack:
            opened = [
                (name, self._opened(name, path, stack))
                for name, path in [item for item in files.items() if self._has_changed(*item)][:MAX_OPEN]
            ]
            held = [
                (name, descriptor, _Version.of(os.fstat(descriptor)))
                for name, descriptor in opened
                if descriptor is not None
            ]
            if held and quiet_s:
                time.sleep(quiet_s)
            for name, descriptor, version in held:
                if _Version.of(os.fstat(descriptor)) != version:
                    continue
                with open(descriptor, "rb", closefd=False) as content:
                    self._data.upload_stream(content, self._place.below(name))
                if _Version.of(os.fstat(descriptor)) == version:
                    self._kept[name] = version
        if any(self._has_changed(name, path) for name, path in files.items()):
            # What is gone may have made room for what is not yet kept: never have neither.
            return False
        for name in [name for name in self._kept if name not in files]:
            self._forget(name)
        return True

    def _has_changed(self, name: str, path: Path) -> bool:
        """Whether S3 lacks a file as it is now; not if it is gone, or closed to us."""
        if name in self._unreadable and not self._closing.is_set():
            return False
        try:
            return self._kept.get(name) != _Version.of(path.stat())
        except FileNotFoundError:
            return False

    def _opened(self, name: str, path: Path, stack: ExitStack) -> int | None:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            if self._closing.is_set():
                raise DataError(f"The checkpoint {name} cannot be read: {error}") from error
            self._note(f"The checkpoint {name} is closed to other users: it is kept when the container has ended.")
            self._unreadable.add(name)
            return None
        stack.callback(os.close, descriptor)
        return descriptor

    def _files(self) -> dict[str, Path]:
        # Not by rglob: a folder that the container deletes meanwhile, as it rotates its checkpoints, is an error to it.
        found = sorted(Path(folder, name) for folder, _, names in os.walk(self._folder) for name in names)
        return {
            path.relative_to(self._folder).as_posix(): path
            for path in found
            if path.is_file() and not path.is_symlink()
        }

    def _forget(self, name: str) -> None:
        if self._may_delete:
            try:
                self._data.delete_object(self._place.below(name))
            except DataError as error:
                # What is left over costs room, not the job.
                self._note(f"Checkpoints that the container deletes stay in S3: {error}")
                self._may_delete = False
        del self._kept[name]
