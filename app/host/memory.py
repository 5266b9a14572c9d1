# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures and frees the memory of this process and of devices, and counts the usable cores."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.host import cgroups

_MB = 2**20
_M_ARENA_MAX = -8  # malloc.h
_MADV_DONTNEED = 4  # sys/mman.h on Linux


@dataclass(frozen=True)
class MemoryFigures:
    """Memory in use, in megabytes (2**20 bytes).

    ``allocated_mb`` and ``reserved_mb`` are those of torch's CUDA allocator, 0 without one;
    ``process_rss_mb`` is the resident memory of this process.
    """

    allocated_mb: float
    reserved_mb: float
    process_rss_mb: float


def figures() -> MemoryFigures:
    """The current figures of this process."""
    allocated = reserved = 0
    if (cuda := _cuda()) is not None:
        devices = range(cuda.device_count())
        allocated = sum(cuda.memory_allocated(device) for device in devices)
        reserved = sum(cuda.memory_reserved(device) for device in devices)
    rss = psutil.Process().memory_info().rss
    return MemoryFigures(round(allocated / _MB, 1), round(reserved / _MB, 1), round(rss / _MB, 1))


def _cuda() -> Any:
    """torch's CUDA functions if there is a CUDA context, else None; imports and creates nothing."""
    torch = sys.modules.get("torch")
    # While another thread imports torch, the module is there but does not have all its parts.
    cuda = getattr(torch, "cuda", None)
    is_initialized = getattr(cuda, "is_initialized", None)
    return cuda if is_initialized is not None and is_initialized() else None


def prepare_fork() -> None:
    """Keep the private memory of workers small. Call this in the master, after all imports.

    Existing objects are excluded from garbage collection. Otherwise the collector would write its
    marks to them, and the kernel would copy their memory pages for each worker (see gc.freeze in
    Python's documentation).
    """
    gc.unfreeze()  # after a reload this lets the collector free the objects that were replaced
    gc.collect()
    gc.freeze()
    share_one_arena()


def share_one_arena() -> None:
    """Make all threads share one malloc arena (glibc, mallopt(3)).

    By default each thread gets its own arena, which keeps the memory of the largest photo that the
    thread has decoded: 200 MB per worker, measured with ViT-L-14 and 12 MP photos.
    """
    _glibc("mallopt", _M_ARENA_MAX, 1)


def trim() -> None:
    """Return freed memory to the operating system (glibc, malloc_trim(3))."""
    _glibc("malloc_trim", 0)


def forget_mapped(folder: Path) -> None:
    """Drop the memory pages of files in ``folder`` that this process has mapped read-only.

    If a page is used again, the kernel reads it from the file (madvise(2), MADV_DONTNEED).
    """
    folder = folder.resolve()  # /proc shows paths without links
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
    if function is not None:  # C libraries other than glibc lack some of them
        function(*(ctypes.c_ssize_t(each) for each in arguments))


@dataclass(frozen=True)
class CleanUp:
    """Result of a clean-up: objects collected, and memory in megabytes (2**20 bytes).

    All but ``gpu_freed_mb`` show the state after the clean-up.
    """

    gc_collected: int
    gpu_freed_mb: float
    process_rss_mb: float
    gpu_allocated_mb: float
    gpu_reserved_mb: float


def clean_up() -> CleanUp:
    """Collect garbage, and return cached device memory and freed host memory to the system."""
    before = figures()
    collected = gc.collect()
    if (cuda := _cuda()) is not None:
        cuda.empty_cache()
    trim()
    after = figures()
    freed = round(before.reserved_mb - after.reserved_mb, 1)
    return CleanUp(collected, freed, after.process_rss_mb, after.allocated_mb, after.reserved_mb)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in megabytes (2**20 bytes); 0 if it has ended."""
    try:
        return float(round(psutil.Process(pid).memory_info().rss / _MB, 1))
    except (
        psutil.Error,
        ValueError,
    ):  # ValueError: pid is -1, a slot reserved for a new worker
        return 0.0


def free(device: str) -> int:
    """Bytes of memory that a model on ``device`` (a name as in ``Device.type``) may still use.

    For a CPU this is the host memory that is available without swapping, within the container's
    limit. For an accelerator it is the memory that its driver reports as free, plus the memory that
    torch has reserved but does not use. Devices of OpenVINO count as a CPU, because Intel GPUs
    mostly share the host's memory.
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
    """Number of cores that this process may use: the smaller of its CPU affinity and CPU quota."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = cgroups.cores()
    return cores if quota is None else max(1, min(cores, round(quota)))
