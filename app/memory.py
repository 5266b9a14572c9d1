# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the process and its device use: figures for ``/health``, cores for the thread pools."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_MB = 2**20


@dataclass(frozen=True)
class MemoryFigures:
    """Megabytes (2**20 bytes); the first two are the device allocator's and 0 on a CPU."""

    allocated_mb: float
    reserved_mb: float
    process_rss_mb: float


def figures() -> MemoryFigures:
    """Figures of this process."""
    allocated = reserved = 0
    # Asking must neither import torch nor create a CUDA context.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    rss = psutil.Process().memory_info().rss
    return MemoryFigures(round(allocated / _MB, 1), round(reserved / _MB, 1), round(rss / _MB, 1))


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and a container's CPU quota (cgroup v2)."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    if quota == "max":
        return cores
    return max(1, min(cores, round(int(quota) / int(period))))
