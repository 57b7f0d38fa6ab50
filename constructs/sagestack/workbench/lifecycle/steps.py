"""What an option of a lifecycle config adds to the scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sagestack.settings import PROJECT_ROOT

Hook = Literal["create", "start"]

SCRIPTS = Path(__file__).with_name("scripts")
PROGRAMS = PROJECT_ROOT / "notebooks" / "programs"


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
            What goes on for ever is no step, but what a step installs: `scripts/every.sh` runs a program again and again.
        after: names of background steps that must have ended before; for steps in the foreground their order is enough.
        files: what is put into the folder of programs (`$SAGESTACK_PROGRAMS`) before any step runs: name to text.
        user: who runs it; packages and notebooks belong to `ec2-user`.
        variables: its parameters, as environment variables of this step alone; the composer quotes them.
        timeout_s: after how many seconds it is ended and has failed. Default: 60 in the foreground, six hours in the background.
        required: whether the instance must not start where it fails. Only for what the user asks this for; foreground only.
        is_of_user: whether the script is the user's own: nothing in it is shortened.
    """

    name: str
    script: str
    hook: Hook = "start"
    background: bool = False
    after: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    user: Literal["root", "ec2-user"] = "root"
    variables: Mapping[str, str] = field(default_factory=dict)
    timeout_s: int | None = None
    required: bool = False
    is_of_user: bool = False


def script(name: str) -> str:
    """The text of one of the project's own scripts (`scripts/NAME`), for `Step.script` or `Step.files`."""
    return (SCRIPTS / name).read_text(encoding="utf-8")


def program(name: str) -> str:
    """The text of one of the project's own programs (`notebooks/programs/NAME`), for `Step.files`."""
    return (PROGRAMS / name).read_text(encoding="utf-8")
