# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the tensors of a safetensors file are read as float32."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from app.models import tensors

# The multiplication in the child process hangs if the parent's main thread has a pool of threads.
_FORKED = """
import os, signal, sys
from pathlib import Path
import torch
from app.models import tensors
torch.set_num_threads(4)
found = tensors.read(Path(sys.argv[1]), lambda name: True)
if os.fork() == 0:
    signal.alarm(30)
    found["half"] * 2
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]) != 0)
"""


def test_halves_become_floats_and_a_forked_process_can_compute(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    stored = {
        "half": torch.randn(1000, 1000).half(),
        "brain": torch.randn(4).bfloat16(),
        "number": torch.tensor(3),
        "other": torch.ones(1),
    }
    save_file(stored, file)
    found = tensors.read(file, lambda name: name != "other")
    assert found.keys() == stored.keys() - {"other"}
    for name, tensor in found.items():
        assert tensor.dtype == (torch.int64 if name == "number" else torch.float32)
        assert torch.equal(tensor, stored[name].to(tensor.dtype))
    done = subprocess.run([sys.executable, "-c", _FORKED, file], check=False)
    assert done.returncode == 0
