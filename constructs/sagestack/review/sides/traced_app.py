"""Runs an app.py, once or for several environments, and writes down which line of the project made each construct.

A program, started by its path in the folder of the project that is to be synthesized, so that nothing of the reviewing
project's own package gets into the process. It changes nothing: it only looks when jsii is asked for an object.

Without an argument it runs app.py once, as `cdk synth` would. With a file of requests it runs it for each of them in turn,
since the CDK takes longer to start than to synthesize. The project's modules are imported anew for each, so what one run
leaves in them the next does not find. A run that fails leaves nothing, and says nothing: alone, it will say why.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

SOURCES_FILE = "sagestack-sources.json"
"""The name that sagestack.review.assembly reads it by; written here again, as nothing of it may be imported."""
FOREIGN_PACKAGE = 86
"""The exit code that says: `import sagestack` does not find the project's own."""
CONTEXT_FILE = "CONTEXT_OVERFLOW_LOCATION_ENV"
"""The variable that names a file of context, which each new `cdk.App` reads: the CDK CLI's way for context that is too long
for a variable. Node sees other variables as they were when it started."""


class Recorder:
    """Where each construct comes from: its path, as in the assembly's metadata, to `file:line` below the project's root."""

    def __init__(self, root: Path) -> None:
        self.sources: dict[str, str] = {}
        self._root = f"{root}{os.sep}"
        # By jsii's name of the object: Python's own objects may come and go.
        self._paths: dict[str, str] = {}

    def forget(self) -> None:
        """Begins anew, for another app in the same process."""
        self.sources.clear()
        self._paths.clear()

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


def main(requests: Path | None) -> None:
    root = Path.cwd()
    import sagestack

    found = Path(sagestack.__file__ or "").resolve()
    if not found.is_relative_to(root):
        print(f"`import sagestack` finds {found}, outside of {root}", file=sys.stderr)
        sys.exit(FOREIGN_PACKAGE)
    recorder = Recorder(root)
    recorder.install()
    output = Path(os.environ["CDK_OUTDIR"])
    if requests is not None:
        _run_each(json.loads(requests.read_text(encoding="utf-8")), root, output, recorder)
        return
    try:
        _run_app(root)
    finally:
        _write_sources(recorder, output)


def _run_each(requests: Sequence[Mapping[str, Any]], root: Path, working: Path, recorder: Recorder) -> None:
    """Each is run into the same folder, which the CDK knows from its start; what is whole gets the name that was asked for."""
    for request in requests:
        Path(os.environ[CONTEXT_FILE]).write_text(json.dumps(request["context"]), encoding="utf-8")
        working.mkdir()
        try:
            _run_app(root)
        except (Exception, SystemExit) as error:
            if not isinstance(error, SystemExit) or error.code:
                shutil.rmtree(working)
        if (working / "manifest.json").exists():
            _write_sources(recorder, working)
            working.rename(request["output"])
        else:
            shutil.rmtree(working, ignore_errors=True)
        recorder.forget()
        _forget_project(root)


def _run_app(root: Path) -> None:
    script = str(root / "app.py")
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


def _forget_project(root: Path) -> None:
    """As it is in a new process: no module of the project is imported, and no asset is staged."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        # What is installed stays, even where it is installed below the project.
        if name != "__main__" and file.startswith(f"{root}{os.sep}") and not file.startswith(sys.prefix):
            del sys.modules[name]
    if cdk := sys.modules.get("aws_cdk"):
        cdk.AssetStaging.clear_asset_hash_cache()
    gc.collect()


def _write_sources(recorder: Recorder, output: Path) -> None:
    sources = dict(sorted(recorder.sources.items()))
    (output / SOURCES_FILE).write_text(json.dumps(sources, indent=0), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
