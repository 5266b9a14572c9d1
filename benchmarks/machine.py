# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Describes the machine and the library versions that a benchmark ran with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_LIBRARIES = ("torch", "transformers", "open-clip-torch", "openvino", "pillow", "gunicorn")


def cpu_flags() -> list[str]:
    """Return the CPU's extensions that decide how fast it multiplies matrices."""
    line = _cpuinfo("flags")
    return [flag for flag in _TELLING if flag in line.split()]


def has_bf16() -> bool:
    """Return whether the CPU multiplies bfloat16 in hardware."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu_flags())


def description() -> dict[str, str]:
    """Describe the machine's CPU, cores and memory, without anything that identifies it."""
    name = _cpuinfo("model name") or platform.machine()
    return {
        "CPU": f"{name}, {' '.join(cpu_flags())}",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that do the work."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def _cpuinfo(name: str) -> str:
    """What Linux says of the first core; "" if it does not, as of names and flags on ARM."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""
