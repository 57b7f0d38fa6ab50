"""Measures the XGBoost image's training: what it adds to plain `xgboost.train`, and its memory from Parquet.

The data is 1,000,000 rows of 50 features (547 MB as CSV). SageMaker's own container peaked at 1,118 MB from Parquet on it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench import image_environment
from tests.bench.figures import Row, stated

ROWS, FEATURES, ROUNDS = 1_000_000, 50, 50
RUNS = 3
HYPERPARAMETERS = {"objective": "reg:squarederror", "num_round": str(ROUNDS), "max_depth": "6", "seed": "0"}
SAGEMAKERS_PEAK_FROM_PARQUET = 1118e6

_DATA = """
import sys
import numpy as np
generator = np.random.default_rng(0)
with open(sys.argv[1] + "/train.csv", "wb") as file:
    for start in range(0, ROWS, 50_000):
        rows = generator.normal(size=(50_000, FEATURES + 1))
        rows[:, 0] = rows[:, 1] * rows[:, 2] + rows[:, 3] + 0.1 * rows[:, 0]
        np.savetxt(file, rows, delimiter=",", fmt="%.7f")
"""

_AS_PARQUET = """
import sys
import pyarrow.csv, pyarrow.parquet
names = ["label", *(f"f{column}" for column in range(FEATURES))]
reader = pyarrow.csv.open_csv(sys.argv[1], read_options=pyarrow.csv.ReadOptions(column_names=names))
with pyarrow.parquet.ParquetWriter(sys.argv[2], reader.schema) as writer:
    for batch in reader:
        writer.write_batch(batch)
"""

# The same loader, and nothing else of ours: what there is to compare with.
_PLAIN = """
import xgboost_container.without_scipy
import json, os, sys, time
import xgboost
from xgboost_container.contract import Paths
from xgboost_container.training.input.channels import open_channels
began = time.perf_counter()
channels = open_channels(Paths.from_environment())
loaded = time.perf_counter()
train = channels.train.matrix(max_bin=256, ref=None, nthread=os.cpu_count())
xgboost.train(PARAMETERS, train, ROUNDS, evals=[(train, "train")])
"""


def _run(python: Path, base: Path, *arguments: str) -> tuple[float, float]:
    """Run a program to its end; returns its seconds and the most memory it had, in bytes."""
    # A process of its own, since a parent knows only the largest of all its children.
    program = (
        "import json, resource, subprocess, sys, time; began = time.perf_counter();"
        "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode;"
        "print(json.dumps([code, time.perf_counter() - began,"
        " resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(python), *arguments],
        env=image_environment.variables(base),
        capture_output=True,
        text=True,
        check=True,
    )
    code, seconds, kilobytes = json.loads(done.stdout)
    if code:
        sys.exit(f"{arguments} failed:\n{done.stderr[-4000:]}")
    return seconds, kilobytes * 1024


def _prepare(base: Path, source: Path, content_type: str) -> None:
    """Lay the file out as SageMaker would."""
    shutil.rmtree(base, ignore_errors=True)
    for folder in ("input/config", "input/data/train", "model", "output/data"):
        (base / folder).mkdir(parents=True)
    (base / "input/data/train" / source.name).hardlink_to(source)
    channel = {"ContentType": content_type, "TrainingInputMode": "File", "RecordWrapperType": "None"}
    (base / "input/config/inputdataconfig.json").write_text(json.dumps({"train": channel}))
    (base / "input/config/hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))


def training() -> Iterator[Row]:
    """The image's program beside plain XGBoost, in turn, and the memory of both kinds of files."""
    sizes = f"ROWS, FEATURES = {ROWS}, {FEATURES}\n"
    with tempfile.TemporaryDirectory() as folder:
        python = image_environment.make(Path(folder))
        data, base = Path(folder) / "data", Path(folder) / "ml"
        data.mkdir()
        subprocess.run([sys.executable, "-c", sizes + _DATA, str(data)], check=True)
        csv, parquet = data / "train.csv", data / "train.parquet"
        subprocess.run([sys.executable, "-c", sizes + _AS_PARQUET, str(csv), str(parquet)], check=True)
        parameters = {"objective": "reg:squarederror", "max_depth": 6, "seed": 0}
        plain = f"PARAMETERS, ROUNDS = {parameters!r}, {ROUNDS}\n" + _PLAIN
        for source, content_type in ((csv, "text/csv"), (parquet, "application/x-parquet")):
            _prepare(base, source, content_type)
            ours, plains, peaks = [], [], []
            for _ in range(RUNS):
                seconds, _ = _run(python, base, "-c", plain)
                plains.append(seconds)
                seconds, peak = _run(python, base, "-m", "xgboost_container", "train")
                ours.append(seconds)
                peaks.append(peak)
            added = [100 * (mine / theirs - 1) for mine, theirs in zip(ours, plains, strict=True)]
            name = f"1e6 x 50 from {source.suffix[1:]}, {ROUNDS} rounds"
            yield f"{name}: plain xgboost.train on the same loader", stated(plains), ""
            yield f"{name}: the image's training", stated(ours), ""
            yield f"{name}: added, paired runs", stated(added, "%"), "at most 5 %"
            bound = f"at most {0.6 * SAGEMAKERS_PEAK_FROM_PARQUET / 1e6:.0f} MB" if source is parquet else ""
            yield f"{name}: the most memory it had", f"{max(peaks) / 1e6:.0f} MB", bound
