"""What both engines need of an image: its address, its content, and one build at a time of the same thing."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local_cloud.containers.engine import ContainerError

COMPLETE = ".complete"
"""The file that is written last into a folder that was built: without it the folder is not used but built again."""


def is_build_context(uri: str) -> bool:
    """Whether an image's address is a zipped build context in S3, rather than a registry reference."""
    return uri.startswith("s3://")


@contextmanager
def fetched(fetch: Callable[[Path], None], folder: Path) -> Iterator[Path]:
    """The zip of a build context, downloaded into a temporary file below `folder` for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as temporary:
        path = Path(temporary) / "context.zip"
        fetch(path)
        yield path


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unzip(archive: Path, folder: Path, uri: str) -> None:
    """Unpack a build context, with its files' permissions.

    Raises:
        ContainerError: it is no zip, or has no Dockerfile at its root.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                # extract() itself keeps members below the folder, whatever their names say.
                path = Path(opened.extract(entry, folder))
                mode = stat.S_IMODE(entry.external_attr >> 16)
                if mode and path.is_file():
                    path.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)
    except zipfile.BadZipFile as error:
        raise ContainerError(
            f"The image {uri} is not a zip file ({error}): a build context is expected there."
        ) from error
    if not (folder / "Dockerfile").is_file():
        raise ContainerError(f"The build context {uri} has no Dockerfile at its root.")


def dockerfile_of(archive: Path, uri: str) -> str:
    """The Dockerfile in the zip of a build context.

    Raises:
        ContainerError: it is no zip, or has no Dockerfile at its root.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.read("Dockerfile").decode(errors="replace")
    except zipfile.BadZipFile as error:
        raise ContainerError(
            f"The image {uri} is not a zip file ({error}): a build context is expected there."
        ) from error
    except KeyError as error:
        raise ContainerError(f"The build context {uri} has no Dockerfile at its root.") from error


def built(
    folder: Path,
    build: Callable[[], None],
    on_line: Callable[[str], None],
    what: str,
    is_usable: Callable[[], bool] = lambda: True,
) -> None:
    """Make sure that `folder` holds what `build` puts there; of several who need it at once, one builds and the others wait.

    It is built in place rather than renamed into place, because what is built (programs, compiled modules) holds its own
    path; a file written last says that it is whole, and a folder without it is built anew.

    Args:
        folder: where it belongs; its parent holds the lock file.
        build: fills the folder, which exists and is empty.
        on_line: is told when somebody else is building.
        what: for that line.
        is_usable: whether what a whole folder needs besides itself is there; else it is built anew.
    """

    def is_whole() -> bool:
        return (folder / COMPLETE).exists() and is_usable()

    if is_whole():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_line(f"Waiting for another job that is preparing {what}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Once more, now that nobody else builds: by the look before the wait it would take away what another has built and runs.
        if is_whole():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        build()
        (folder / COMPLETE).touch()
