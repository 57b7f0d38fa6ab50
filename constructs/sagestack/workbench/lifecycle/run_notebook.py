"""A notebook that runs to its end at each start."""

from __future__ import annotations

from sagestack.settings.workbench.lifecycle import RunNotebook
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, program, script


def steps(option: RunNotebook, context: LifecycleContext) -> tuple[Step, ...]:
    """Runs it when all other steps have ended (`options.steps_of`); what came of it is beside it, with the time in its name."""
    return (
        Step(
            "run-notebook",
            script("run_notebook.sh"),
            background=True,
            user="ec2-user",
            files={"run_notebook.py": program("run_notebook.py")},
            variables={"NOTEBOOK_PATH": option.path, "NOTEBOOK_KERNEL": option.kernel},
        ),
    )
