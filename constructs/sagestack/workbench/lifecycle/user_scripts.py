"""Scripts of the user's own: steps like any other, checked like any other."""

from __future__ import annotations

from collections.abc import Sequence

from sagestack.settings import PROJECT_ROOT
from sagestack.settings.workbench.lifecycle import Script
from sagestack.workbench.lifecycle.checks import problems_of_file
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step


def steps(option: Sequence[Script], context: LifecycleContext) -> tuple[Step, ...]:
    """One step for each script.

    Raises:
        ValueError: a script is not there, or is refused; with a line for everything that is wrong.
    """
    if problems := [problem for script in option for problem in problems_of_file(script.file)]:
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
