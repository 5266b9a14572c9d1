# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Fills the memory of a device, and lends models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from app.runtime import Runtime
from benchmarks.models import first_network, with_work
from config.models import ModelSpec


def fill() -> list[torch.Tensor]:
    """Allocate all memory of the device except a few megabytes."""
    held = []
    block = 2**30
    while block >= 2**20:
        try:
            held.append(torch.empty(block, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            block //= 2
    return held


@contextmanager
def lend(runtime: Runtime, spec: ModelSpec) -> Iterator[Any]:
    """Lend a model's first network, with the steps that the service takes around inference."""
    with runtime.manager.lease(first_network(spec)) as loaded:
        yield with_work(loaded)
