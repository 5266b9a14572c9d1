# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the built-in models can be trained on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training import clip, depth
from training.scenes.dataset import scenes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device here"),
]


def test_a_few_steps(tmp_path: Path) -> None:
    stage = depth.Stage(3, 4, 7e-4, ((140, 140),))
    torch.cuda.reset_peak_memory_stats()
    crops = depth.grounded_crops(scenes(tmp_path, 8))
    for network in (depth.train(depth.network(), crops, (stage,)), clip.train(3)):
        for parameter in network.parameters():
            assert parameter.device.type == "cpu", "it is written from there"
            assert torch.isfinite(parameter).all()
    assert torch.cuda.max_memory_allocated() > 0
