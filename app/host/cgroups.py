# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Memory and CPU limits of the container that this process runs in.

Reads Linux control groups of version 2, and of version 1, which many NAS systems still have.
Sources: the kernel's admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

from pathlib import Path

# Inside a container this folder shows the container's own group.
ROOT = Path("/sys/fs/cgroup")
_MEMORY = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def memory_left(root: Path = ROOT) -> int | None:
    """Bytes of memory left until the limit; None if there is no limit.

    Cached files do not count as used: the kernel drops them when memory is needed.
    """
    for limit, usage, statistics in _MEMORY:
        try:
            left = int((root / limit).read_text()) - int((root / usage).read_text())
            lines = (root / statistics).read_text().splitlines()
        except (OSError, ValueError):  # no such group, or no limit ("max")
            continue
        figures = {name: int(value) for name, value in (line.split() for line in lines)}
        cached = figures.get("inactive_file", 0) + figures.get("active_file", 0)
        return max(0, left + cached)
    return None


def cores(root: Path = ROOT) -> float | None:
    """The CPU quota of all processes together, in cores, such as 1.5; None if there is no quota."""
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        share = int(quota) / int(period)
    except (OSError, ValueError):  # no such group, or no quota ("max")
        return None
    return share if share > 0 else None  # version 1 has -1 for "no quota"
