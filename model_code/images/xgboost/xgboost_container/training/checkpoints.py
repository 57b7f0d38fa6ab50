"""Keeps the state of a training in `/opt/ml/checkpoints`, for a job that goes on where a spot instance was taken away.

SageMaker copies the folder to S3 while the job runs and back before the next attempt ("Use checkpoints in Amazon SageMaker
AI" in its Developer Guide). A checkpoint is one file that appears whole, so a kill at any instant leaves the one before.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..contract import Paths, UserError, log, read_config, write_together
from .complaints import saving_to
from .fit import State

FORMAT = 2
# The last one, and one to fall back to should that be damaged on its way to S3 and back.
KEPT = 2
# Without checkpoint_rounds: as often as writing them takes at most this part of the time. SageMaker's container writes one
# each round, which for many small rounds is most of its work, and grows with the square of the rounds.
SHARE_OF_TIME = 1 / 20

# Hyperparameters that may differ from those of the checkpoint: no round depends on them.
MAY_CHANGE = ("num_round", "checkpoint_rounds", "save_model_on_termination", "nthread", "verbosity")

_NAME = re.compile(r"checkpoint-(\d{7,})")
_OF_SAGEMAKER = re.compile(r"xgboost-checkpoint\.\d+")


def folder_of(paths: Paths, *, wanted: bool) -> Path | None:
    """Where this job keeps checkpoints, or None: the job has no CheckpointConfig and `checkpoint_rounds` was not given.

    SageMaker says where in `checkpointconfig.json`; on a laptop it is enough that the folder is there.
    """
    local = (read_config(paths.config / "checkpointconfig.json") or {}).get("LocalPath")
    if local and not Path(local).is_relative_to("/opt/ml"):
        return Path(local)
    if local:
        return paths.base / Path(local).relative_to("/opt/ml")
    return paths.checkpoints if wanted or paths.checkpoints.is_dir() else None


class Checkpoints:
    """The checkpoints of one training in one folder.

    Args:
        folder: made when the first one is written.
        identity: what makes this training this one: a checkpoint with another identity is refused.
        every: rounds between two checkpoints; None chooses by what they cost.
        nthread: with how many threads this job trains. A checkpoint of another number is taken, with a line in the
            log: XGBoost adds up in another order then, which the last bits of the model show.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], every: int | None = None, nthread: int | None = None
    ) -> None:
        self.folder = folder
        self.nthread = nthread
        self.identity = json.loads(json.dumps(identity))
        self.every = every
        self._written_at = time.monotonic()
        self._took = 0.0

    def latest(self) -> State | None:
        """The newest checkpoint that is whole, or None to begin at the first round.

        Raises:
            UserError: it is another training's.
        """
        for path in reversed(self._files()):
            try:
                header, state = decode(path.read_bytes())
            except ValueError as error:
                log(f"{path}: left aside, {error}")
                continue
            different = _differences(header["identity"], self.identity)
            if different:
                raise UserError(
                    f"{path}: is a checkpoint of another training: {'; '.join(different)}. "
                    "Empty the S3Uri of CheckpointConfig, or give this job one of its own"
                )
            if header["nthread"] != self.nthread:
                log(
                    f"{path}: was written with nthread {header['nthread']}, and this job has {self.nthread}: the model may "
                    "differ in its last digits from one that was trained without an interruption"
                )
            return state
        if self.folder.is_dir() and any(_OF_SAGEMAKER.fullmatch(path.name) for path in self.folder.iterdir()):
            log(
                f"{self.folder}: holds checkpoints of SageMaker's own container, which lack what it takes to go on exactly"
            )
        return None

    def after(self, rounds: int, state: Callable[[], State], last: bool) -> None:
        """Write a checkpoint if one is due, and always after the last round; then delete old ones."""
        if not last and not self._is_due(rounds):
            return
        began = time.monotonic()
        content = encode(state(), self.identity, self.nthread)
        with saving_to(self.folder):
            write_together({self.folder / f"checkpoint-{rounds:07d}": content})
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)
        self._written_at = time.monotonic()
        self._took = self._written_at - began

    def _is_due(self, rounds: int) -> bool:
        if self.every is not None:
            return rounds % self.every == 0
        return (time.monotonic() - self._written_at) * SHARE_OF_TIME >= self._took

    def _files(self) -> list[Path]:
        found = [path for path in self.folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_file()]
        return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


def encode(state: State, identity: Mapping[str, Any], nthread: int | None = None) -> bytes:
    """A line with the SHA-256 of all that follows, a line of JSON, and the models' bytes."""
    header = {
        "format": FORMAT,
        "identity": identity,
        "nthread": nthread,
        "history": state.history,
        "model_bytes": len(state.model),
        "has_best": state.best is not None,
    }
    rest = json.dumps(header).encode() + b"\n" + state.model + (state.best or b"")
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def decode(content: bytes) -> tuple[dict[str, Any], State]:
    """The header and the state.

    Raises:
        ValueError: the bytes are not what was written, or of another format.
    """
    digest, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise ValueError("it is damaged: its SHA-256 is not the one that it names")
    line, _, models = rest.partition(b"\n")
    try:
        header = json.loads(line)
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']}, this image reads {FORMAT}")
        if not isinstance(header["identity"], dict) or "nthread" not in header:
            raise TypeError("identity, nthread")
        cut = header["model_bytes"]
        return header, State(models[:cut], header["history"], models[cut:] if header["has_best"] else None)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no checkpoint of this image's ({error!r})") from error


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], within: str = "") -> list[str]:
    """What differs, as `hyperparameters eta is 0.3 there and 0.2 here`."""
    found = []
    for key in [*there, *(key for key in here if key not in there)]:
        one, other = there.get(key), here.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{within}{key} ")
        elif one != other:
            found.append(f"{within}{key} is {_short(one)} there and {_short(other)} here")
    return found


def _short(value: object) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
