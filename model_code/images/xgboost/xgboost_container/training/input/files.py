"""Which files of a channel's folder are data: the same ones, in the same order, on every file system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...contract import UserError

# The channel's own folder is the first level, as SageMaker's XGBoost container counts them; it ignores what is deeper.
LEVELS = 3


@dataclass(frozen=True)
class DataFile:
    """One file and the name that messages give it: from the channel on, `train/2024/part-1.csv`."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True)
class Listing:
    """The data files of a channel by name, and what was left aside and why."""

    files: tuple[DataFile, ...]
    hidden: tuple[str, ...]
    too_deep: tuple[str, ...]
    empty: tuple[str, ...]

    def remarks(self) -> Iterator[str]:
        """One sentence for each kind of file that was left aside, for the log: nobody should wonder where rows went."""
        if self.too_deep:
            yield f"ignored {some(self.too_deep)}: deeper than {LEVELS} folders, the channel's own among them"
        if self.hidden:
            yield f"ignored {some(self.hidden)}: hidden (a name that begins with '.' or '_', or a cache of XGBoost's)"
        if self.empty:
            yield f"skipped {some(self.empty)}: no bytes in it"

    def what_there_is(self) -> str:
        """In words, where there are no data files."""
        return (
            "; ".join(
                f"{len(names)} {what}: {some(names)}"
                for what, names in (("hidden", self.hidden), ("deeper", self.too_deep), ("empty", self.empty))
                if names
            )
            or "nothing"
        )


def list_files(folder: Path, channel: str) -> Listing:
    """The files below a channel's folder.

    Names that begin with `.` or `_` are hidden, as for Hadoop, Spark and Glue, which leave `_SUCCESS` and
    `_temporary` beside their data; so are files that XGBoost itself cached there (`dtrain...cache`). Links are
    followed: a mount may consist of nothing else. Empty files hold no rows and are left out.

    Raises:
        UserError: the folder is not there, or a link leads nowhere.
    """
    if folder.is_file():
        return _sorted([folder], channel, folder.parent)
    if not folder.is_dir():
        raise UserError(f"{channel}: the channel's folder {folder} is not there")
    return _sorted(list(_walk(folder, LEVELS + 1)), channel, folder)


def _sorted(paths: list[Path], channel: str, folder: Path) -> Listing:
    files, hidden, too_deep, empty = [], [], [], []
    for path in sorted(paths, key=lambda path: path.relative_to(folder).parts):
        parts = path.relative_to(folder).parts
        name = "/".join((channel, *parts))
        if any(part.startswith((".", "_")) for part in parts) or _is_cache(parts[-1]):
            hidden.append(name)
        elif len(parts) > LEVELS:
            too_deep.append(name)
        elif not path.exists():
            raise UserError(f"{name}: a link to {path.readlink()}, which is not there")
        elif (size := path.stat().st_size) == 0:
            empty.append(name)
        else:
            files.append(DataFile(name, path, size))
    return Listing(tuple(files), tuple(hidden), tuple(too_deep), tuple(empty))


def _walk(folder: Path, levels: int) -> Iterator[Path]:
    """Files, and on the last level folders, whose insides are too deep to matter. So links in a circle end, too."""
    for path in folder.iterdir():
        if path.is_dir() and levels > 1:
            yield from _walk(path, levels - 1)
        else:
            yield path


def _is_cache(name: str) -> bool:
    return ".cache" in name and ("dtrain" in name or "dval" in name)


def some(names: tuple[str, ...], most: int = 3) -> str:
    """The first of several names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
