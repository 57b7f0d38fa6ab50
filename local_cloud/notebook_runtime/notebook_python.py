"""The Python of the notebooks on an instance that is a process: what `%pip install` adds is there, and goes with the instance.

It is a virtual environment beside the one that JupyterLab runs in, whose packages it sees. Written as the few files that one
is: `python -m venv` would take a moment of every start, and a copy of JupyterLab's packages minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from local_cloud.notebook_runtime.instance_files import READABLE, InstanceFile

PROGRAM = 0o755
NO_PIP = '''\
"""Stands where pip would be: this machine's Python came without one (on Debian and Ubuntu it is in python3-venv)."""

if __name__ == "__main__":
    raise SystemExit(
        "This notebook instance has no pip: it is a process, and this machine's Python came without one ({bundled}).\\n"
        "Install it (on Debian and Ubuntu: apt-get install python3-venv), or start Docker, and then the local cloud again."
    )
'''


class NotebookPython:
    """The Python of one instance's notebooks.

    Args:
        jupyter: the virtual environment in which JupyterLab is installed.
        folder: where it belongs; nothing is there yet.
    """

    def __init__(self, jupyter: Path, folder: Path) -> None:
        self._jupyter = jupyter
        self._folder = folder

    @property
    def programs(self) -> Path:
        """The folder of its programs, for PATH."""
        return self._folder / "bin"

    @property
    def program(self) -> Path:
        """The interpreter."""
        return self.programs / "python"

    def link(self) -> None:
        """Make the interpreter; with `files` it is a virtual environment."""
        self.programs.mkdir(parents=True)
        for name in ("python", "python3"):
            (self.programs / name).symlink_to(self._jupyter / "bin" / "python")

    def files(self) -> Iterator[InstanceFile]:
        """What makes it one: its settings, the packages that it sees, and pip."""
        settings = (self._jupyter / "pyvenv.cfg").read_text(encoding="utf-8")
        yield InstanceFile(str(self._folder / "pyvenv.cfg"), READABLE, True, settings)
        for name in ("pip", "pip3"):
            # A script of JupyterLab's environment would install there, for every instance and for good.
            text = f'#!/bin/sh\nexec "{self.program}" -m pip "$@"\n'
            yield InstanceFile(str(self.programs / name), PROGRAM, True, text)
        for packages in self._jupyter.glob("lib/python3*/site-packages"):
            own = self._folder / packages.relative_to(self._jupyter)
            bundled = _bundled_pip(settings, packages.parent.name)
            if bundled is None:
                yield InstanceFile(str(own / "pip.py"), READABLE, True, NO_PIP)
            seen = "".join(f"{path}\n" for path in (packages, bundled) if path is not None)
            yield InstanceFile(str(own / "jupyter.pth"), READABLE, True, seen)


def _bundled_pip(settings: str, version: str) -> Path | None:
    """The wheel of pip that comes with the Python that an environment was made of: it runs as it is.

    Args:
        settings: the text of the environment's pyvenv.cfg.
        version: such as python3.11.
    """
    values = dict(line.split(" = ", 1) for line in settings.splitlines() if " = " in line)
    # The second is Debian's place.
    places = (Path(values["home"]).parent / "lib" / version / "ensurepip/_bundled", Path("/usr/share/python-wheels"))
    return next((wheel for place in places for wheel in sorted(place.glob("pip-*.whl"))), None)
