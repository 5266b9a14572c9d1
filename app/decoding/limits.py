# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Limits of a decoding process, which the kernel enforces even while native code is running."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # sys/prctl.h of Linux

# Environment variables that a process for untrusted files gets. Others may hold secrets.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")

# Memory limit of a decoder: bytes for each pixel of MAX_IMAGE_PIXELS, plus a fixed part. Both were
# measured, see docs/security.md.
_BYTES_A_PIXEL = 24
_LEAST_BYTES = 256 * 2**20


def environment() -> dict[str, str]:
    """The environment for a process that parses untrusted files."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}


def memory_for(max_pixels: int) -> int:
    """Bytes of memory that a decoder may use for a picture within the pixel budget."""
    return _LEAST_BYTES + _BYTES_A_PIXEL * max_pixels


def bound_memory(count: int) -> None:
    """Let this process allocate at most ``count`` more bytes (Linux, setrlimit(2)).

    A limit that was set before is never raised.

    Beyond the limit malloc and mmap fail: Pillow raises MemoryError, other libraries raise their
    own errors.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except OSError:  # not Linux: only CPU time is limited there
        return
    limit = pages * os.sysconf("SC_PAGE_SIZE") + count
    hardest = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hardest != resource.RLIM_INFINITY:
        limit = min(limit, hardest)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # Core dumps are turned off, because they would contain a client's picture.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_memory_short() -> bool:
    """Whether this process uses nine tenths of the memory that ``bound_memory`` allows it."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except OSError:
        return False
    return limit != resource.RLIM_INFINITY and pages * os.sysconf("SC_PAGE_SIZE") > 0.9 * limit


def end_with_parent() -> None:
    """Make the kernel kill this process when its parent dies (Linux, prctl(2))."""
    function = getattr(ctypes.CDLL(None), "prctl", None)
    if function is not None:
        function(_PR_SET_PDEATHSIG, signal.SIGKILL)


def bound_cpu(seconds: float) -> None:
    """Let the kernel end this process after ``seconds`` more of CPU time; 0 removes the limit.

    SIGPROF also ends a process that is inside a library and never returns to Python.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)


def trim() -> None:
    """Return freed memory to the system with glibc's malloc_trim(3); elsewhere do nothing."""
    function = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if function is not None:
        function(0)
