"""Builds what stands for an image: the files that its Dockerfile copies, and a virtual environment of what it installs.

Both are kept by content, apart from each other: other code with the same requirements needs no new environment.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from uv import find_uv_bin

from local_cloud.containers import STARTED_WITH, dockerfile, images, leftovers
from local_cloud.containers.engine import ContainerError
from local_cloud.containers.process_image import ML, Prepared, Translation
from local_cloud.containers.processes import deliver_output, exit_code

CLOSING = "The local cloud is stopping."
BUILD_LINES_SHOWN = 20
"""How many of its last lines the error of a failed build shows: enough for pip's reason, short enough for a status."""
_FORMAT = "1"
_CONTEXT_FORMAT = "2"
"""Part of the cache keys of environments and of images: raised when what is kept changes its form."""
_NOTES = "notes.txt"
_NAMES_OF_OTHER_ENVIRONMENTS = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")


class Builder:
    """Builds images for processes, each once."""

    def __init__(self, images_folder: Path, run_folder: Path) -> None:
        """Nothing is built yet.

        Args:
            images_folder: keeps what was built, also across restarts.
            run_folder: keeps the records of running commands, for whoever cleans up after a killed local cloud.
        """
        self._images = images_folder
        self._run_folder = run_folder
        self._uv = find_uv_bin()
        self._lock = threading.Lock()
        self._commands: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def build(self, archive: Path, uri: str, on_line: Callable[[str], None]) -> Path:
        """The folder of the image that a zipped build context makes; quick when it was built before.

        Raises:
            ContainerError: the build fails.
        """
        folder = self._images / f"context-{_CONTEXT_FORMAT}-{images.digest(archive)[:32]}"

        def has_environment() -> bool:
            try:
                # Somebody may have made room by removing it: without its environment the image is not whole.
                return (Prepared.load(folder).environment_folder / images.COMPLETE).exists()
            except ContainerError:
                # Another job has just begun to build it anew.
                return False

        images.built(
            folder, lambda: self._build(archive, folder, uri, on_line), on_line, f"the image {uri}", has_environment
        )
        for line in (folder / _NOTES).read_text().splitlines():
            on_line(line)
        return folder

    def close(self) -> None:
        """End what is being built; nothing is built any more."""
        with self._lock:
            self._closed = True
            commands = list(self._commands)
        for command in commands:
            leftovers.kill_group(command.pid)

    def _build(self, archive: Path, folder: Path, uri: str, on_line: Callable[[str], None]) -> None:
        context, root = folder / "context", folder / "root"
        images.unzip(archive, context, uri)
        text = (context / "Dockerfile").read_text()
        recipe = dockerfile.read(text)
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
            folder=folder,
            environment_folder=environment_folder,
            variables=dict(recipe.environment),
            workdir=recipe.workdir,
            entrypoint=recipe.entrypoint,
            command=recipe.command,
            paths=sorted(set(paths), key=len, reverse=True),
            labels=dockerfile.labels(text),
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
        (folder / _NOTES).write_text("".join(f"{line}\n" for line in _notes(recipe)))
        prepared.save()

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
        last_lines: deque[str] = deque(maxlen=BUILD_LINES_SHOWN)

        def take(line: str) -> None:
            last_lines.append(line)
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
            self._commands.add(process)
        on_record = leftovers.record(self._run_folder, process.pid)
        try:
            deliver_output(process, take)
            code = process.wait()
        finally:
            on_record.unlink(missing_ok=True)
            with self._lock:
                self._commands.discard(process)
        if code != 0:
            tail = "\n".join(last_lines)
            raise ContainerError(f"{what} failed (exit code {exit_code(code)}):\n{tail}")


def _notes(recipe: dockerfile.Recipe) -> Iterator[str]:
    """What differs between the image and the process that stands for it."""
    machine = ".".join(platform.python_version_tuple()[:2])
    if recipe.python and recipe.python != machine:
        yield f"The image has Python {recipe.python} ({recipe.base}); this machine's Python {machine} stands for it."
    by_line: dict[str, list[str]] = {}
    for command in recipe.not_executed:
        line, _, words = command.partition(": ")
        by_line.setdefault(line, []).append(words)
    for line, commands in by_line.items():
        yield f"Not executed, since this is a process and not a container: Dockerfile {line}: {'; '.join(commands)}"


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
