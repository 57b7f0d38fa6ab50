"""Finds the processes of people on a notebook instance, as /proc has them, and tells what waits at a prompt from a command."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "fish")
WITH_WORD = ("--init-file", "--rcfile", "--init-command", "-o", "+o", "-O", "+O")
"""Options of shells that take the next word: the terminals of VS Code are `bash --init-file FILE`, at a prompt like any other."""

WAITERS = ("su", "sudo", "login", "tmux", "screen", "ssh-agent")
"""What stands between a person and a shell. What runs in that shell is a process of its own."""

CONTAINERS = "containerd-shim"
"""What Docker starts each container below; the kernel keeps 15 characters of a name."""

NOBODY = 65534


class Process:
    """One process, as it was when somebody looked.

    Attributes:
        pid: its number.
        key: of no other process, now or later: its number, and when it began.
        name: of its program, at most 15 characters.
        parent: the number of the process that started it.
        has_ended: whether nothing of it is left but its number.
        ticks: of processor time, that of its children which ended included.
        terminal: the number of the pseudo-terminal that it runs in, or None.
        uid: whose it is.
        in_container: whether it is in one of Docker's.
    """

    def __init__(self, folder: Path) -> None:
        """Reads it. Raises `OSError` where it is gone."""
        self._folder = folder
        stat = folder / "stat"
        head, _, tail = stat.read_text(errors="replace").rpartition(")")
        self.uid, self.pid, self.in_container = stat.stat().st_uid, int(folder.name), False
        fields = tail.split()  # as in proc(5), from the state on
        self.name, self.has_ended, self.parent = head.partition("(")[2], fields[0] in "ZX", int(fields[1])
        self.key, self.ticks = f"{self.pid} {fields[19]}", sum(map(int, fields[11:15]))
        # Major numbers from 136 on, 256 of them each.
        major, minor = int(fields[4]) >> 8 & 0xFFF, int(fields[4]) & 0xFF
        self.terminal = (major - 136) * 256 + minor if 136 <= major < 144 else None

    @property
    def words(self) -> list[str]:
        """Its command line; nothing of one that is gone."""
        try:
            return (self._folder / "cmdline").read_text(errors="replace").split("\0")[:-1]
        except OSError:
            return []

    @property
    def moved(self) -> int:
        """How many bytes it has read and written. Raises `OSError` where that is not for us to know."""
        lines = (self._folder / "io").read_text().split()
        return int(lines[1]) + int(lines[3]) if lines else 0

    @property
    def waits_at_prompt(self) -> bool:
        """Whether it is a shell with no script and no command, or only leads to one."""
        if self.name not in SHELLS:
            return self.name.partition(":")[0] in WAITERS
        words = iter(self.words[1:])
        for word in words:
            if word in WITH_WORD:
                next(words, None)
            elif not word.startswith("-"):
                return False
        return True


def people(proc: Path, owner: int, known: Container[str]) -> list[Process]:
    """The processes of people.

    Those of the volume's owner and of other accounts that log in; of root where one of theirs is above (sudo), or where it
    is known already; and what runs in containers, which Docker starts as root for whoever asks it.

    Args:
        proc: the folder /proc.
        owner: of the volume.
        known: keys of those that were people's before.
    """
    found = {}
    for folder in proc.glob("[0-9]*"):
        try:
            process = Process(folder)
        except OSError:
            continue  # it ended
        if not process.has_ended:
            found[process.pid] = process
    containers = {pid for pid, each in found.items() if each.name == CONTAINERS}
    theirs = {pid for pid, each in found.items() if each.uid == owner or 1000 <= each.uid < NOBODY or each.key in known}

    def is_below(pid: int, tops: Container[int], depth: int = 0) -> bool:
        return pid in tops or (pid in found and depth < 99 and is_below(found[pid].parent, tops, depth + 1))

    for pid, process in found.items():
        process.in_container = is_below(pid, containers)
    return [each for pid, each in found.items() if each.in_container or is_below(pid, theirs)]
