# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the process and its device use: figures for ``/health``, cores for the thread pools."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.host import cgroups

_MB = 2**20
_M_ARENA_MAX = -8  # malloc.h
_MADV_DONTNEED = 4  # sys/mman.h of Linux


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
        devices = range(torch.cuda.device_count())
        allocated = sum(torch.cuda.memory_allocated(device) for device in devices)
        reserved = sum(torch.cuda.memory_reserved(device) for device in devices)
    rss = psutil.Process().memory_info().rss
    return MemoryFigures(round(allocated / _MB, 1), round(reserved / _MB, 1), round(rss / _MB, 1))


def prepare_fork() -> None:
    """Keep the workers' own memory small; in the master, after everything was imported.

    Objects made so far are taken out of garbage collection, whose marks would copy their pages into
    every worker (gc.freeze in Python's documentation).
    """
    gc.unfreeze()  # at a reload: what was replaced can go
    gc.collect()
    gc.freeze()
    share_one_arena()


def share_one_arena() -> None:
    """Have all threads share one malloc arena (glibc, mallopt(3)).

    By default each gets one of its own, which keeps what a decoded photo once needed: 200 MB a
    worker, measured with ViT-L-14 and 12 MP photos.
    """
    _glibc("mallopt", _M_ARENA_MAX, 1)


def trim() -> None:
    """Give freed memory back to the system (glibc, malloc_trim(3))."""
    _glibc("malloc_trim", 0)


def forget_mapped(folder: Path) -> None:
    """Drop this process's pages of files that it has mapped from a folder and only reads.

    They are read from the file again where they are needed after all (madvise(2), MADV_DONTNEED).
    """
    folder = folder.resolve()  # as the kernel names it
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        span, rights, _, _, _, *path = line.split(maxsplit=5)
        if path and path[0].startswith(f"{folder}/") and "w" not in rights:
            begin, end = (int(address, 16) for address in span.split("-"))
            _glibc("madvise", begin, end - begin, _MADV_DONTNEED)


def _glibc(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:  # other C libraries do not have it
        function(*(ctypes.c_ssize_t(each) for each in arguments))


@dataclass(frozen=True)
class CleanUp:
    """What a clean-up found and left; megabytes (2**20 bytes)."""

    gc_collected: int
    gpu_freed_mb: float
    process_rss_mb: float
    gpu_allocated_mb: float
    gpu_reserved_mb: float


def clean_up() -> CleanUp:
    """Collect garbage; give cached device memory and freed host memory back."""
    before = figures()
    collected = gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim()
    after = figures()
    freed = round(before.reserved_mb - after.reserved_mb, 1)
    return CleanUp(collected, freed, after.process_rss_mb, after.allocated_mb, after.reserved_mb)


def resident_mb(pid: int) -> float:
    """Resident set of a process; 0 when it is gone."""
    try:
        return float(round(psutil.Process(pid).memory_info().rss / _MB, 1))
    except (psutil.Error, ValueError):  # -1: the place was given to the next one meanwhile
        return 0.0


def free(device: str) -> int:
    """Bytes that a model on ``device``, a name as in ``Device.type``, may still take.

    Of the host: what is available without swapping, within a container's limit. Of an
    accelerator: what its driver calls free, and what our allocator holds unused. Intel GPUs under
    OpenVINO mostly share the host's memory.
    """
    if device != "cpu" and not device.startswith("openvino"):
        import torch

        unused = torch.accelerator.memory_reserved(device) - torch.accelerator.memory_allocated(
            device
        )
        return int(torch.accelerator.get_memory_info(device)[0]) + unused
    available = int(psutil.virtual_memory().available)
    left = cgroups.memory_left()
    return available if left is None else min(available, left)


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and a container's CPU quota."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = cgroups.cores()
    return cores if quota is None else max(1, min(cores, round(quota)))
