"""What every script of a lifecycle config must be, the project's own and the user's alike."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

from sagestack.settings import PROJECT_ROOT
from sagestack.settings.errors import suggestion

MAX_CHARACTERS = 16384
"""Of a script in base64: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_NotebookInstanceLifecycleHook.html"""

_SHEBANGS = ("#!/bin/bash", "#!/usr/bin/bash", "#!/usr/bin/env bash")


def characters(text: str) -> int:
    """How many characters a script takes in base64."""
    return -(-len(text.encode()) // 3) * 4


def problems_of_text(text: str) -> list[str]:
    """What can be said of a script without running anything: line ends, control characters, its first line, its size."""
    problems = []
    for number, line in enumerate(text.split("\n"), start=1):
        if "\r" in line:
            problems.append(
                f"line {number} ends with CRLF, as on Windows, and bash would take the CR for a part of a word; save the file"
                " with LF (git: *.sh text eol=lf)"
            )
            break
        if "\0" in line or "\ufeff" in line:
            problems.append(f"line {number} has a NUL or a byte order mark; save the file as plain UTF-8")
            break
    first = text.split("\n", 1)[0].rstrip("\r")
    if first not in _SHEBANGS:
        problems.append(f"line 1 is {first[:60]!r}, and must say what runs it (allowed: {', '.join(_SHEBANGS)})")
    if (size := characters(text)) > MAX_CHARACTERS:
        problems.append(
            f"is {size} characters in base64, and SageMaker takes {MAX_CHARACTERS} of a lifecycle script; split it, or move"
            " data out of it"
        )
    return problems


def problems_of_bash(text: str, severity: str = "style") -> list[str]:
    """What `bash -n` and shellcheck say, one line each. `severity` is the least that counts: error, warning, info or style.

    Raises:
        RuntimeError: shellcheck or bash is not installed.
    """
    return list(_said_of(text, severity))


@functools.cache
def _said_of(text: str, severity: str) -> tuple[str, ...]:
    """Kept, for one synth asks more than once."""
    syntax = subprocess.run([_program("bash"), "-n"], input=text.encode(), capture_output=True, check=False)
    if syntax.returncode != 0:
        said = syntax.stderr.decode(errors="replace").strip().splitlines()
        return tuple(f"bash cannot read it: {line.partition(': ')[2]}" for line in said)
    found = subprocess.run(
        # Nobody's own ~/.shellcheckrc: a synth is the same everywhere.
        [_program("shellcheck"), "--norc", "--shell=bash", f"--severity={severity}", "--format=json", "-"],
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    if found.returncode not in (0, 1):
        raise RuntimeError(f"shellcheck failed: {found.stderr.decode(errors='replace').strip()}")
    return tuple(f"line {each['line']}: {each['message']} (SC{each['code']})" for each in json.loads(found.stdout))


def problems_of_file(path: str, root: Path = PROJECT_ROOT) -> list[str]:
    """What keeps a script of the user's own from being a step. Each line names the file, as it is from the project's root."""
    file = root / path
    if not file.is_file():
        near = [str(each.relative_to(root)) for each in sorted(file.parent.glob("*.sh"))]
        return [f"there is no file {path}{suggestion(path, near)}"]
    try:
        # As bytes: Python would take CRLF for LF.
        text = file.read_bytes().decode()
    except UnicodeDecodeError as error:
        return [f"{path}: is no UTF-8 text (byte {error.start}); save it as UTF-8"]
    # Matters of style are the user's own.
    return [f"{path}: {problem}" for problem in problems_of_text(text) or problems_of_bash(text, severity="warning")]


def _program(name: str) -> str:
    """Where a program is: shellcheck comes as a package of Python, beside the Python that runs this."""
    beside = Path(sysconfig.get_path("scripts")) / name
    path = str(beside) if beside.is_file() else shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not installed, and lifecycle scripts are checked with it; run `make setup`")
    return path
