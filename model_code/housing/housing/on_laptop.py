"""Runs preprocess, train and evaluate on this machine, and does between them what SageMaker does.

    python -m housing.on_laptop FOLDER

FOLDER stands for /opt/ml and is created. Each step is the same program that a container would run; between the
steps, outputs become inputs and the model is packed into model.tar.gz. Not part of the image.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from .contract import Paths

HERE = Path(__file__).parents[1]


def run(folder: Path, data: Path) -> int:
    """Run the three steps below `folder`; the first exit code that is not 0, or 0."""
    paths = Paths(folder.resolve())
    _put(data, paths.processing_input / "data" / data.name)
    if code := _step("preprocess", paths):
        return code
    for channel in ("train", "validation"):
        _put(paths.processing_output / channel / f"{channel}.csv", paths.channel(channel) / f"{channel}.csv")
    if code := _step("train", paths):
        return code
    _put(paths.processing_output / "test" / "test.csv", paths.processing_input / "test" / "test.csv")
    archive = paths.processing_input / "model" / "model.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(paths.model, arcname=".")
    return _step("evaluate", paths)


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _step(name: str, paths: Paths) -> int:
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(paths.base)}
    return subprocess.run([sys.executable, "-m", "housing", name], cwd=HERE, env=environment, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="stands for /opt/ml")
    parser.add_argument("--data", type=Path, default=HERE / "data" / "housing.csv", help="default data/housing.csv")
    arguments = parser.parse_args()
    code = run(arguments.folder, arguments.data)
    if not code:
        folder = arguments.folder.resolve()
        print(f"\nDone. Serve the model with:\n  SAGEMAKER_BASE_DIR={folder} python -m housing serve")
    return code


if __name__ == "__main__":
    sys.exit(main())
