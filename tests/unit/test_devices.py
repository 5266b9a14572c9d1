# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests which device a worker takes, and how errors of an engine are classified."""

from __future__ import annotations

import pytest
import torch

from app.engines import devices
from app.engines.devices import resolve
from app.host.faults import fault


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: f"GPU {device}")


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("setting", ["auto", "cuda", "rocm"])
def test_workers_are_spread_over_the_devices(setting: str) -> None:
    taken = [resolve(setting, worker).type for worker in range(5)]
    assert taken == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]


@pytest.mark.usefixtures("three_gpus")
def test_a_device_that_is_named_is_taken_by_all() -> None:
    assert {resolve("cuda:2", worker).type for worker in range(5)} == {"cuda:2"}
    assert {resolve("cpu", worker).type for worker in range(5)} == {"cpu"}


def test_what_errors_mean() -> None:
    assert fault(torch.OutOfMemoryError("CUDA out of memory")) == "memory"
    assert fault(RuntimeError("[enforce fail] not enough memory: you tried")) == "memory"
    assert fault(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")) == "memory"
    assert fault(MemoryError()) == "memory"
    assert fault(torch.AcceleratorError("CUDA error: an illegal memory access")) == "lost"
    assert fault(RuntimeError("shapes do not match")) is None
    assert fault(ValueError("CUDA error")) is None
