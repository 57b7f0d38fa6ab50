"""Keeps the checkpoints of one host and S3 the same, while a training job runs.

Source: "Checkpoints in Amazon SageMaker AI" in the developer guide: what is in S3 is copied to the host at the start, what
the container writes to S3 while it runs, and what it deletes is deleted in S3.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from local_cloud.sagemaker.job_data import DataError, JobData, Location

INTERVAL_S = 0.5
"""Between two looks at the folder: what a killed local cloud loses at most, with QUIET_S."""
QUIET_S = 0.3
"""A file that was written to in the last moment may still be written to; it is left for the next look."""


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
        self._look(time.time())

    def _run(self) -> None:
        while not self._closing.wait(INTERVAL_S):
            try:
                self._look(time.time() - QUIET_S)
            except DataError as error:
                self._on_error(f"ClientError: Failed to upload checkpoints. {error}")
                return

    def _look(self, quiet_since: float) -> None:
        """Upload what has changed, if it was last written to before this time, and delete what is gone."""
        files, are_all_kept = self._files(), True
        for name, path in files.items():
            are_all_kept &= self._is_kept(name, path, quiet_since)
        # What is gone may have made room for what is not yet kept: never have neither.
        if are_all_kept:
            for name in [name for name in self._kept if name not in files]:
                self._forget(name)

    def _files(self) -> dict[str, Path]:
        found = {path.relative_to(self._folder).as_posix(): path for path in sorted(self._folder.rglob("*"))}
        return {name: path for name, path in found.items() if path.is_file() and not path.is_symlink()}

    def _is_kept(self, name: str, path: Path, quiet_since: float) -> bool:
        """Whether S3 has a file as it is now, after an upload if need be."""
        try:
            version = _Version.of(path.stat())
            if self._kept.get(name) == version:
                return True
            if version.modified_ns > quiet_since * 1e9:
                return False
            # One open file for all parts of the upload: a file that is renamed into its place meanwhile is another one.
            with path.open("rb") as content:
                version = _Version.of(os.fstat(content.fileno()))
                self._data.upload_stream(content, self._place.below(name))
                if _Version.of(os.fstat(content.fileno())) != version:
                    return False
        except FileNotFoundError:
            # A temporary name, or a checkpoint that was replaced: the next look finds what is there instead.
            return False
        except PermissionError:
            if name not in self._unreadable:
                self._note(f"The checkpoint {name} is closed to other users: it is kept when the container has ended.")
                self._unreadable.add(name)
            return True
        self._kept[name] = version
        return True

    def _forget(self, name: str) -> None:
        if self._may_delete:
            try:
                self._data.delete_object(self._place.below(name))
            except DataError as error:
                # What is left over costs room, not the job.
                self._note(f"Checkpoints that the container deletes stay in S3: {error}")
                self._may_delete = False
        del self._kept[name]
