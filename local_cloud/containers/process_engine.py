"""Runs images as processes where no container engine answers: the same files, packages and program, this machine's Python.

A build context becomes a folder tree of what its Dockerfile copies, and a virtual environment with what it installs
(`dockerfile.py` says what is understood, `process_build.py` does it). Paths of the image are translated where they are
arguments or variables (`process_image.py`); `SAGEMAKER_BASE_DIR` tells the program where its `/opt/ml` is, as in AWS's own
training toolkit. What a process cannot do (no network, another user, other system packages) is said in each job's log.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local_cloud.containers import images, leftovers
from local_cloud.containers.engine import NOTE, Container, ContainerError, ContainerSpec, Image
from local_cloud.containers.process_build import CLOSING, Builder
from local_cloud.containers.process_image import Prepared, Translation, command, environment
from local_cloud.containers.processes import deliver_output, exit_code

logger = logging.getLogger(__name__)

CLOSING_GRACE_S = 1.0
"""How long a container may take to end when the local cloud itself ends."""


class ProcessEngine:
    """Runs images as processes; see the module."""

    def __init__(self, state_dir: Path) -> None:
        self._images = state_dir / "images"
        self._lock = threading.Lock()
        self._running: set[ProcessContainer] = set()
        self._closed = False
        self._run_folder, ended = leftovers.run_folder(state_dir / "containers")
        if ended:
            logger.info("Ended processes that a killed local cloud had left")
        self._builder = Builder(self._images, self._run_folder)
        # Its standard input closes when this program ends, even by SIGKILL: then it kills what is on record.
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", leftovers.__file__, str(self._run_folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    @property
    def kind(self) -> str:
        """See ContainerEngine."""
        return "process"

    def prepare(self, uri: str, fetch: Callable[[Path], None], on_line: Callable[[str], None]) -> Image:
        """See ContainerEngine."""
        if not images.is_build_context(uri):
            raise ContainerError(
                f"The image {uri} is in a registry, and no container engine answers on this machine to run it. Start "
                "Docker, or give the image as an s3:// address of its zipped build context (model_image: build-context)."
            )
        with images.fetched(fetch, self._images) as archive:
            folder = self._builder.build(archive, uri, on_line)
        return Image(uri=uri, reference=str(folder), labels=Prepared.load(folder).labels)

    def start(self, spec: ContainerSpec) -> Container:
        """See ContainerEngine."""
        if self._closed:
            raise ContainerError(CLOSING)
        prepared = Prepared.load(Path(spec.image.reference))
        translate = Translation(prepared, spec.ml_dir)
        try:
            home = Path(tempfile.mkdtemp(prefix="home-", dir=self._run_folder))
        except FileNotFoundError as error:
            # It was closed since, and its watcher has cleaned up.
            raise ContainerError(CLOSING) from error
        try:
            variables = environment(spec, prepared, translate, home)
            arguments = command(spec, prepared, translate, variables["PATH"])
            if not spec.network:
                spec.on_line(
                    f"{NOTE}Network isolation is not enforced: this job runs as a process, which cannot be cut off the "
                    "network."
                )
            if spec.hosts and spec.beside is None:
                spec.on_line(
                    f"{NOTE}The hosts {', '.join(spec.hosts)} are processes of this machine: these names do not resolve, and "
                    "all of them are 127.0.0.1 (SAGEMAKER_HOST_ADDRESSES)."
                )
            container = self._started(spec, arguments, translate.directory(prepared.workdir), variables, home)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        container.follow()
        return container

    def _started(
        self, spec: ContainerSpec, arguments: Sequence[str], folder: Path, variables: Mapping[str, str], home: Path
    ) -> ProcessContainer:
        # Under the lock: what close() does not see as running must not start after it.
        with self._lock:
            if self._closed:
                raise ContainerError(CLOSING)
            try:
                process = subprocess.Popen(
                    arguments,
                    cwd=folder,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ContainerError(
                    f"The container {spec.name} cannot start {arguments[0]}: {error.strerror or error}. "
                    "A script needs a first line such as `#!/usr/bin/env python` and the right to be executed."
                ) from error
            container = ProcessContainer(process, spec, self._run_folder, home, self._forget)
            self._running.add(container)
            return container

    def close(self) -> None:
        """See ContainerEngine."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        self._builder.close()
        stopping = [threading.Thread(target=container.stop, args=(CLOSING_GRACE_S,)) for container in running]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
        self._watcher.wait()

    def _forget(self, container: ProcessContainer) -> None:
        with self._lock:
            self._running.discard(container)


class ProcessContainer:
    """A process that stands for a container."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        spec: ContainerSpec,
        run_folder: Path,
        home: Path,
        on_end: Callable[[ProcessContainer], None],
    ) -> None:
        self._process = process
        self._spec = spec
        self._home = home
        self._on_end = on_end
        self._on_record = leftovers.record(run_folder, process.pid)
        self._ended = threading.Event()
        self._code: int | None = None

    @property
    def pid(self) -> int | None:
        """See Container."""
        return self._process.pid

    def wait(self, timeout_s: float | None = None) -> int | None:
        """See Container."""
        self._ended.wait(timeout_s)
        return self._code

    def stop(self, grace_s: float) -> None:
        """See Container. As in a container, SIGTERM reaches the first process alone, and its end ends all others."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            if not self._ended.wait(grace_s):
                leftovers.kill_group(self._process.pid)
        self._ended.wait()

    def follow(self) -> None:
        """Deliver the output and wait for the end, in threads of their own."""
        reader = threading.Thread(target=self._read, name=f"output-{self._spec.name}", daemon=True)
        reader.start()
        threading.Thread(target=self._wait, args=(reader,), name=f"wait-{self._spec.name}", daemon=True).start()

    def _read(self) -> None:
        deliver_output(self._process, self._spec.on_line)

    def _wait(self, reader: threading.Thread) -> None:
        code = self._process.wait()
        # A container ends with its first process; what that process started must not outlive it, nor hold its output open.
        leftovers.kill_group(self._process.pid)
        reader.join()
        self._on_record.unlink(missing_ok=True)
        shutil.rmtree(self._home, ignore_errors=True)
        self._code = exit_code(code)
        self._on_end(self)
        self._ended.set()
