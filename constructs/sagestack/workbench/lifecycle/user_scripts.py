"""Scripts of the user's own: steps like any other, checked like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sagestack.settings import PROJECT_ROOT
from sagestack.settings.errors import suggestion
from sagestack.settings.workbench.lifecycle import Script
from sagestack.workbench.lifecycle.checks import problems_of_bash, problems_of_text
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step


def steps(option: Sequence[Script], context: LifecycleContext) -> tuple[Step, ...]:
    """One step for each script.

    Raises:
        ValueError: a script is not there, or is refused; with a line for everything that is wrong.
    """
    if problems := [problem for script in option for problem in problems_of(script)]:
        raise ValueError("\n".join(problems))
    return tuple(
        Step(
            name=script.name,
            script=(PROJECT_ROOT / script.file).read_text(encoding="utf-8"),
            hook=script.hook,
            background=script.background,
            user=script.user,
            required=script.required,
            timeout_s=None if script.timeout_minutes is None else script.timeout_minutes * 60,
            is_of_user=True,
        )
        for script in option
    )


def problems_of(script: Script, root: Path = PROJECT_ROOT) -> list[str]:
    """What keeps a script from being a step; the file is named in each line."""
    path = root / script.file
    if not path.is_file():
        near = [str(each.relative_to(root)) for each in sorted(path.parent.glob("*.sh"))]
        return [f"scripts, {script.name}: there is no file {script.file}{suggestion(script.file, near)}"]
    try:
        # As bytes: Python would take CRLF for LF.
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        return [f"{script.file}: is no UTF-8 text (byte {error.start}); save it as UTF-8"]
    found = problems_of_text(text)
    if not found:
        # Matters of style are the user's own.
        found = problems_of_bash(text, severity="warning")
    return [f"{script.file}: {problem}" for problem in found]
