"""The model in a `model.tar.gz`, read without extracting anything: no name in an archive can lead anywhere."""

from __future__ import annotations

import gzip
import posixpath
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from .contract import UserError
from .model_files import LARGEST_MODEL
from .serving.model import Model, load_files

LARGEST_ARCHIVE = 4 * 1024**3
"""Bytes of everything in an archive together, unpacked: a bomb of zeros is given up there."""
_MOST_MEMBERS = 10_000


class Archive:
    """The files at the top of a `model.tar.gz`, held in memory. Folders in it (SageMaker puts `code/` there) are left alone."""

    def __init__(self, path: Path) -> None:
        """Read the archive once, from its beginning to its end.

        Args:
            path: the file.

        Raises:
            UserError: it is not a tar in gzip or is cut; a member has an absolute path or `..` in it, is a link
                or a device, is there twice or is too large. Names the archive and the member.
        """
        self._path = path
        self._contents: dict[str, bytes] = {}
        try:
            with path.open("rb") as file:
                magic = file.read(2)
            if magic != b"\x1f\x8b":
                what = "empty" if not magic else f"no gzip (it begins with {magic!r})"
                raise UserError(f"{path}: a model archive is a tar in gzip, this file is {what}")
            with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as opened:
                self._read(opened)
                # A tar ends before its file does, and the checksum of the gzip stands at the end of that.
                while unpacked.read(1024**2):
                    if unpacked.tell() > LARGEST_ARCHIVE:
                        raise UserError(f"{path}: holds more than {LARGEST_ARCHIVE} bytes")
        except FileNotFoundError:
            raise UserError(f"{path}: the model archive is not there") from None
        except EOFError:
            raise UserError(f"{path}: the archive is cut, its gzip has no end; upload it again") from None
        except (tarfile.TarError, zlib.error) as error:
            raise UserError(f"{path}: not a readable tar in gzip ({error}); upload it again") from None
        except OSError as error:
            if error.errno is not None:
                raise  # the disk's or the system's, not the archive's
            raise UserError(f"{path}: its gzip is damaged ({error}); upload it again") from None

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> Sequence[str]:
        return sorted(self._contents)

    def read(self, name: str) -> bytes:
        if name not in self._contents:
            raise UserError(f"{self._path}: the file {name} is not in the archive")
        return self._contents[name]

    def _read(self, opened: tarfile.TarFile) -> None:
        total = 0
        for count, member in enumerate(opened):
            where = f"{self._path}: {member.name!r}"
            _refuse_unsafe(member, where)
            total += member.size
            if member.size > LARGEST_MODEL:
                raise UserError(f"{where} has {member.size} bytes, at most {LARGEST_MODEL} are read")
            if total > LARGEST_ARCHIVE or count >= _MOST_MEMBERS:
                raise UserError(f"{self._path}: holds more than {LARGEST_ARCHIVE} bytes or {_MOST_MEMBERS} files")
            name = posixpath.normpath(member.name)
            if not member.isreg() or "/" in name or name.startswith("."):
                continue
            if name in self._contents:
                raise UserError(f"{where} is in the archive twice")
            handle = opened.extractfile(member)
            self._contents[name] = handle.read() if handle is not None else b""


def _refuse_unsafe(member: tarfile.TarInfo, where: str) -> None:
    if member.name.startswith("/"):
        raise UserError(f"{where} is an absolute path; pack the model with paths relative to its folder")
    if ".." in member.name.split("/"):
        raise UserError(f"{where} leads out of the archive by '..'; pack the model with paths relative to its folder")
    if member.issym() or member.islnk():
        raise UserError(f"{where} is a link, to {member.linkname!r}; pack the file itself (tar --dereference)")
    if not (member.isreg() or member.isdir()):
        raise UserError(f"{where} is a device or another special file; a model consists of plain files")


def load(path: Path, *, ensemble: bool = True, nthread: int = 1) -> Model:
    """The model in a `model.tar.gz`, as `serving.model.load` gives the one in a folder.

    Raises:
        UserError: as `Archive`, and as `serving.model.load`.
    """
    return load_files(Archive(path), ensemble=ensemble, nthread=nthread)
