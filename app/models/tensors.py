# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads tensors of a safetensors file as float32; those that are float32 stay memory-mapped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import safe_open


def read(file: Path, is_wanted: Callable[[str], bool]) -> dict[str, Any]:
    """Tensors by name; 16-bit floats become float32, integers keep their type.

    They are read in a separate thread, because converting large tensors leaves a pool of threads
    with the thread that called. A pool of the main thread would hang in workers that are forked
    later.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_read, file, is_wanted).result()


def _read(file: Path, is_wanted: Callable[[str], bool]) -> dict[str, Any]:
    tensors = {}
    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - it is no mapping
            if is_wanted(name):
                tensor = opened.get_tensor(name)
                tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors
