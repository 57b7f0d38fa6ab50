"""Notebook instances for tests: what they print, and a program that stands for JupyterLab where the real one would be slow."""

from __future__ import annotations

import shutil
import sys
import threading
from collections import defaultdict
from pathlib import Path

from local_cloud.notebook_runtime.runtime import InstanceSpec
from tests.waiting import wait_for

ARN = "arn:aws:sagemaker:us-east-1:000000000000:notebook-instance/explore"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret-example",
    "AWS_SESSION_TOKEN": "token-example",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "https://127.0.0.1:4566",
}
STANDS_FOR_JUPYTER = """\
#!{python}
import http.server, json, os, pathlib, signal, subprocess, sys, time
options = dict(one[2:].split("=", 1) for one in sys.argv[1:] if "=" in one)
port = int(options["ServerApp.port"])
print("stands for JupyterLab", options["LabApp.default_url"], flush=True)
{before}
server = http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
runtime = pathlib.Path(os.environ["JUPYTER_RUNTIME_DIR"])
runtime.mkdir(parents=True, exist_ok=True)
(runtime / f"jpserver-{{os.getpid()}}.json").write_text(json.dumps({{"port": port}}))
server.serve_forever()
"""


class Printed:
    """What an instance has printed, by stream."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()

    def take(self, stream: str, line: str) -> None:
        with self._lock:
            self._lines[stream].append(line)

    def forget(self) -> None:
        with self._lock:
            self._lines.clear()

    def of(self, stream: str) -> list[str]:
        with self._lock:
            return list(self._lines[stream])

    def has(self, stream: str, text: str, timeout_s: float = 60) -> bool:
        return bool(wait_for(lambda: any(text in line for line in self.of(stream)), timeout_s, f"{stream}: no {text}"))


def instance_spec(folder: Path, printed: Printed, **more: object) -> InstanceSpec:
    values = {"name": "explore", "arn": ARN, "volume": folder / "volume", "environment": ENVIRONMENT}
    return InstanceSpec(**{**values, "on_line": printed.take, **more})  # type: ignore[arg-type]


def project_with_jupyter(folder: Path, before: str = "") -> Path:
    """A project whose .venv-notebook has the program that stands for JupyterLab."""
    program = folder / ".venv-notebook" / "bin" / "jupyter-lab"
    program.parent.mkdir(parents=True)
    program.write_text(STANDS_FOR_JUPYTER.format(python=sys.executable, before=before))
    program.chmod(0o755)
    program.with_name("python").symlink_to(sys.executable)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", program.parents[1])
    packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (program.parents[1] / packages).mkdir(parents=True)
    return folder
