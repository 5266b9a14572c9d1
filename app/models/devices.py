# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Which device DEVICE means on this machine. Only after the fork: it asks the drivers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from app.models.base import LoadError


@dataclass(frozen=True)
class Device:
    """A torch device and its name for people."""

    type: str
    name: str

    @property
    def is_gpu(self) -> bool:
        """Whether it is anything else than the CPU."""
        return self.type != "cpu"


def resolve(setting: str, worker: int = 0) -> Device:
    """The device for a value of DEVICE.

    Where it leaves the choice among several CUDA devices, workers are spread over them in turn.

    Raises:
        LoadError: a device was named that this machine (or this torch) does not have.
    """
    import torch

    if setting == "auto":
        if torch.cuda.is_available():
            return _any_cuda(worker)
        if torch.xpu.is_available():
            return Device("xpu", torch.xpu.get_device_name())
        if torch.backends.mps.is_available():
            return Device("mps", "Apple GPU")
        return Device("cpu", "CPU")
    if setting == "cpu":
        return Device("cpu", "CPU")
    # On ROCm builds of torch the devices answer to "cuda".
    wanted = torch.device("cuda" if setting == "rocm" else setting)
    available = {
        "cuda": torch.cuda.is_available() and (wanted.index or 0) < torch.cuda.device_count(),
        "xpu": torch.xpu.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[wanted.type]:
        raise LoadError(f"DEVICE={setting}, but this machine has no such device")
    names = {"cuda": torch.cuda.get_device_name, "xpu": torch.xpu.get_device_name}
    if wanted.type == "cuda" and wanted.index is None:
        return _any_cuda(worker)
    name = names[wanted.type](wanted) if wanted.type in names else "Apple GPU"
    return Device(str(wanted), name)


def _any_cuda(worker: int) -> Device:
    import torch

    count = torch.cuda.device_count()
    name = "cuda" if count == 1 else f"cuda:{worker % count}"
    return Device(name, torch.cuda.get_device_name(name))


def fault(error: BaseException) -> Literal["memory", "lost"] | None:
    """What an error of an engine says of the device; None: it says nothing.

    Sources: PyTorch's documentation of ``torch.OutOfMemoryError`` and ``torch.AcceleratorError``.
    The latter means that the device's context is broken: all further calls fail, so the process
    has to be replaced. The host's allocator raises a plain RuntimeError.
    """
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError):
        return "memory"
    if torch is None or not isinstance(error, RuntimeError):
        return None
    words = ("not enough memory", "out of memory", "ALLOC_FAILED")
    if isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words):
        return "memory"
    if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
        return "lost"
    return None
