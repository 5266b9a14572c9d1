# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What an error says of a device."""

from __future__ import annotations

import sys
from typing import Literal

# In the messages of torch, its CUDA libraries, and OpenCL below OpenVINO.
_NO_MEMORY = (
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "CL_OUT_OF_HOST_MEMORY",
    "CL_MEM_OBJECT_ALLOCATION_FAILURE",
)


def fault(error: BaseException) -> Literal["memory", "lost"] | None:
    """What an error of an engine says of the device; None: it says nothing.

    Sources: PyTorch's documentation of ``torch.OutOfMemoryError`` and ``torch.AcceleratorError``.
    The latter means that the device's context is broken: all further calls fail, so the process
    has to be replaced. The host's allocator raises a plain RuntimeError.
    """
    if isinstance(error, MemoryError):
        return "memory"
    if not isinstance(error, RuntimeError):
        return None
    if any(word in str(error) for word in _NO_MEMORY):
        return "memory"
    torch = sys.modules.get("torch")
    if "CUDA error" in str(error) or (torch and isinstance(error, torch.AcceleratorError)):
        return "lost"
    return None
