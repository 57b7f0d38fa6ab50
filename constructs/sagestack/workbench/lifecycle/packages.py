"""Packages of pip and conda for the kernels that an instance brings."""

from __future__ import annotations

from collections.abc import Sequence

from sagestack.settings.workbench.lifecycle import Packages
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, script


def steps(option: Sequence[Packages], context: LifecycleContext) -> tuple[Step, ...]:
    """Installs them at each start, in the background: SageMaker makes these environments anew each time.

    https://docs.aws.amazon.com/sagemaker/latest/dg/nbi-add-external.html
    """
    lines = [" ".join([each.manager, each.kernel, *each.packages]) for each in option]
    return (
        Step(
            "packages",
            script("packages.sh"),
            background=True,
            user="ec2-user",
            variables={"PACKAGES": "\n".join(lines)},
        ),
    )
