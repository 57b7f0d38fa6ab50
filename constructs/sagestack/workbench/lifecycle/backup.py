"""What is on a volume, in the bucket of artefacts, and back on a volume that is empty.

It needs no rights of its own: the role of a notebook reads, writes and deletes below the notebook's own prefix (`NotebookRole`).
"""

from __future__ import annotations

from sagestack.settings.workbench.lifecycle import Backup
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, program, script

_RUN = 'exec "${SAGESTACK_PYTHON:?there is no Python 3.8 or later here}" "$SAGESTACK_PROGRAMS/back_up_volume.py" '


def steps(option: Backup, context: LifecycleContext) -> tuple[Step, ...]:
    """Looks first whether the volume is empty, restores in the background, and only then begins with backups."""
    files = {"every.sh": script("every.sh"), "back_up_volume.py": program("back_up_volume.py")}
    restoring = (
        # In the foreground: the next steps write to the volume.
        Step("backup-look", f"{_RUN}look\n", user="ec2-user", files=files),
        Step("backup-restore", f"{_RUN}restore\n", user="ec2-user", background=True),
    )
    schedule = Step(
        "backup",
        script("backup.sh"),
        background=True,
        after=("backup-restore",) if option.restore == "when-empty" else (),
        files=files,
        variables={
            "BACKUP_HOURS": str(option.schedule_hours),
            "BACKUP_KEEP": str(option.keep),
            "BACKUP_EXCLUDE": "\n".join(option.exclude),
        },
    )
    return (*(restoring if option.restore == "when-empty" else ()), schedule)
