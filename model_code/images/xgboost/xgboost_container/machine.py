"""How much of the machine this container may use: the CPUs and the memory that its control group leaves it."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = _CGROUP) -> int:
    """CPUs that this process may run on, at least 1.

    `os.cpu_count` names the machine's, of which a container often has a share: `docker run --cpus 2` on 64 cores would start
    64 processes. A share of 1.5 counts as 2, so that none of it is left unused.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroup)
    return max(1, min(affinity, affinity if quota is None else math.ceil(quota)))


def memory_limit(cgroup: Path = _CGROUP) -> int:
    """Bytes of memory that this container may use: its limit, or the machine's memory where it has none."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [machine]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2 and version 1 of control groups
        text = _read(cgroup / name)
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def _cpu_quota(cgroup: Path) -> float | None:
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota = _read(cgroup / "cpu/cpu.cfs_quota_us")
        period = _read(cgroup / "cpu/cpu.cfs_period_us")
    # Version 2 says `max` and version 1 says -1 where there is none.
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
