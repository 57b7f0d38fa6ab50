"""An environment with exactly what the XGBoost image installs: what its own program is measured in."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.figures import run
from tests.local_cloud_fixtures import ROOT

IMAGE = ROOT / "model_code/images/xgboost"


def make(folder: Path) -> Path:
    """Install the image's requirements below `folder`, as its Dockerfile does; returns the interpreter."""
    environment = folder / "environment"
    python = environment / "bin/python"
    run("uv", "venv", "--quiet", str(environment))
    run(
        *("uv", "pip", "install", "--quiet", "--python", str(python), "--no-deps", "--require-hashes"),
        *("--compile-bytecode", "-r", str(IMAGE / "requirements.txt")),
    )
    return python


def size(python: Path) -> int:
    """Bytes of the installed packages, their bytecode included."""
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    return sum(path.stat().st_blocks * 512 for path in packages.rglob("*") if not path.is_symlink())


def variables(base: Path, **more: str) -> dict[str, str]:
    """The environment variables of a container, with `base` in the place of /opt/ml."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(IMAGE),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_HOST": "127.0.0.1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(python: Path, base: Path, port: int, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The image's server as one process, which is all of it: one worker, one core."""
    with subprocess.Popen(
        [str(python), "-m", "xgboost_container", "serve"],
        env=variables(base, SAGEMAKER_BIND_TO_PORT=str(port), SAGEMAKER_MODEL_SERVER_WORKERS="1", **more),
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)
