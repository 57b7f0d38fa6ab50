"""What stands for an image where processes stand for containers: its files, its packages, and how its paths are translated."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local_cloud.containers import dockerfile
from local_cloud.containers.engine import ContainerError, ContainerSpec

ML = "/opt/ml"
_DESCRIPTION = "image.json"


@dataclass(frozen=True)
class Prepared:
    """What `image.json` in the folder of a prepared image says; `root` beside it holds what the image copied."""

    folder: Path
    environment_folder: Path
    variables: Mapping[str, str]
    workdir: str
    entrypoint: Sequence[str]
    command: Sequence[str]
    paths: Sequence[str]
    """Absolute paths of the image that exist below `root`; the longest first: /opt/program/data before /opt/program."""
    labels: Mapping[str, str]

    @classmethod
    def load(cls, folder: Path) -> Prepared:
        """Read it back.

        Raises:
            ContainerError: the folder is not that of a prepared image.
        """
        try:
            values: dict[str, Any] = json.loads((folder / _DESCRIPTION).read_text())
            return cls(folder=folder, environment_folder=Path(values.pop("environment_folder")), **values)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ContainerError(f"{folder} is not a prepared image ({error})") from error

    def save(self) -> None:
        """Write it down, for `load`."""
        values = {name: value for name, value in asdict(self).items() if name != "folder"}
        (self.folder / _DESCRIPTION).write_text(
            json.dumps({**values, "environment_folder": str(self.environment_folder)})
        )

    @property
    def root(self) -> Path:
        """The root of its file system, as far as the image copied something."""
        return self.folder / "root"

    @property
    def python(self) -> Path:
        """The interpreter of its virtual environment."""
        return self.environment_folder / "bin/python"


class Translation:
    """From paths of the image to paths of this machine."""

    def __init__(self, prepared: Prepared, ml_dir: Path) -> None:
        self._root = prepared.root
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


def command(spec: ContainerSpec, prepared: Prepared, translate: Translation, search_path: str) -> list[str]:
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


def environment(spec: ContainerSpec, prepared: Prepared, translate: Translation, home: Path) -> dict[str, str]:
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
