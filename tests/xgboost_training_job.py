"""A training job's folder for tests: channels, configuration, and the container's program run on it as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.image_environment import python_path

ROOT = Path(__file__).parents[1] / "model_code" / "images" / "xgboost"


def table(rows: int, seed: int, label: str = "binary") -> np.ndarray[Any, np.dtype[np.float64]]:
    """(rows, 6): the label and five features; the third is missing now and then."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 5))
    score = features[:, 0] + features[:, 1] ** 2 + generator.normal(size=rows) * 0.5
    labels = {
        "binary": (score > 1).astype(float),
        "number": score,
        "classes": np.digitize(score, [0.0, 1.5]).astype(float),
        "count": np.floor(np.exp(score / 3)),
        "time": np.exp(score / 3) * np.where(generator.random(rows) < 0.3, -1, 1),
        "relevance": np.digitize(score, [0.0, 1.5]).astype(float),
    }[label]
    features[generator.random(rows) < 0.1, 2] = np.nan
    return np.column_stack([labels, features])


def write_channel(base: Path, name: str, rows: np.ndarray[Any, Any], kind: str = "text/csv") -> None:
    folder = base / "input" / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join("" if np.isnan(value) else f"{value:.6g}" for value in row) for row in rows]
    (folder / "part-0.csv").write_text("\n".join(lines) + "\n")
    file = base / "input" / "config" / "inputdataconfig.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    config = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**config, name: {"ContentType": kind, "TrainingInputMode": "File"}}))


def make_job(base: Path, label: str = "binary", rows: int = 300, validation: bool = True, **given: Any) -> Path:
    """A job with the channels train and validation. Hyperparameters become strings, as the API sends them."""
    write_channel(base, "train", table(rows, 1, label))
    if validation:
        write_channel(base, "validation", table(150, 2, label))
    tell(base, **given)
    return base


def tell(base: Path, **given: Any) -> None:
    file = base / "input" / "config" / "hyperparameters.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({name: str(value) for name, value in {"nthread": 1, **given}.items()}))


def start(base: Path, *program: str) -> subprocess.Popen[str]:
    """The container's program on the folder, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, *(program or ("-m", "xgboost_container", "train"))],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": python_path(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(job: subprocess.Popen[str], start: str) -> None:
    """Read what the job prints up to a line that starts so."""
    assert job.stdout is not None
    assert any(line.startswith(start) for line in job.stdout), f"the job ended without a line that starts with {start}"


def end(job: subprocess.Popen[str], how: signal.Signals) -> str:
    """Send the signal, wait, and return the rest of what the job printed."""
    job.send_signal(how)
    return rest_of(job)


def rest_of(job: subprocess.Popen[str]) -> str:
    """Wait until the job has ended, and return what it printed since the last look.

    `communicate` with a timeout would leave out the lines that the stream had read ahead.
    """
    assert job.stdout is not None
    assert job.stderr is not None
    with job.stdout, job.stderr:
        rest = job.stdout.read()
        job.wait(120)
    return rest
