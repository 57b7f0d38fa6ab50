"""Runs images as processes where no container engine answers: the same files, packages and program, this machine's Python.

A build context becomes a folder tree of what its Dockerfile copies, and a virtual environment with what it installs
(`dockerfile.py` says what is understood). Paths of the image are translated where they are arguments or variables;
`SAGEMAKER_BASE_DIR` tells the program where its `/opt/ml` is, as in AWS's own training toolkit. What a process cannot do
(no network, another user, other system packages) is said in the log of each job.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cloud.containers import STARTED_WITH, dockerfile, images, leftovers
from local_cloud.containers.engine import MAX_LINE_BYTES, NOTE, Container, ContainerError, ContainerSpec, Image, Lines

logger = logging.getLogger(__name__)

ML = "/opt/ml"
CLOSING_GRACE_S = 1.0
"""How long a container may take to end when the local cloud itself ends."""
CLOSING = "The local cloud is stopping."
BUILD_LINES_SHOWN = 20
"""How many of its last lines the error of a failed build shows: enough for pip's reason, short enough for a status."""
_FORMAT = "1"
"""Part of every cache key: raised when what is kept changes its form."""
_NAMES_OF_OTHER_ENVIRONMENTS = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")


@dataclass(frozen=True)
class Prepared:
    """What `image.json` in the folder of a prepared image says."""

    folder: Path
    environment_folder: Path
    variables: Mapping[str, str]
    workdir: str
    entrypoint: Sequence[str]
    command: Sequence[str]
    paths: Sequence[str]
    """Absolute paths of the image that exist in `folder/root`."""

    @classmethod
    def load(cls, folder: Path) -> Prepared:
        """Read it back.

        Raises:
            ContainerError: the folder is not that of a prepared image.
        """
        try:
            values: dict[str, Any] = json.loads((folder / "image.json").read_text())
            return cls(folder=folder, environment_folder=Path(values.pop("environment_folder")), **values)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ContainerError(f"{folder} is not a prepared image ({error})") from error

    @property
    def python(self) -> Path:
        """The interpreter of its virtual environment."""
        return self.environment_folder / "bin/python"


class ProcessEngine:
    """Runs images as processes; see the module."""

    def __init__(self, state_dir: Path) -> None:
        self._images = state_dir / "images"
        self._lock = threading.Lock()
        self._running: set[ProcessContainer] = set()
        self._builds: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._uv = _uv()
        runs = state_dir / "containers"
        for folder in runs.glob("run-*"):
            if leftovers.end_all(folder):
                logger.info("Ended processes that a killed local cloud had left")
            shutil.rmtree(folder, ignore_errors=True)
        runs.mkdir(parents=True, exist_ok=True)
        self._run_folder = Path(tempfile.mkdtemp(prefix="run-", dir=runs))
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
            folder = self._images / f"context-{_FORMAT}-{images.digest(archive)[:32]}"
            images.built(folder, lambda: self._build(archive, folder, uri, on_line), on_line, f"the image {uri}")
            if not (Prepared.load(folder).environment_folder / images.COMPLETE).exists():
                (folder / images.COMPLETE).unlink(missing_ok=True)
                images.built(folder, lambda: self._build(archive, folder, uri, on_line), on_line, f"the image {uri}")
        for line in (folder / "notes.txt").read_text().splitlines():
            on_line(line)
        return Image(uri=uri, reference=str(folder))

    def start(self, spec: ContainerSpec) -> Container:
        """See ContainerEngine."""
        if self._closed:
            raise ContainerError(CLOSING)
        prepared = Prepared.load(Path(spec.image.reference))
        translate = Translation(prepared, spec.ml_dir)
        home = Path(tempfile.mkdtemp(prefix="home-", dir=self._run_folder))
        environment = _environment(spec, prepared, translate, home)
        arguments = _command(spec, prepared, translate, environment["PATH"])
        if not spec.network:
            spec.on_line(
                f"{NOTE}Network isolation is not enforced: this job runs as a process, which cannot be cut off the network."
            )
        try:
            # Under the lock: what close() does not see as running must not start after it.
            with self._lock:
                if self._closed:
                    raise ContainerError(CLOSING)
                process = subprocess.Popen(
                    arguments,
                    cwd=translate.directory(prepared.workdir),
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                container = ProcessContainer(process, spec, self._run_folder, home, self._forget)
                self._running.add(container)
        except OSError as error:
            shutil.rmtree(home, ignore_errors=True)
            raise ContainerError(
                f"The container {spec.name} cannot start {arguments[0]}: {error.strerror or error}. "
                "A script needs a first line such as `#!/usr/bin/env python` and the right to be executed."
            ) from error
        container.follow()
        return container

    def close(self) -> None:
        """See ContainerEngine."""
        with self._lock:
            self._closed = True
            running, builds = list(self._running), list(self._builds)
        for build in builds:
            _kill_group(build.pid)
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

    def _build(self, archive: Path, folder: Path, uri: str, on_line: Callable[[str], None]) -> None:
        context, root = folder / "context", folder / "root"
        images.unzip(archive, context, uri)
        recipe = dockerfile.read((context / "Dockerfile").read_text())
        excluded = _excluded(context)
        paths = list(recipe.folders)
        for path in recipe.folders:
            (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        installs: list[dockerfile.Install] = []
        for step in recipe.steps:
            if isinstance(step, dockerfile.Copy):
                paths += _copy(step, context, root, excluded)
            elif isinstance(step, dockerfile.Install):
                _check_files(step, root)
                installs.append(step)
        shutil.rmtree(context)
        environment_folder = self._environment_for(installs, root, on_line)
        prepared = Prepared(
            folder, environment_folder, recipe.environment, recipe.workdir, recipe.entrypoint, recipe.command, paths
        )
        translate = Translation(prepared, Path(ML))
        for step in recipe.steps:
            if isinstance(step, dockerfile.Compile):
                self._run(
                    [str(prepared.python), "-m", "compileall", *map(translate.text, step.arguments)],
                    on_line,
                    f"Dockerfile line {step.line}: `python -m compileall`",
                    cwd=translate.directory(step.folder),
                )
        (folder / "notes.txt").write_text("".join(f"{line}\n" for line in _notes(recipe)))
        (folder / "image.json").write_text(
            json.dumps(
                {
                    "environment_folder": str(environment_folder),
                    "variables": dict(recipe.environment),
                    "workdir": recipe.workdir,
                    "entrypoint": list(recipe.entrypoint),
                    "command": list(recipe.command),
                    # The longest first: /opt/program/data before /opt/program.
                    "paths": sorted(set(paths), key=len, reverse=True),
                }
            )
        )

    def _environment_for(
        self, installs: Sequence[dockerfile.Install], root: Path, on_line: Callable[[str], None]
    ) -> Path:
        """The virtual environment with these packages; built once for the same requirements, whatever the code is."""
        key = hashlib.sha256(f"{_FORMAT} {sys.version} {sys.base_prefix} {platform.platform()}".encode())
        for install in installs:
            key.update(repr(install.arguments).encode())
            for option, path in install.files:
                for file in _with_included(root / path.lstrip("/")):
                    key.update(option.encode() + hashlib.sha256(file.read_bytes()).digest())
        folder = self._images / f"environment-{key.hexdigest()[:32]}"
        python = str(folder / "bin/python")

        def build() -> None:
            on_line(f"Building a Python {platform.python_version()} environment for the image's requirements")
            # Python's own compiled modules are written now: an image often forbids it at run time, and compiling numpy
            # and its like at every start would cost seconds.
            self._run(
                [
                    self._uv,
                    "venv",
                    "--quiet",
                    "--no-project",
                    "--allow-existing",
                    "--python",
                    sys.executable,
                    str(folder),
                ],
                on_line,
                "A virtual environment",
            )
            for install in installs:
                files = [text for option, path in install.files for text in (option, str(root / path.lstrip("/")))]
                self._run(
                    [self._uv, "pip", "install", "--compile-bytecode", "--python", python, *install.arguments, *files],
                    on_line,
                    f"Dockerfile line {install.line}: `{install.text}`",
                )

        images.built(folder, build, on_line, "the same Python environment")
        return folder

    def _run(self, arguments: list[str], on_line: Callable[[str], None], what: str, cwd: Path | None = None) -> None:
        """Run one command of a build, its lines passed on; raise with the last of them if it fails."""
        environment = {name: value for name, value in STARTED_WITH.items() if name not in _NAMES_OF_OTHER_ENVIRONMENTS}
        environment |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "PYTHONUNBUFFERED": "1"}
        lines: list[str] = []

        def take(line: str) -> None:
            lines.append(line)
            on_line(line)

        with self._lock:
            if self._closed:
                raise ContainerError(CLOSING)
            process = subprocess.Popen(
                arguments,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._builds.add(process)
        on_record = leftovers.record(self._run_folder, process.pid)
        try:
            _pump(process, Lines(take))
            code = process.wait()
        finally:
            on_record.unlink(missing_ok=True)
            with self._lock:
                self._builds.discard(process)
        if code != 0:
            tail = "\n".join(lines[-BUILD_LINES_SHOWN:])
            raise ContainerError(f"{what} failed (exit code {_exit_code(code)}):\n{tail}")


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
                _kill_group(self._process.pid)
        self._ended.wait()

    def follow(self) -> None:
        """Deliver the output and wait for the end, in threads of their own."""
        reader = threading.Thread(target=self._read, name=f"output-{self._spec.name}", daemon=True)
        reader.start()
        threading.Thread(target=self._wait, args=(reader,), name=f"wait-{self._spec.name}", daemon=True).start()

    def _read(self) -> None:
        _pump(self._process, Lines(self._spec.on_line))

    def _wait(self, reader: threading.Thread) -> None:
        code = self._process.wait()
        # A container ends with its first process; what that process started must not outlive it, nor hold its output open.
        _kill_group(self._process.pid)
        reader.join()
        self._on_record.unlink(missing_ok=True)
        shutil.rmtree(self._home, ignore_errors=True)
        self._code = _exit_code(code)
        self._on_end(self)
        self._ended.set()


class Translation:
    """From paths of the image to paths of this machine."""

    def __init__(self, prepared: Prepared, ml_dir: Path) -> None:
        self._root = prepared.folder / "root"
        self._bin = prepared.python.parent
        self._paths = [(path, self._root / path.lstrip("/")) for path in prepared.paths if path != "/"]
        # After what the image copied: it may have brought files below /opt/ml of its own, such as /opt/ml/code.
        self._paths.append((ML, ml_dir))

    def text(self, text: str) -> str:
        """A text that may begin with a path of the image, or be an option with one (`--data=/opt/ml/input`)."""
        option = re.match(r"^--?[\w-]+=", text)
        start = option.end() if option else 0
        if text[start : start + 1] != "/":
            return text
        return text[:start] + self._path(text[start:])

    def variable(self, text: str) -> str:
        """The value of a variable: one path, or several with colons between."""
        if "://" in text or not text.startswith("/"):
            return text
        return ":".join(self.text(part) for part in text.split(":"))

    def search_path(self, text: str) -> str:
        """PATH: the environment's programs stand where the image has Python's."""
        parts = [str(self._bin) if part == "/usr/local/bin" else self._path(part) for part in text.split(":")]
        if str(self._bin) not in parts:
            parts.insert(0, str(self._bin))
        return ":".join(dict.fromkeys(parts))

    def directory(self, path: str) -> Path:
        """A folder of the image, made if nothing was copied there."""
        mapped = Path(self._path(path))
        if str(mapped) == path:
            mapped = self._root / path.lstrip("/")
        mapped.mkdir(parents=True, exist_ok=True)
        return mapped

    def _path(self, path: str) -> str:
        for prefix, mapped in self._paths:
            if path == prefix or path.startswith(f"{prefix}/"):
                return f"{mapped}{path[len(prefix) :]}"
        return path


def _command(spec: ContainerSpec, prepared: Prepared, translate: Translation, search_path: str) -> list[str]:
    """What to start, by Docker's rules: arguments replace CMD, another entry point drops it."""
    if spec.entrypoint is not None:
        words = [*spec.entrypoint, *spec.arguments]
    else:
        words = [*prepared.entrypoint, *(spec.arguments or prepared.command)]
    if not words:
        raise ContainerError(
            f"The image {spec.image.uri} has no ENTRYPOINT and no CMD, and the request names no program."
        )
    program = words[0]
    if re.fullmatch(r"(/usr(/local)?/bin/)?python(3(\.\d+)?)?", program):
        found: str | None = str(prepared.python)
    elif "/" in program:
        mapped = Path(translate.text(program))
        found = str(mapped if mapped.is_absolute() else translate.directory(prepared.workdir) / mapped)
    else:
        found = shutil.which(program, path=search_path)
    if found is None:
        raise ContainerError(f"The image {spec.image.uri} has no program {program} in its PATH ({search_path}).")
    return [found, *map(translate.text, words[1:])]


def _environment(spec: ContainerSpec, prepared: Prepared, translate: Translation, home: Path) -> dict[str, str]:
    """The variables of a container: nothing of this program's own gets in."""
    variables = {name: translate.variable(value) for name, value in prepared.variables.items() if name != "PATH"}
    variables |= {name: translate.variable(value) for name, value in spec.environment.items() if name != "PATH"}
    search_path = spec.environment.get("PATH", prepared.variables.get("PATH", dockerfile.BASE_PATH))
    variables |= {
        "PATH": translate.search_path(search_path),
        "SAGEMAKER_BASE_DIR": str(spec.ml_dir),
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONUNBUFFERED": "1",
        # Packages that the user has for herself are not in the image.
        "PYTHONNOUSERSITE": "1",
    }
    variables.setdefault("LANG", "C.UTF-8")
    if spec.port is not None:
        variables |= {"SAGEMAKER_BIND_TO_PORT": str(spec.port), "SAGEMAKER_BIND_TO_HOST": "127.0.0.1"}
    return variables


def _notes(recipe: dockerfile.Recipe) -> Iterator[str]:
    """What differs between the image and the process that stands for it."""
    machine = ".".join(platform.python_version_tuple()[:2])
    if recipe.python and recipe.python != machine:
        yield f"The image has Python {recipe.python} ({recipe.base}); this machine's Python {machine} stands for it."
    for command in recipe.not_executed:
        yield f"Not executed, since this is a process and not a container: Dockerfile {command}"


def _copy(step: dockerfile.Copy, context: Path, root: Path, excluded: Callable[[Path], bool]) -> list[str]:
    """Copy as COPY does; the absolute paths in the image that now exist."""
    destination = root / step.destination.lstrip("/")
    into_folder = step.destination.endswith("/") or destination.is_dir()
    exist: list[str] = []
    for pattern in step.sources:
        relative = pattern.lstrip("/")
        found = sorted(context.glob(relative)) if re.search(r"[*?\[]", relative) else [context / relative]
        found = [path for path in found if path.exists() and not excluded(path)]
        if not found:
            raise ContainerError(f"Dockerfile line {step.line}: COPY {pattern}: no such file in the build context")
        for source in found:
            if not source.resolve().is_relative_to(context.resolve()):
                raise ContainerError(f"Dockerfile line {step.line}: COPY {pattern} leads out of the build context")
            if source.is_dir():
                _copy_folder(source, destination, excluded)
                exist += _top_level(step.destination, destination)
            else:
                target = destination / source.name if into_folder or len(found) > 1 else destination
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
                exist.append("/" + str(target.relative_to(root)))
    return exist


def _copy_folder(source: Path, destination: Path, excluded: Callable[[Path], bool]) -> None:
    """The content of a folder, not the folder itself: so does COPY."""

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if excluded(Path(folder) / name)}

    shutil.copytree(source, destination, dirs_exist_ok=True, symlinks=True, ignore=ignore)


def _top_level(path: str, folder: Path) -> list[str]:
    """What stands for a copied folder: itself, or its entries where it was copied over the image's root."""
    if path.strip("/"):
        return [path.rstrip("/")]
    return [f"/{entry.name}" for entry in folder.iterdir()]


def _excluded(context: Path) -> Callable[[Path], bool]:
    """Whether .dockerignore keeps a file of the context out of the image."""
    ignored = context / ".dockerignore"
    if not ignored.is_file():
        return lambda path: False
    # Only where it is needed: importing docker takes a tenth of a second.
    from docker.utils.build import exclude_paths

    lines = [line.strip() for line in ignored.read_text().splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    kept = {context / path for path in exclude_paths(str(context), patterns)}
    # A folder stays as long as something in it does: `!folder/file` takes a file back from an excluded folder.
    kept |= {parent for path in kept for parent in path.parents}
    return lambda path: path not in kept


def _check_files(install: dockerfile.Install, root: Path) -> None:
    for option, path in install.files:
        if not (root / path.lstrip("/")).is_file():
            raise ContainerError(
                f"Dockerfile line {install.line}: `{install.text}`: no COPY above it brings {path} ({option})"
            )


def _with_included(path: Path) -> Iterator[Path]:
    """A requirements file, and those that it includes."""
    yield path
    for line in path.read_text(errors="replace").splitlines():
        if match := re.match(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", line):
            included = path.parent / match[1]
            if included.is_file() and included != path:
                yield from _with_included(included)


def _pump(process: subprocess.Popen[bytes], lines: Lines) -> None:
    """Deliver what a process prints until it closes its output."""
    assert process.stdout is not None
    with process.stdout as stdout:
        while data := os.read(stdout.fileno(), MAX_LINE_BYTES):
            lines.feed(data)
    lines.end()


def _kill_group(pid: int) -> None:
    # EPERM is macOS's answer where only zombies are left in the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _exit_code(code: int) -> int:
    """As Docker tells the end by a signal: 128 and its number."""
    return code if code >= 0 else 128 - code


def _uv() -> str:
    """The path of uv, which stands beside this Python."""
    from uv import find_uv_bin

    return find_uv_bin()
