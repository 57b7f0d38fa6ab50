"""What a job says of its channels: which there are, in which format and how they come, before a byte of them is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...contract import Paths, UserError, log, read_config
from ...formats.content_types import Format, UnknownMediaType, of_training_channel
from .files import list_files
from .readers import InputMode, Source, guess

DATA = ("train", "validation", "test")
CODE = "code"
KNOWN = (*DATA, CODE)

_MODES: dict[str, InputMode] = {"file": "File", "fastfile": "FastFile", "pipe": "Pipe"}
_EXTENSIONS: dict[str, Format] = {
    ".csv": "csv",
    ".libsvm": "libsvm",
    ".svm": "libsvm",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".pbr": "recordio-protobuf",
    ".rec": "recordio-protobuf",
    ".recordio": "recordio-protobuf",
}


@dataclass(frozen=True)
class Declared:
    """A channel, and the files or the pipe that its rows are to be read from."""

    name: str
    folder: Path
    format: Format
    mode: InputMode
    sources: tuple[Source, ...]
    sharded: bool = False
    """Whether S3DistributionType gives each host other files."""


def find(paths: Paths, *, may_be_empty: bool = False) -> dict[str, Declared]:
    """The channels of a job in the order train, validation, test, code.

    Keys of `inputdataconfig.json`: "How Amazon SageMaker AI Provides Training Information" in the Developer Guide. A
    channel without `ContentType` has that of train, and train's is libsvm, as in SageMaker's XGBoost.

    Raises:
        UserError: train is missing, a channel has a name that nothing here reads, or an entry is not understood.
    """
    file = paths.config / "inputdataconfig.json"
    config = read_config(file)
    if config is None:
        return _on_laptop(paths, may_be_empty)
    for name, entry in config.items():
        if name not in KNOWN:
            raise UserError(f"{file.name}: the channel {name!r} is not one of {', '.join(KNOWN)}")
        if not isinstance(entry, dict):
            raise UserError(f"{file.name}: the channel {name} must be an object, is {entry!r:.40}")
    if "train" not in config:
        raise UserError(f"{file.name}: the channel train is missing; there are: {', '.join(config) or 'none'}")
    spoken = config["train"].get("ContentType")
    return {name: _declared(paths, name, config[name], spoken, may_be_empty) for name in KNOWN if name in config}


def _declared(
    paths: Paths, name: str, entry: Mapping[str, Any], type_of_train: str | None, may_be_empty: bool
) -> Declared:
    mode = _choice(name, entry, "TrainingInputMode", _MODES, "File")
    sharded = _choice(name, entry, "S3DistributionType", {"fullyreplicated": False, "shardedbys3key": True}, False)
    wrapped = _choice(name, entry, "RecordWrapperType", {"none": False, "recordio": True}, False)
    _choice(name, entry, "CompressionType", {"none": False, "gzip": True}, False)  # gzip tells of itself
    folder = paths.channel(name)
    if name == CODE:
        if mode == "Pipe":
            raise UserError("code: TrainingInputMode is Pipe, must be File: a program is not a stream")
        return Declared(name, folder, "csv", mode, ())
    spoken = entry.get("ContentType") or type_of_train
    if spoken is not None and not isinstance(spoken, str):
        raise UserError(f"{name}: ContentType must be a text, is {spoken!r:.40}")
    try:
        kind, _ = of_training_channel(spoken)
    except UnknownMediaType as error:
        raise UserError(f"{name}: {error}") from None
    said = bool(spoken)
    if mode == "Pipe":
        pipe = folder.with_name(f"{name}_0")  # one for each epoch; XGBoost keeps what it reads, so that one is enough
        if not pipe.exists():
            raise UserError(f"{name}: TrainingInputMode is Pipe, and the pipe {pipe} is not there")
        return Declared(name, folder, kind, mode, (Source(pipe.name, pipe, kind, mode, wrapped, said),), sharded)
    if wrapped:
        log(f"{name}: RecordWrapperType is for Pipe mode, and has no meaning in {mode} mode")
    sources = _sources(name, folder, kind, mode, said, may_be_empty)
    return Declared(name, folder, kind, mode, sources, sharded)


def _sources(
    name: str, folder: Path, kind: Format, mode: InputMode, said: bool, may_be_empty: bool
) -> tuple[Source, ...]:
    if may_be_empty and not folder.exists():
        return ()
    listing = list_files(folder, name)
    for remark in listing.remarks():
        log(f"{name}: {remark}")
    if not listing.files and not may_be_empty:
        raise UserError(
            f"{name}: no data. Looked in {folder} for files of at least one byte, at most two folders deep and not hidden; "
            f"there is {listing.what_there_is()}"
        )
    return tuple(Source(file.name, file.path, kind, mode, declared=said) for file in listing.files)


def _on_laptop(paths: Paths, may_be_empty: bool) -> dict[str, Declared]:
    """Without a config, folders are channels, and files tell their format by their name or else by how they begin."""
    there = [name for name in KNOWN if paths.channel(name).exists()]
    if "train" not in there:
        raise UserError(f"the channel train is missing: there is no folder {paths.channel('train')}")
    found = {}
    for name in there:
        folder = paths.channel(name)
        if name == CODE:
            found[name] = Declared(name, folder, "csv", "File", ())
            continue
        found[name] = of_folder(name, folder, may_be_empty=may_be_empty)
        log(
            f"{name}: no inputdataconfig.json, so the files are taken for {found[name].format} by the looks of the first"
        )
    return found


def of_folder(name: str, folder: Path, *, may_be_empty: bool = False) -> Declared:
    """A folder whose files tell their format: the first one's name, or else how it begins.

    Raises:
        UserError: it is not there, or holds no data.
    """
    sources = _sources(name, folder, "csv", "File", True, may_be_empty)
    kind = _guessed(sources[0]) if sources else "csv"
    return Declared(name, folder, kind, "File", tuple(Source(source.name, source.path, kind) for source in sources))


def _guessed(source: Source) -> Format:
    for suffix in reversed(source.path.suffixes):
        if suffix.lower() in _EXTENSIONS:
            return _EXTENSIONS[suffix.lower()]
    with source.path.open("rb") as file:
        return guess(file.read(4096))


def _choice(channel: str, entry: Mapping[str, Any], key: str, choices: Mapping[str, Any], default: Any) -> Any:
    value = entry.get(key)
    if value is None or value == "":
        return default
    if str(value).lower() not in choices:
        raise UserError(
            f"{channel}: {key} is {value!r:.40}, must be one of {', '.join(cast('list[str]', list(choices)))}"
        )
    return choices[str(value).lower()]
