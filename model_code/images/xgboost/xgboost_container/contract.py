"""SageMaker's container contract: where things are, how a program says why it failed, how it is stopped.

Sources, in the Amazon SageMaker AI Developer Guide: "How Amazon SageMaker AI Provides Training Information",
"How Amazon SageMaker AI Processes Training Output", "How Amazon SageMaker AI Signals Algorithm Success and
Failure", "Save and Access Metadata Information About Your Processing Job".
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

# SageMaker shows the first 1,024 characters of a training job's reason and the first 1 KB of a processing
# job's. We cut by bytes, between characters, so that both show all of it.
REASON_BYTES = 1024

FAILED = 1
STOPPED = 128 + signal.SIGTERM  # what a shell reports for a program that SIGTERM ended


class UserError(Exception):
    """Something that the user can mend. The message alone says what, where and how; no traceback is needed."""


class AlgorithmError(Exception):
    """Something that is not the user's fault and that we can name: a lost host, a full disk."""


class Stopped(BaseException):
    """SIGTERM came. Not an Exception, so that no `except Exception` takes it for a failure."""


@dataclass(frozen=True)
class Paths:
    """The folders that SageMaker mounts, below `/opt/ml`.

    Outside a container the environment variable SAGEMAKER_BASE_DIR replaces `/opt/ml`, as it does in AWS's
    own training toolkit.
    """

    base: Path

    @classmethod
    def from_environment(cls) -> Paths:
        return cls(Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"))

    @property
    def processing_input(self) -> Path:
        return self.base / "processing" / "input"

    @property
    def processing_output(self) -> Path:
        return self.base / "processing" / "output"

    @property
    def config(self) -> Path:
        return self.base / "input" / "config"

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def checkpoints(self) -> Path:
        """What SageMaker keeps in S3 while a job runs, and brings back when a spot instance was taken away."""
        return self.base / "checkpoints"

    @property
    def output_data(self) -> Path:
        return self.base / "output" / "data"

    @property
    def training_failure(self) -> Path:
        """What DescribeTrainingJob returns in `FailureReason`."""
        return self.base / "output" / "failure"

    @property
    def processing_message(self) -> Path:
        """What DescribeProcessingJob returns in `ExitMessage`."""
        return self.base / "output" / "message"

    def channel(self, name: str) -> Path:
        return self.base / "input" / "data" / name


def read_config(file: Path) -> dict[str, Any] | None:
    """A config file of the contract, or None where there is none (on a laptop they may be left out).

    Raises:
        UserError: the file is not a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: must hold a JSON object, holds {type(content).__name__}")
    return content


def csv_files(folder: Path, what: str) -> list[Path]:
    """The CSV files below a folder, by name, so that the order never depends on the file system.

    Raises:
        UserError: there is none.
    """
    files = sorted(folder.rglob("*.csv")) if folder.is_dir() else []
    if not files:
        found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else None
        state = "the folder does not exist" if found is None else f"it holds {', '.join(found[:5]) or 'nothing'}"
        raise UserError(f"{folder}: {what} needs at least one file *.csv there, but {state}")
    return files


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files so that each appears whole, and none of them when one cannot be written."""
    partial = {path: path.with_name(f".{path.name}.partial") for path in files}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial[path].write_bytes(content)
        for path, temporary in partial.items():
            temporary.replace(path)
    finally:
        for temporary in partial.values():
            if temporary.parent.is_dir():
                temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Find out before the work what would otherwise fail after it: that its result cannot be written. Makes nothing.

    Raises:
        UserError: the folder is a file, or would be below one.
        PermissionError: this user may not write there, or it is mounted for reading; `one_line_reason` says what to do.
    """
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UserError(f"{folder}: must be a folder to write to, and {nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def as_json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def log(message: str) -> None:
    """One line to the job's log. Flushed: a log that lags behind is no use when the job dies."""
    # A log that cannot be written, say on a full disk, must not end the work that it tells of.
    with contextlib.suppress(OSError):
        print(_printable(message), flush=True)


def _printable(text: str) -> str:
    """Without what no encoding can write: the name of a file may be any bytes, which Python holds as lone surrogates."""
    return text.encode(errors="backslashreplace").decode()


def one_line_reason(error: BaseException) -> str:
    """Why a step failed, in one line of at most 1,024 bytes: `UserError: ...` or `AlgorithmError: ...`.

    The first word tells whose turn it is, as in SageMaker's own containers: the user can mend the one, and the
    other is ours or the machine's.
    """
    if isinstance(error, PermissionError) and error.filename:
        # The likeliest cause: this image runs as a plain user, and the folder belongs to root.
        reason = (
            f"UserError: {error.filename}: permission denied for user {os.getuid()}. Mount the folder with rights "
            "for that user, or build the image with --build-arg RUN_AS=root"
        )
    elif isinstance(error, UserError):
        reason = f"UserError: {error}"
    elif isinstance(error, AlgorithmError):
        reason = f"AlgorithmError: {error}"
    else:
        reason = f"AlgorithmError: {type(error).__name__}: {error}"
    line = " ".join(_printable(reason).split())
    return line.encode()[:REASON_BYTES].decode(errors="ignore")


def run_step(step: Callable[[Paths], None], paths: Paths, reason_file: Path) -> int:
    """Run a job's step, and return the exit code that tells SageMaker how it went.

    0 is success. 1 is failure: the reason is in `reason_file` in one line, and the traceback of what is not the
    user's mistake in the log. 143 means that SIGTERM came before the step was done, which is no failure. Either way no
    half-written file is left.
    """
    # A reason of an earlier run on a laptop must not survive. Where it cannot be removed, none was written either.
    with contextlib.suppress(OSError):
        reason_file.unlink()
    previous = signal.signal(signal.SIGTERM, _raise_stopped)
    try:
        step(paths)
    except (Stopped, KeyboardInterrupt):
        log("Stopped before the end.")
        return STOPPED
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        reason = one_line_reason(error)
        print(f"Failed: {reason}", file=sys.stderr, flush=True)
        try:
            write_together({reason_file: (reason + "\n").encode()})
        except OSError as cannot:
            print(f"The reason could not be written to {reason_file}: {cannot}", file=sys.stderr, flush=True)
        return FAILED
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _raise_stopped(signum: int, frame: FrameType | None) -> None:
    raise Stopped
