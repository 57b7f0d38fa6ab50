"""What an option of a lifecycle config adds to the scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Step:
    """A piece of work on the instance.

    It runs as root, in a shell of its own with `set -euo pipefail`, its output in a log of its own and its outcome in the status
    file. A step that fails never fails the instance.

    Attributes:
        name: lower-case words with hyphens, unique in a config: what the log, the status file and error messages call it.
        script: bash, complete in itself. LF only.
        hook: when it runs: once when the instance is made, or each time that it starts (the first time included).
        background: whether the instance is ready without it. What may take longer than seconds must be True: SageMaker gives all
            that is not in the background five minutes together.
        after: names of background steps that must have ended before; for steps in the foreground their order is enough.
        files: what is put into the folder of programs (`$SAGESTACK_PROGRAMS`) before any step runs: name to text.
        user: who runs it; packages and notebooks belong to `ec2-user`.
    """

    name: str
    script: str
    hook: Literal["create", "start"] = "start"
    background: bool = False
    after: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    user: Literal["root", "ec2-user"] = "root"
