# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Resolves the setting DEVICE to a device of this machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app.engines.base import LoadError
from app.engines.openvino import runner as openvino_engine

# Files that exist if a GPU driver is loaded, for each build of torch. Before the fork only files
# may be checked, because asking the driver creates a context that does not survive a fork. Device
# nodes below /dev may appear only at the first use of the GPU, so the kernel module is checked as
# well.
_CUDA_SIGNS = ("/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia/version", "/sys/module/nvidia")
_ROCM_SIGNS = ("/dev/kfd",)


@dataclass(frozen=True)
class Device:
    """A device that runs networks.

    ``type`` is "cpu", a device of torch such as "cuda:1", or one of OpenVINO such as
    "openvino:GPU.0"; ``name`` is the hardware's name for people.
    """

    type: str
    name: str

    @property
    def is_gpu(self) -> bool:
        """Whether this is any device but the CPU."""
        return self.type != "cpu"


_CPU = Device("cpu", "CPU")


def is_surely_cpu(setting: str) -> bool:
    """Whether a value of DEVICE can only mean the CPU.

    It may be called before the fork, because it asks no driver and imports no library of an engine.
    """
    if setting == "auto":
        return not _may_have_gpu()
    return setting in ("cpu", "openvino:CPU")


def resolve(setting: str, worker: int = 0) -> Device:
    """The device for a value of DEVICE. Must be called after the fork, because it asks drivers.

    If the value does not name one of several CUDA devices, workers are distributed over them.

    Raises:
        LoadError: this machine (or this build of torch) does not have the device.
    """
    if is_surely_cpu(setting):
        return _CPU
    if setting.startswith("openvino"):
        return _resolve_openvino(setting)
    import torch

    if setting == "auto":
        if torch.cuda.is_available():
            return _any_cuda(worker)
        if torch.xpu.is_available():
            return Device("xpu", torch.xpu.get_device_name())
        if torch.backends.mps.is_available():
            return Device("mps", "Apple GPU")
        return _CPU
    # ROCm builds of torch call their devices "cuda".
    wanted = torch.device("cuda" if setting == "rocm" else setting)
    available = {
        "cuda": torch.cuda.is_available() and (wanted.index or 0) < torch.cuda.device_count(),
        "xpu": torch.xpu.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[wanted.type]:
        raise _no_such(setting)
    names = {"cuda": torch.cuda.get_device_name, "xpu": torch.xpu.get_device_name}
    if wanted.type == "cuda" and wanted.index is None:
        return _any_cuda(worker)
    name = names[wanted.type](wanted) if wanted.type in names else "Apple GPU"
    return Device(str(wanted), name)


def _may_have_gpu() -> bool:
    """Whether torch might find a GPU on this machine."""
    if sys.platform == "darwin":
        return True
    build = _build_of_torch()
    if build is None:
        return False
    if "xpu" in build:
        return True
    if "cpu" in build:
        return False
    return any(Path(sign).exists() for sign in (_ROCM_SIGNS if "rocm" in build else _CUDA_SIGNS))


@cache  # reading the metadata of a package takes a millisecond, and /health asks each time
def _build_of_torch() -> str | None:
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def _resolve_openvino(setting: str) -> Device:
    wanted = setting.partition(":")[2] or "AUTO"
    gpus = openvino_engine.gpus()
    for name, full_name in gpus.items():
        # OpenVINO calls a single GPU "GPU", and several GPUs "GPU.0", "GPU.1" and so on.
        if wanted in ("AUTO", "GPU", name) or (wanted == "GPU.0" and name == "GPU"):
            return Device(f"openvino:{name}", full_name)
    if wanted == "AUTO":
        return _CPU
    raise _no_such(setting)


def _no_such(setting: str) -> LoadError:
    return LoadError(f"DEVICE={setting}, but this machine has no such device")


def _any_cuda(worker: int) -> Device:
    import torch

    count = torch.cuda.device_count()
    name = "cuda" if count == 1 else f"cuda:{worker % count}"
    return Device(name, torch.cuda.get_device_name(name))
