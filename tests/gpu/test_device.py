# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that a GPU gives the same answers as the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.lending.entry import Wanted
from app.runtime import Runtime
from benchmarks.models import DepthModel, ImageModel
from config.settings import Settings
from tests.gpu.full import lend
from tests.pictures import picture, upright

WANTED: list[Wanted] = ["cpu", "gpu"]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device here"),
]


@pytest.fixture
def settings(hub: Path) -> Settings:
    # By default, the CPU and the GPU would each use the precision that is fast there, so that their
    # answers would differ more.
    return Settings(hf_hub_cache=hub, hf_hub_offline=True, precision="fp32")


def test_depth_agrees(runtime: Runtime) -> None:
    spec = runtime.registry.get("small")
    maps = []
    for wanted in WANTED:
        device = runtime.operations.load(spec, wanted, lambda: None)
        assert device.is_gpu is (wanted == "gpu")
        with lend(runtime, spec) as model:
            assert isinstance(model, DepthModel)
            inputs = model.prepare(upright(picture(640, 480)))[None]
            maps.append(model.finish(model.infer(inputs)[0], 640, 480).astype(int))
    assert np.abs(maps[0] - maps[1]).max() <= 2


def test_embedding_agrees(runtime: Runtime) -> None:
    spec = runtime.registry.get("ViT-B-16")
    vectors = []
    for wanted in WANTED:
        runtime.operations.load(spec, wanted, lambda: None)
        with lend(runtime, spec) as model:
            assert isinstance(model, ImageModel)
            vectors.append(
                model.finish(model.infer(model.prepare(upright(picture(300, 200)))[None])[0], True)
            )
    assert float(vectors[0] @ vectors[1]) > 0.9999
