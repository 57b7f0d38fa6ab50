"""What JupyterLab has more, or less, than the instance brings."""

from __future__ import annotations

from sagestack.settings.workbench.lifecycle import Extensions
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, script


def steps(option: Extensions, context: LifecycleContext) -> tuple[Step, ...]:
    """Installs in the background, into JupyterLab's own environment; JupyterLab is restarted afterwards if nobody works in it."""
    return (
        Step(
            "extensions",
            script("extensions.sh"),
            background=True,
            variables={"EXTENSIONS": " ".join(option.pip), "DISABLED": " ".join(option.disable)},
        ),
    )
