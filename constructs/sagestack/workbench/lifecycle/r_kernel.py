"""A kernel of R, in a conda environment on the volume."""

from __future__ import annotations

from sagestack.workbench.lifecycle.conda_environments import Definition, step
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step


def steps(option: bool, context: LifecycleContext) -> tuple[Step, ...]:
    """Makes it once, in the background: packages that people install in it survive a stop, other than in the instance's own R."""
    return (step("r-kernel", "r", [Definition("r", "R", ("r-base", "r-irkernel"))]),)
