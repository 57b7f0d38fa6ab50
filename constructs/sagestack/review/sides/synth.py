"""Synthesizes one environment from a folder of files: the project's app.py alone, without the CDK CLI and without credentials."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sagestack.review.sides import traced_app

_PROGRAM = Path(traced_app.__file__)
_TIME_LIMIT = 600
_REPORTS = ("validation-report.json", "policy-validation-report.json")

# Of a traceback: how we came to app.py, which tells nobody anything.
_OWN_FRAMES = re.compile(rf'^  File "(?:<frozen runpy>|{re.escape(str(_PROGRAM))})".*\n(?:    .*\n)*', re.MULTILINE)

# Everything else stays outside: no credentials get in, and nothing that the cache does not know changes a template.
_VARIABLES = (
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "SYSTEMROOT",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "JSII_RUNTIME_PACKAGE_CACHE",
    "JSII_RUNTIME_PACKAGE_CACHE_ROOT",
)


class SynthError(Exception):
    """An app.py did not come to its end; `lines` are the last that it said."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


class Synthesizer:
    """Runs app.py, in as many processes at once as it is called from threads.

    Args:
        root: the reviewing project, whose installed Python, Node and CDK all sides are synthesized with.
    """

    def __init__(self, root: Path) -> None:
        own = [str(root / ".venv" / "bin"), str(root / "node_modules" / ".bin")]
        self._path = os.pathsep.join([*own, os.environ.get("PATH", os.defpath)])
        self._running: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()
        self._is_stopped = False

    def versions(self) -> str:
        """What a template depends on besides the files: another one of these, and nothing is reused."""
        return _versions(self._path)

    def synthesize(self, folder: Path, context: Mapping[str, str], output: Path) -> None:
        """Writes the assembly of an environment, or of a part of it.

        Args:
            folder: the files of the project.
            context: what `cdk synth -c` would be given: `env`, `part`.
            output: a folder that does not exist yet.

        Raises:
            SynthError: app.py failed before its assembly was complete. That rules are broken is no failure here.
        """
        output.mkdir(parents=True)
        variables = {"CDK_OUTDIR": str(output), "CDK_CONTEXT_JSON": json.dumps(context_of(folder, context))}
        code, said = self._run(folder, [], variables, _TIME_LIMIT)
        if code and not _broke_rules_only(output):
            raise SynthError(_last_lines(said, folder) or [f"It said nothing (exit code {code})."])
        if not (output / "manifest.json").exists():
            raise SynthError([*_last_lines(said, folder), "It ended well, but wrote no assembly."])

    def synthesize_together(self, folder: Path, requests: Sequence[tuple[Mapping[str, str], Path]]) -> None:
        """Writes several assemblies from one process, which takes a third of the time.

        Args:
            folder: the files of the project.
            requests: a context and an output for each, as for `synthesize`. An output appears when it is complete; one that
                is not there in the end could not be made this way, and `synthesize` makes it, or says why not.
        """
        beside = requests[0][1]
        working, context, file = (
            beside.with_name(f"{beside.name}.{name}") for name in ("working", "context", "requests")
        )
        asked = [{"context": context_of(folder, each), "output": str(output)} for each, output in requests]
        file.write_text(json.dumps(asked), encoding="utf-8")
        variables = {"CDK_OUTDIR": str(working), traced_app.CONTEXT_FILE: str(context)}
        # Its exit code and words say nothing of any single one.
        self._run(folder, [str(file)], variables, _TIME_LIMIT * len(requests))

    def _run(self, folder: Path, arguments: Sequence[str], variables: Mapping[str, str], limit: int) -> tuple[int, str]:
        """The exit code of the program, and what it said.

        Raises:
            SynthError: it took longer than so many seconds, or was not to begin any more.
        """
        with self._guard:
            if self._is_stopped:
                raise SynthError(["It was not begun any more."])
            process = subprocess.Popen(
                [sys.executable, "-P", "-X", "utf8", str(_PROGRAM), *arguments],
                cwd=folder,
                env={**self._variables(folder), **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
            self._running.add(process)
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise SynthError([f"It was ended, as it took more than {limit // 60} minutes."]) from None
        finally:
            with self._guard:
                self._running.discard(process)
        return process.returncode, said

    def stop(self) -> None:
        """Ends what runs, and begins nothing more."""
        with self._guard:
            self._is_stopped = True
            for process in self._running:
                process.terminate()

    def _variables(self, folder: Path) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        return {
            **passed,
            "PATH": self._path,
            # Before the installed package, which is the reviewing project's own.
            "PYTHONPATH": os.pathsep.join([str(folder / "constructs"), str(folder)]),
            "CDK_VALIDATION": "false",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@cache
def _versions(path: str) -> str:
    node = subprocess.run(
        ["node", "--version"], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    libraries = " ".join(f"{name} {version(name)}" for name in ("aws-cdk-lib", "constructs", "jsii", "pydantic"))
    python = ".".join(map(str, sys.version_info[:3]))
    return f"python {python} node {node.stdout.split('.')[0]} {libraries}"


def context_of(folder: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """The context that `cdk synth -c NAME=VALUE` gives the app, and that rules are no matter of this synth.

    Source: https://docs.aws.amazon.com/cdk/v2/guide/context.html, and what the CDK CLI makes of settings in cdk.json.
    """
    settings = json.loads((folder / "cdk.json").read_text(encoding="utf-8"))
    remembered = folder / "cdk.context.json"
    context: dict[str, Any] = json.loads(remembered.read_text(encoding="utf-8")) if remembered.exists() else {}
    context |= settings.get("context", {})
    context |= given
    if settings.get("pathMetadata", True):
        context["aws:cdk:enable-path-metadata"] = True
    if settings.get("assetMetadata", True):
        context["aws:cdk:enable-asset-metadata"] = True
    context |= _reporting(settings)
    if not settings.get("staging", True):
        context["aws:cdk:disable-asset-staging"] = True
    # Our app.py leaves its rules out; one from before it could does not fail of them, as under the CDK CLI.
    context["sagestack:review"] = True
    context["@aws-cdk/core:failSynthOnValidationErrors"] = False
    return context


def _reporting(settings: Mapping[str, Any]) -> dict[str, bool]:
    if settings.get("versionReporting", True):
        return {"aws:cdk:version-reporting": True}
    return {"aws:cdk:disable-version-reporting": True}


def _broke_rules_only(output: Path) -> bool:
    # The manifest is the last that a synth writes, and reports come after it. An older CDK has no switch for its failure.
    return (output / "manifest.json").exists() and any((output / name).exists() for name in _REPORTS)


def _last_lines(said: str, folder: Path, count: int = 12) -> list[str]:
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", said)
    plain = _OWN_FRAMES.sub("", plain)
    plain = plain.replace(f"{folder.resolve()}{os.sep}", "").replace(f"{folder}{os.sep}", "")
    return [line.rstrip() for line in plain.splitlines() if line.strip()][-count:]
