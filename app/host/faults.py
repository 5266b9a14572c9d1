# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Classifies errors of an engine: out of memory, or a lost device."""

from __future__ import annotations

import sys
from typing import Literal

# Parts of messages of torch, of CUDA's libraries, and of OpenCL, which OpenVINO uses on GPUs.
_NO_MEMORY = (
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "CL_OUT_OF_HOST_MEMORY",
    "CL_MEM_OBJECT_ALLOCATION_FAILURE",
)


def fault(error: BaseException) -> Literal["memory", "lost"] | None:
    """What an error of an engine says about the device.

    Returns:
        "memory": the host or the device has too little memory.
        "lost": the context of the device is broken. All further calls fail, so the process has to
        be replaced.
        None: another error, which says nothing about the device.

    Sources: PyTorch's documentation of ``torch.OutOfMemoryError`` and ``torch.AcceleratorError``.
    torch's allocator for host memory raises a plain RuntimeError, so messages are searched, too.
    """
    if isinstance(error, MemoryError):
        return "memory"
    if not isinstance(error, RuntimeError):
        return None
    if any(word in str(error) for word in _NO_MEMORY):
        return "memory"
    torch = sys.modules.get("torch")
    # While another thread imports torch, it may not have all its parts yet.
    lost = getattr(torch, "AcceleratorError", ())
    if "CUDA error" in str(error) or isinstance(error, lost):
        return "lost"
    return None
