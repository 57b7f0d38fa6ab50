"""Unpacks a script's archive into a folder, and nothing of it anywhere else."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path, PurePosixPath

from ..contract import UserError

LARGEST = 1024**3
"""Bytes unpacked: code is small, and a bomb of zeros is not."""


def extract(archive: Path, folder: Path) -> None:
    """Unpack a `.tar.gz` of plain files and folders.

    Raises:
        UserError: it cannot be read, is too large, or holds a path or a link that could lead out of the folder.
    """
    try:
        with tarfile.open(archive, "r:gz") as opened:
            total = 0
            for member in opened:
                _check(archive, member)
                total += member.size
                if total > LARGEST:
                    raise UserError(f"{archive.name}: unpacks to more than {LARGEST} bytes")
                opened.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == 28):
            raise
        raise UserError(f"{archive.name}: not a readable .tar.gz: {error}") from error


def _check(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{archive.name}: holds {member.name!r}, which leads out of the folder")
    if member.issym() or member.islnk():
        raise UserError(f"{archive.name}: holds {member.name!r}, a link to {member.linkname!r}: links are not unpacked")
    if not (member.isreg() or member.isdir()):
        raise UserError(f"{archive.name}: holds {member.name!r}, which is neither a file nor a folder")
