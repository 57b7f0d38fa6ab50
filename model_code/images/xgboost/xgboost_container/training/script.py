"""Runs the user's own training script from the channel `code`, as SageMaker's framework containers do.

Hyperparameters and environment as in "SageMaker Training Toolkit: environment variables" (the README of AWS's
toolkit): the script is called with `--name value` and finds its folders in SM_MODEL_DIR, SM_CHANNEL_TRAIN and so on.
Code comes from the channel and from nowhere else, since the container has no network.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from ..contract import AlgorithmError, Paths, Stopped, UserError, log, read_config
from ..machine import usable_cpus
from .script_archive import extract

PROGRAM = "sagemaker_program"
SUBMIT_DIRECTORY = "sagemaker_submit_directory"
CODE = "code"
_ARCHIVES = (".tar.gz", ".tgz")


def is_wanted(paths: Paths, given: Mapping[str, Any]) -> bool:
    """Whether this job brings its own script: it says so, or has the channel for it."""
    return PROGRAM in given or paths.channel(CODE).is_dir()


def run(paths: Paths, given: Mapping[str, Any]) -> None:
    """Run the script to its end.

    Raises:
        UserError: there is no script, its archive is not safe, or it ended with an exit code other than 0.
        AlgorithmError: it was killed.
        Stopped: SIGTERM came; the script was told, and had the time that SageMaker gives.
    """
    values = {name: _decoded(value) for name, value in given.items()}
    program = str(values.get(PROGRAM) or "")
    if not program:
        raise UserError(f"the channel {CODE} needs the hyperparameter {PROGRAM}: the name of the script in it")
    with _code(paths, values.get(SUBMIT_DIRECTORY)) as folder:
        script = folder / program
        if not script.resolve().is_relative_to(folder.resolve()) or not script.is_file():
            there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
            raise UserError(
                f"{PROGRAM} is {program!r}, and there is no such file in the channel {CODE}, which holds {there}"
            )
        if (folder / "requirements.txt").is_file():
            log("requirements.txt of the channel code is not installed: the container has no network")
        hyperparameters = {name: value for name, value in values.items() if not name.startswith("sagemaker_")}
        command = [*(["/bin/sh"] if script.suffix == ".sh" else [sys.executable, "-u"]), str(script)]
        command += arguments(hyperparameters)
        log(f"Running {program} {' '.join(arguments(hyperparameters))}".rstrip())
        _run(command, folder, environment(paths, hyperparameters, folder, program), paths, program)


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """`--name value` for each, sorted by name; `-n value` where the name is one letter."""
    found = []
    for name in sorted(hyperparameters):
        found += [f"-{name}" if len(name) == 1 else f"--{name}", str(hyperparameters[name])]
    return found


def environment(paths: Paths, hyperparameters: Mapping[str, Any], folder: Path, program: str) -> dict[str, str]:
    """What the script finds in its environment, beside what is there already."""
    resources = read_config(paths.config / "resourceconfig.json") or {}
    channels = read_config(paths.config / "inputdataconfig.json") or {}
    data = paths.base / "input" / "data"
    names = sorted(channels) or sorted(path.name for path in data.iterdir() if path.is_dir())
    hosts = resources.get("hosts", ["algo-1"])
    cpus = usable_cpus()
    own = {
        "SM_MODEL_DIR": str(paths.model),
        "SM_OUTPUT_DIR": str(paths.base / "output"),
        "SM_OUTPUT_DATA_DIR": str(paths.output_data),
        "SM_OUTPUT_INTERMEDIATE_DIR": str(paths.base / "output" / "intermediate"),
        "SM_INPUT_DIR": str(paths.base / "input"),
        "SM_INPUT_CONFIG_DIR": str(paths.config),
        "SM_CHANNELS": json.dumps(names),
        "SM_INPUT_DATA_CONFIG": json.dumps(channels),
        "SM_RESOURCE_CONFIG": json.dumps(resources),
        "SM_HPS": json.dumps(dict(hyperparameters)),
        "SM_USER_ARGS": json.dumps(arguments(hyperparameters)),
        "SM_HOSTS": json.dumps(hosts),
        "SM_CURRENT_HOST": str(resources.get("current_host", hosts[0])),
        "SM_CURRENT_INSTANCE_TYPE": str(resources.get("current_instance_type", "")),
        "SM_CURRENT_INSTANCE_GROUP": str(resources.get("current_group_name", "")),
        "SM_NETWORK_INTERFACE_NAME": str(resources.get("network_interface_name", "eth0")),
        "SM_NUM_CPUS": str(cpus),
        "SM_NUM_GPUS": "0",
        "SM_LOG_LEVEL": "20",
        "SM_MODULE_DIR": str(folder),
        "SM_MODULE_NAME": Path(program).stem,
        "SM_USER_ENTRY_POINT": program,
        **{f"SM_CHANNEL_{name.upper()}": str(paths.channel(name)) for name in names},
        **{f"SM_HP_{name.upper()}": str(value) for name, value in hyperparameters.items()},
    }
    python_path = [str(folder), os.environ.get("PYTHONPATH", "")]
    own["SM_TRAINING_ENV"] = json.dumps(
        {
            "additional_framework_parameters": {},
            "channel_input_dirs": {name: str(paths.channel(name)) for name in names},
            "current_host": own["SM_CURRENT_HOST"],
            "hosts": hosts,
            "hyperparameters": dict(hyperparameters),
            "input_config_dir": own["SM_INPUT_CONFIG_DIR"],
            "input_data_config": channels,
            "input_dir": own["SM_INPUT_DIR"],
            "job_name": os.environ.get("TRAINING_JOB_NAME", ""),
            "log_level": 20,
            "model_dir": own["SM_MODEL_DIR"],
            "module_dir": own["SM_MODULE_DIR"],
            "module_name": own["SM_MODULE_NAME"],
            "network_interface_name": own["SM_NETWORK_INTERFACE_NAME"],
            "num_cpus": cpus,
            "num_gpus": 0,
            "output_data_dir": own["SM_OUTPUT_DATA_DIR"],
            "output_dir": own["SM_OUTPUT_DIR"],
            "output_intermediate_dir": own["SM_OUTPUT_INTERMEDIATE_DIR"],
            "resource_config": resources,
            "user_entry_point": program,
        }
    )
    return {
        **os.environ,
        **own,
        "PYTHONPATH": os.pathsep.join(part for part in python_path if part),
        "PYTHONDONTWRITEBYTECODE": "1",  # the channel is mounted for reading
    }


@contextmanager
def _code(paths: Paths, submitted: Any) -> Iterator[Path]:
    """The folder with the script: the channel, a folder in it, or what is in its archive."""
    channel = paths.channel(CODE)
    place = _inside(paths, str(submitted)) if submitted else channel
    if not channel.is_dir():
        raise UserError(f"{PROGRAM} needs the channel {CODE}, and there is no folder {channel}")
    if place.is_dir():
        archives = [path for path in place.iterdir() if path.name.endswith(_ARCHIVES)]
        if len(archives) == 1 and len(list(place.iterdir())) == 1:
            place = archives[0]
    if place.is_dir():
        yield place
    elif place.is_file():
        folder = Path(tempfile.mkdtemp(prefix="code-"))
        try:
            extract(place, folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        raise UserError(f"{SUBMIT_DIRECTORY} is {submitted!r}, and nothing is there")


def _inside(paths: Paths, submitted: str) -> Path:
    if "://" in submitted:
        raise UserError(
            f"{SUBMIT_DIRECTORY} is {submitted!r}: training has no network. Give the code as the channel {CODE}, and "
            f"{SUBMIT_DIRECTORY} as /opt/ml/input/data/{CODE}"
        )
    place = Path(submitted)
    if place.is_relative_to("/opt/ml"):
        place = paths.base / place.relative_to("/opt/ml")
    channel = paths.channel(CODE)
    place = place if place.is_absolute() else channel / place
    if not place.resolve().is_relative_to(channel.resolve()):
        raise UserError(
            f"{SUBMIT_DIRECTORY} is {submitted!r}: it must be in the channel {CODE}, /opt/ml/input/data/{CODE}"
        )
    return place


def _run(command: list[str], folder: Path, variables: dict[str, str], paths: Paths, program: str) -> None:
    for output in (paths.model, paths.output_data):
        output.mkdir(parents=True, exist_ok=True)
    last_lines: deque[bytes] = deque(maxlen=20)
    process: subprocess.Popen[bytes] | None = None
    told: list[int] = []
    too_early: list[int] = []

    def forward(signum: int, frame: FrameType | None) -> None:
        told.append(signum)
        if process is None:
            too_early.append(signum)
        else:
            process.send_signal(signum)

    # Before the script starts: from its first moment on, SIGTERM is for it, and does not end this program without it.
    previous = signal.signal(signal.SIGTERM, forward)
    try:
        process = subprocess.Popen(command, cwd=folder, env=variables, stderr=subprocess.PIPE)
        # Each once: a second one may be what a script takes for "at once".
        for signum in too_early:
            process.send_signal(signum)
        assert process.stderr is not None  # for the type checker
        relay = threading.Thread(target=_relay, args=(process.stderr, last_lines), daemon=True)
        relay.start()
        code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
    relay.join(5)
    if code == 0:
        return
    if told:
        raise Stopped
    if code < 0:
        raise AlgorithmError(f"{program} was killed by signal {-code}{' (out of memory?)' if code == -9 else ''}")
    said = _own_reason(paths) or _last(last_lines)
    raise UserError(f"{program} ended with exit code {code}{': ' if said else ''}{said}")


def _relay(stream: IO[bytes], last_lines: deque[bytes]) -> None:
    for line in stream:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        last_lines.append(line)


def _own_reason(paths: Paths) -> str:
    """What the script itself wrote for SageMaker to show."""
    try:
        return paths.training_failure.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _last(lines: deque[bytes]) -> str:
    # A copy: what the script left running may still be printing.
    texts = [line.decode(errors="replace").strip() for line in lines.copy()]
    return next((text for text in reversed(texts) if text), "")


def _decoded(value: Any) -> Any:
    """SDKs encode values as JSON: `"5"` is the number 5, `"\\"a\\""` the word a. What is no JSON is a word."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
