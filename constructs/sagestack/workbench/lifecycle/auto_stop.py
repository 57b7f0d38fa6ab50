"""Stops the instance when nobody and nothing works on it."""

from __future__ import annotations

import json

from sagestack.settings.workbench.lifecycle import AutoStop
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, program, script

PROGRAMS = ("auto_stop.py", "auto_stop_processes.py", "auto_stop_signs.py", "keep_running.py")


def steps(option: AutoStop, context: LifecycleContext) -> tuple[Step, ...]:
    """A timer that runs `notebooks/programs/auto_stop.py` once a minute. It stops itself with the right that its role has."""
    return (
        Step(
            name="auto-stop",
            script=script("auto-stop.sh"),
            files={
                "every.sh": script("every.sh"),
                **{name: program(name) for name in PROGRAMS},
                "auto-stop-settings.json": json.dumps(option.model_dump(), sort_keys=True) + "\n",
            },
        ),
    )
