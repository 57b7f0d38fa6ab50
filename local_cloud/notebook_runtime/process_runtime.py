"""Runs a notebook instance as a JupyterLab process where no container engine answers: it has no system of its own."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from local_cloud.containers import RUNNER, STARTED_WITH, leftovers
from local_cloud.containers.engine import NOTE
from local_cloud.notebook_runtime.instance_files import (
    READABLE,
    InstanceFile,
    aws_files,
    kernels,
    metadata,
    without_keys,
)
from local_cloud.notebook_runtime.notebook_python import NotebookPython
from local_cloud.notebook_runtime.runtime import Hook, InstanceSpec, RuntimeRefused
from local_cloud.notebook_runtime.started import CLOSING, Started
from local_cloud.notebook_runtime.supervised import SupervisedInstance, Supervisor, SystemSettings
from local_cloud.sagemaker import loopback_ports

logger = logging.getLogger(__name__)

PROJECT = Path(__file__).parents[2]
JUPYTER = Path(".venv-notebook") / "bin" / "jupyter-lab"
JUPYTER_SETTINGS = Path(__file__).with_name("image") / "jupyter"
SUPERVISOR = Path(__file__).with_name("supervisor") / "__main__.py"
END_TIMEOUT_S = 20.0
"""How long the supervisor may take to end all below it, above its own times for that (15 s): killed before, it would leave
them. No longer: one that hangs must not keep the local cloud's own end beyond the time that `sagestack down` waits."""
PASSED_ON = (
    "LANG",
    "LC_ALL",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
)
"""Variables of this machine that an instance gets: language, time zone, and how to reach git hosts and package indexes."""


class ProcessRuntime:
    """Runs JupyterLab of `.venv-notebook`, each instance with a home of its own below the state folder.

    Args:
        state_dir: of the local cloud.
        project: where `.venv-notebook` is.
    """

    def __init__(self, state_dir: Path, project: Path = PROJECT) -> None:
        self._project = project
        self._started: Started[ProcessInstance] = Started()
        # Supervisors end with the local cloud by themselves; what is left is of one that was killed, too.
        self._run_folder, ended = leftovers.run_folder(state_dir / "notebook-instances")
        if ended:
            logger.info("Ended notebook instances that a killed local cloud had left")

    @property
    def kind(self) -> str:
        """See NotebookRuntime."""
        return "process"

    def start(self, spec: InstanceSpec) -> ProcessInstance:
        """See NotebookRuntime."""
        jupyter = self._project / JUPYTER
        if not jupyter.is_file():
            raise RuntimeRefused(
                f"The notebook instance {spec.name} cannot start: no container engine answers, and JupyterLab is not "
                f"installed on this machine ({jupyter} is missing). Run `make jupyterlab`, which does for an instance without "
                "lifecycle scripts, or start Docker and the local cloud again (make down, make up), which does for all."
            )
        self._started.check_open()
        try:
            folder = Path(tempfile.mkdtemp(prefix="instance-", dir=self._run_folder))
        except FileNotFoundError as error:
            # `close` came between.
            raise RuntimeRefused(CLOSING) from error
        instance = ProcessInstance(spec, jupyter, folder, self._run_folder, self._started.forget)
        self._started.keep(instance)
        for line in limits(spec):
            spec.on_line("jupyter.log", NOTE + line)
        return instance

    def remove_volume(self, volume: Path) -> None:
        """See NotebookRuntime."""
        if volume.exists():
            shutil.rmtree(volume)

    def close(self) -> None:
        """See NotebookRuntime."""
        self._started.close()
        shutil.rmtree(self._run_folder, ignore_errors=True)


class ProcessInstance(SupervisedInstance):
    """A supervisor and its JupyterLab."""

    def __init__(
        self,
        spec: InstanceSpec,
        jupyter: Path,
        folder: Path,
        run_folder: Path,
        on_end: Callable[[ProcessInstance], None],
    ) -> None:
        self._folder = folder
        self._on_end = on_end
        self._ports: list[int] = []
        python = NotebookPython(jupyter.parents[1], folder / "python")
        python.link()
        self._process = subprocess.Popen(
            # Isolated: it needs nothing but the standard library, and no folder of anybody's.
            [sys.executable, "-I", str(SUPERVISOR)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=folder,
        )
        self._on_record = leftovers.record(run_folder, self._process.pid)
        supervisor = Supervisor(self._write, self._output(), spec.on_line, lambda: None)
        try:
            super().__init__(
                spec,
                supervisor,
                settings(spec, jupyter, python, folder),
                bind_to="127.0.0.1",
                take_port=self._port,
                end=self._ended,
            )
        except BaseException:
            self._ended()
            raise

    @property
    def pid(self) -> int:
        """The supervisor's; for tests that kill it."""
        return self._process.pid

    def run_hook(self, hook: Hook, script: str, timeout_s: float) -> int | None:
        """See Instance: a process cannot."""
        raise RuntimeRefused(refusal(hook, STARTED_WITH.get(RUNNER)))

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _output(self) -> Iterator[bytes]:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            yield from stdout

    def _port(self) -> tuple[int, int]:
        port = loopback_ports.take()
        self._ports.append(port)
        return port, port

    def _ended(self) -> None:
        """Make sure that the supervisor and all below it are gone."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            # What is still in the buffer reaches nobody.
            try:
                self._process.stdin.close()
            except OSError:
                logger.debug("The supervisor of a notebook instance was gone already")
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            leftovers.kill_group(self._process.pid)
            self._process.wait()
        self._on_record.unlink(missing_ok=True)
        for port in self._ports:
            loopback_ports.release(port)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._on_end(self)


def refusal(hook: Hook, runner: str | None) -> str:
    """Why a lifecycle script cannot run, and what to do.

    Args:
        hook: which.
        runner: the choice that the local cloud was started with, if any.
    """
    if runner == "process":
        why = f"{RUNNER}=process chose to do without a container engine"
        cure = f"Start the local cloud again with Docker and without {RUNNER}"
    else:
        why, cure = "no container engine answers on this machine", "Start Docker and the local cloud again"
    return (
        f"The lifecycle script {hook} cannot run: {why}. Lifecycle scripts change the system as root, and an instance that "
        f"is a process has no system of its own. {cure} (make down, make up), or give the instance no lifecycle configuration."
    )


def limits(spec: InstanceSpec) -> list[str]:
    """What an instance asks for that a process cannot give, one sentence each, for its log."""
    said = ["This notebook instance is a process: it has this machine's system, and lifecycle scripts cannot run."]
    if not spec.direct_internet:
        said.append("DirectInternetAccess=Disabled is not enforced: a process cannot be cut off the internet.")
    if not spec.root_access:
        said.append("RootAccess=Disabled needs nothing: a process has this machine's user's rights and no others.")
    return said


def settings(spec: InstanceSpec, jupyter: Path, python: NotebookPython, folder: Path) -> SystemSettings:
    """What the supervisor of a process begins with.

    Args:
        spec: the instance.
        jupyter: the program.
        python: of its notebooks.
        folder: of the instance; it is deleted when the instance stops, as an instance's system is on AWS.
    """
    home = folder / "home"
    machine: Mapping[str, str] = {name: STARTED_WITH[name] for name in PASSED_ON if name in STARTED_WITH}
    about = folder / "resource-metadata.json"
    # As on the instance, whose system is Linux; macOS has another place.
    data = home / ".local" / "share" / "jupyter"
    path = f"{python.programs}:{jupyter.parent}:{STARTED_WITH.get('PATH', '/usr/bin:/bin')}"
    files = [
        metadata(spec, about),
        # A terminal's shell is a login shell, in which the machine's profile sets PATH anew: its `pip` would be the machine's.
        InstanceFile(str(home / ".bash_profile"), READABLE, True, f'export PATH="{path}"\n'),
        *aws_files(spec.environment, home, is_users=True),
        *kernels(python.program, data),
        *python.files(),
    ]
    return {
        "home": str(home),
        "volume": str(spec.volume),
        "user": None,
        "environment": {
            "LANG": "C.UTF-8",
            **machine,
            **without_keys(spec.environment),
            "PATH": path,
            "JUPYTER_CONFIG_PATH": str(JUPYTER_SETTINGS),
            "JUPYTER_DATA_DIR": str(data),
            "JUPYTER_RUNTIME_DIR": str(data / "runtime"),
            # Or JupyterLab's environment, which has a kernel python3 of its own, would come before the user's folder.
            "JUPYTER_PREFER_ENV_PATH": "0",
            # /opt/ml is this machine's, and its programs look there unless they are told.
            "SAGESTACK_METADATA": str(about),
        },
        "jupyter": [str(jupyter)],
        "tickets": str(folder / "tickets"),
        "jupyter_log": str(folder / "jupyter.log"),
        "files": [file.entry() for file in files],
        "services": [],
    }
