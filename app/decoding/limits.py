# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Limits of a decoding process, set by the kernel: none of them needs Python to run."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # sys/prctl.h of Linux

#: Bytes of memory for each pixel of MAX_IMAGE_PIXELS, and for small pictures; measured, see
#: docs/security.md.
_BYTES_A_PIXEL = 24
_LEAST_BYTES = 256 * 2**20


def memory_for(max_pixels: int) -> int:
    """Bytes that a decoder may hold for a picture within the pixel budget."""
    return _LEAST_BYTES + _BYTES_A_PIXEL * max_pixels


def bound_memory(count: int) -> None:
    """Let this process take at most ``count`` bytes more than it has now (Linux, setrlimit(2)).

    Beyond them malloc and mmap fail: Pillow raises MemoryError, other libraries an error of theirs.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except OSError:  # no Linux: only time is bounded there
        return
    limit = pages * os.sysconf("SC_PAGE_SIZE") + count
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # No core file of a picture of somebody.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (Linux, prctl(2))."""
    function = getattr(ctypes.CDLL(None), "prctl", None)
    if function is not None:
        function(_PR_SET_PDEATHSIG, signal.SIGKILL)


def bound_cpu(seconds: float) -> None:
    """End this process when it has used so much CPU time from now on; 0: no longer.

    SIGPROF ends it wherever it is, also in a library that never returns to Python.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)


def trim() -> None:
    """Give freed memory back to the system (glibc, malloc_trim(3))."""
    function = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if function is not None:
        function(0)
