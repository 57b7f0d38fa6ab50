"""Runs an app.py and writes down which line of the project made each construct.

A program, started by its path in the folder of the project that is to be synthesized, so that nothing of the reviewing
project's own package gets into the process. It changes nothing: it only looks when jsii is asked for an object.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from types import FrameType
from typing import Any

SOURCES_FILE = "sagestack-sources.json"
"""The name that sagestack.review.assembly reads it by; written here again, as nothing of it may be imported."""
FOREIGN_PACKAGE = 86
"""The exit code that says: `import sagestack` does not find the project's own."""


class Recorder:
    """Where each construct comes from: its path, as in the assembly's metadata, to `file:line` below the project's root."""

    def __init__(self, root: Path) -> None:
        self.sources: dict[str, str] = {}
        self._root = f"{root}{os.sep}"
        # By jsii's name of the object: Python's own objects may come and go.
        self._paths: dict[str, str] = {}

    def install(self) -> None:
        """Looks at every object that Python code makes from now on."""
        import jsii

        create = jsii.create

        def recorded(klass: type, obj: Any, args: list[Any] | None = None) -> Any:
            reference = create(klass, obj, args)
            self._record(reference.ref, klass, obj, args or [])
            return reference

        jsii.create = recorded

    def _record(self, name: str, klass: type, obj: object, args: list[Any]) -> None:
        # The path is put together here: asking for it would cost a trip to Node for each construct.
        if any(getattr(base, "__jsii_type__", None) == "aws-cdk-lib.App" for base in klass.__mro__):
            self._paths[name] = ""
            return
        if len(args) < 2 or not isinstance(args[1], str):
            return
        above = self._paths.get(getattr(getattr(args[0], "__jsii_ref__", None), "ref", ""))
        if above is None:
            # Its scope was made by the CDK's own code; the construct above that one has a line.
            return
        path = f"{above}/{args[1].replace('/', '--')}"
        self._paths[name] = path
        if line := self._line(obj):
            self.sources[path] = line

    def _line(self, obj: object) -> str | None:
        """The innermost line of the project that is not the object's own making, as `super().__init__` is."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(self._root) and file != __file__ and not _is_of(frame, obj):
                return f"{file.removeprefix(self._root)}:{frame.f_lineno}".replace(os.sep, "/")
            frame = frame.f_back
        return None


def _is_of(frame: FrameType, obj: object) -> bool:
    code = frame.f_code
    return code.co_name == "__init__" and bool(code.co_varnames) and frame.f_locals.get(code.co_varnames[0]) is obj


def main() -> None:
    root = Path.cwd()
    import sagestack

    found = Path(sagestack.__file__ or "").resolve()
    if not found.is_relative_to(root):
        print(f"`import sagestack` finds {found}, outside of {root}", file=sys.stderr)
        sys.exit(FOREIGN_PACKAGE)
    recorder = Recorder(root)
    recorder.install()
    script = str(root / "app.py")
    sys.argv = [script]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        sources = Path(os.environ["CDK_OUTDIR"]) / SOURCES_FILE
        sources.write_text(json.dumps(dict(sorted(recorder.sources.items())), indent=0), encoding="utf-8")


if __name__ == "__main__":
    main()
