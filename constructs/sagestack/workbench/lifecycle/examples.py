"""The project's example notebooks, in the folder `examples` on the volume."""

from __future__ import annotations

from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, program, script


def steps(option: bool, context: LifecycleContext) -> tuple[Step, ...]:
    """Copies them from an archive of the stack's own, in the background, with the rights of the volume's owner.

    Raises:
        ValueError: the context does not say where the archive is.
    """
    if context.examples_url is None:
        raise ValueError("examples: there is no archive of example notebooks to copy from")
    return (
        Step(
            name="examples",
            script=script("examples.sh"),
            background=True,
            user="ec2-user",
            timeout_s=15 * 60,
            files={"copy_examples.py": program("copy_examples.py")},
        ),
    )
