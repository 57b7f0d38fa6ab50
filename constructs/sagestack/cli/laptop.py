"""Runs a model's jobs on this machine with no cloud at all, as the very program that its containers run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from sagestack.cli.errors import CliError
from sagestack.settings import Model

CHANNELS = ("train", "validation")
_OURS = ".sagestack-laptop"
"""Marks a folder that a run made, and that the next may empty."""


@dataclass(frozen=True)
class Laptop:
    """A folder that stands for `/opt/ml`, and the program that works in it.

    Between the jobs it does what SageMaker does: outputs become inputs, the model is packed.
    """

    model: Model
    base: Path
    python: str = sys.executable
    """An interpreter whose environment has what the image has. Default: this one's."""

    def __post_init__(self) -> None:
        if self.model.training.kind != "xgboost":
            raise CliError(
                f"The model {self.model.name} has an image of its own (training.kind: {self.model.training.kind}), "
                "and only its folder knows how to start that without a container.",
                hint=f"Look into model_code/{self.model.name}/README.md, or use the local cloud: make up, make deploy.",
            )

    def run(self, data: Path, *, quiet: bool = False) -> dict[str, object]:
        """Preprocess, train and evaluate; returns what evaluate reported.

        With `quiet`, what the jobs print goes to stderr, which keeps stdout for one JSON document.

        Raises:
            CliError: a job failed. What it printed has been printed.
        """
        content = data.read_bytes()  # before anything is emptied: it may lie in there
        self._claim()
        self._put(content, self.base / "processing/input/data" / data.name)
        self._job("preprocess", quiet)
        for channel in CHANNELS:
            self._copy(self.base / "processing/output" / channel, self.base / "input/data" / channel)
        self.configure()
        self._clear(self.base / "model")
        self._job("train", quiet)
        self._copy(self.base / "processing/output/test", self.base / "processing/input/test")
        archive = self.base / "processing/input/model/model.tar.gz"
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(self.base / "model", arcname=".")
        self._job("evaluate", quiet)
        report: dict[str, object] = json.loads(
            (self.base / "processing/output/evaluation/evaluation.json").read_text(encoding="utf-8")
        )
        return report

    def command(self, job: str) -> list[str]:
        """What starts a job of the image."""
        return [self.python, "-m", "xgboost_container", job]

    def environment(self) -> dict[str, str]:
        """The variables that put the folder in the place of `/opt/ml`, beside this program's own."""
        # The model's folder first: its package `model` takes the place of the image's empty one.
        image = self.model.folder.parent / "images" / self.model.training.kind
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.model.folder), str(image)]),
            "SAGEMAKER_BASE_DIR": str(self.base),
            "SAGEMAKER_BIND_TO_HOST": "127.0.0.1",
        }

    def _claim(self) -> None:
        """Take the folder, unless somebody else's files are in it: a run empties `model` and others below it."""
        mark = self.base / _OURS
        if self.base.exists() and not mark.is_file() and any(self.base.iterdir()):
            raise CliError(
                f"{self.base} holds files that no run of ours put there, and a run would delete some of them.",
                hint="Name an empty folder, or one that does not exist yet.",
            )
        self.base.mkdir(parents=True, exist_ok=True)
        mark.touch()

    def _job(self, name: str, quiet: bool) -> None:
        output = sys.stderr if quiet else None
        code = subprocess.run(self.command(name), env=self.environment(), stdout=output, check=False).returncode
        if code:
            raise CliError(
                f"{name} of the model {self.model.name} failed with exit code {code}.",
                hint=f"What it printed is above; all it worked with is in {self.base}.",
                code="run-failed",
            )

    def configure(self) -> None:
        """The files that SageMaker tells a training job of its configuration with."""
        config = self.base / "input/config"
        config.mkdir(parents=True, exist_ok=True)
        channel = {"ContentType": "text/csv", "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
        contents = {
            "hyperparameters": self.model.training.hyperparameter_texts,
            "inputdataconfig": {key: {**channel, "RecordWrapperType": "None"} for key in CHANNELS},
            "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"},
        }
        for name, content in contents.items():
            (config / f"{name}.json").write_text(json.dumps(content, indent=2), encoding="utf-8")

    def _copy(self, source: Path, target: Path) -> None:
        self._clear(target)
        shutil.copytree(source, target)

    @staticmethod
    def _clear(folder: Path) -> None:
        if folder.is_dir():
            shutil.rmtree(folder)

    @staticmethod
    def _put(content: bytes, target: Path) -> None:
        Laptop._clear(target.parent)
        target.parent.mkdir(parents=True)
        target.write_bytes(content)
