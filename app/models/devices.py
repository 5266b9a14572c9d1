# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Which device DEVICE means on this machine. Only after the fork: it asks the drivers."""

from __future__ import annotations

from dataclasses import dataclass

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


def resolve(setting: str) -> Device:
    """The device for a value of DEVICE.

    Raises:
        LoadError: a device was named that this machine (or this torch) does not have.
    """
    import torch

    if setting == "auto":
        if torch.cuda.is_available():
            return Device("cuda", torch.cuda.get_device_name())
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
    name = names[wanted.type](wanted) if wanted.type in names else "Apple GPU"
    return Device(str(wanted), name)
