# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests what is told of memory and faults while another thread imports torch."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from app.host import memory
from app.host.faults import fault


@pytest.mark.parametrize("parts", [{}, {"cuda": ModuleType("torch.cuda")}])
def test_while_torch_is_being_imported(
    parts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python puts a module into ``sys.modules`` before the module has its parts."""
    torch = ModuleType("torch")
    vars(torch).update(parts)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert memory.figures().allocated_mb == 0
    assert memory.clean_up().gpu_freed_mb == 0
    assert fault(RuntimeError("something else")) is None
