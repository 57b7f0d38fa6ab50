"""What the tests of the housing model share: the program, a finished run of it, and its server."""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from model_code.housing.housing import on_laptop
from model_code.housing.housing.columns import FEATURES
from model_code.housing.housing.contract import Paths

FOLDER = Path(on_laptop.__file__).parents[1]
DATA = FOLDER / "data" / "housing.csv"

# A row of the data, its target left out.
ROW = [0.00632, 18, 2.31, 0, 0.538, 6.575, 65.2, 4.09, 1, 296, 15.3, 4.98]
ROW_CSV = ",".join(f"{value:g}" for value in ROW)


def program(step: str | None, base: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a container would, but as a process."""
    command = [sys.executable, "-m", "housing", *([step] if step else []), *arguments]
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), **variables}
    return subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=60, check=False)


@functools.cache
def finished_run() -> Paths:
    """Preprocess, train and evaluate, done once by `python -m housing.on_laptop`. Read it, never write to it."""
    base = Path(tempfile.mkdtemp(prefix="housing-run-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    command = [sys.executable, "-m", "housing.on_laptop", str(base)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (base / "log").write_text(done.stdout + done.stderr)
    return Paths(base)


def copy_of_the_channels(base: Path) -> Paths:
    """A fresh /opt/ml in which training can start."""
    shutil.copytree(finished_run().base / "input", base / "input")
    return Paths(base)


def write_config(paths: Paths, name: str, content: Any) -> None:
    paths.config.mkdir(parents=True, exist_ok=True)
    (paths.config / name).write_text(content if isinstance(content, str) else json.dumps(content))


def booster_of(paths: Paths) -> xgboost.Booster:
    """The model as XGBoost alone reads it: the second opinion on everything that predicts."""
    return xgboost.Booster(model_file=paths.model / "model.ubj")


def errors_by_xgboost(rows: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    """RMSE and MAE of rows with the target first, as XGBoost's own evaluation prints them."""
    booster = booster_of(finished_run())
    booster.set_param([("eval_metric", "rmse"), ("eval_metric", "mae")])
    data = xgboost.DMatrix(rows[:, 1:], label=rows[:, 0], feature_names=list(FEATURES))
    return {name: float(value) for name, value in re.findall(r"x-(\w+):([0-9.]+)", booster.eval(data, name="x"))}


def expected_scores(rows: Sequence[Sequence[float]]) -> list[float]:
    data = xgboost.DMatrix(np.asarray(rows, dtype=np.float64), feature_names=list(FEATURES))
    return [float(score) for score in booster_of(finished_run()).predict(data)]


def table(file: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.loadtxt(file, delimiter=",")


def archive_of(files: Mapping[str, bytes], target: Path) -> Path:
    """A model.tar.gz with these files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(target, "w:gz") as packed:
        for name, content in files.items():
            file = Path(folder, "file")
            file.write_bytes(content)
            packed.add(file, arcname=name)
    return target


class Server:
    """A running `housing serve`."""

    def __init__(self, process: subprocess.Popen[str], port: int, started_in: float) -> None:
        self.process = process
        self.port = port
        self.started_in = started_in

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def call(
        self, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self.connect()
        try:
            return call(connection, method, path, body, headers)
        finally:
            connection.close()

    def invoke(self, body: bytes | str, content_type: str = "text/csv", accept: str | None = None) -> Answer:
        headers = {"Content-Type": content_type, **({"Accept": accept} if accept else {})}
        return self.call("POST", "/invocations", body, headers)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.content_type = response.getheader("Content-Type")
        self.headers = response.headers
        self.body = response.read()
        self.text = self.body.decode()

    def scores(self) -> list[float]:
        if self.content_type == "text/csv":
            return [float(line) for line in self.text.splitlines()]
        return [prediction["score"] for prediction in json.loads(self.text)["predictions"]]


def call(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    connection.request(method, path, body, dict(headers or {}))
    return Answer(connection.getresponse())


@contextmanager
def serving(base: Path, **variables: str) -> Iterator[Server]:
    """A server of the model below `base`, on a free port of the loopback; stopped in the end."""
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_HOST": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": "0",
        **variables,
    }
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "housing", "serve"],
        cwd=FOLDER,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith("Listening on "):
                yield Server(process, int(line.rsplit(":", 1)[1]), time.monotonic() - started)
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(seen))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
