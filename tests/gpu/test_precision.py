# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that fp16 and bf16 on a GPU, alone and in batches, agree with fp32 on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.engines.base import FloatArray
from app.runtime import Runtime
from benchmarks.models import DepthModel, ImageModel, Model, load
from config.settings import Settings
from config.values import Precision
from tests.gpu.agreement import COSINE, check_maps, check_vectors
from tests.gpu.full import lend
from tests.pictures import picture, upright

WIDTH, HEIGHT, PHOTOS = 640, 480, 4
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device here"),
]


@pytest.fixture(params=["fp16", "bf16"])
def precision(request: pytest.FixtureRequest) -> Precision:
    wanted: Precision = request.param
    return wanted


@pytest.fixture
def settings(hub: Path, precision: Precision) -> Settings:
    return Settings(hf_hub_cache=hub, hf_hub_offline=True, device="cuda", precision=precision)


def different_inputs(model: Model) -> FloatArray:
    assert isinstance(model, DepthModel | ImageModel)
    photos = [picture(WIDTH, HEIGHT, seed) for seed in range(PHOTOS)]
    return np.stack([model.prepare(upright(photo)) for photo in photos])


def one_by_one(model: Model, inputs: FloatArray) -> FloatArray:
    return np.concatenate([model.infer(each[None]) for each in inputs])


@pytest.mark.parametrize("key", ["small", "base", "large"])
def test_maps(runtime: Runtime, hub: Path, precision: Precision, key: str) -> None:
    with lend(runtime, runtime.registry.get(key)) as model:
        assert isinstance(model, DepthModel)
        assert (model.network.engine, model.network.precision) == ("torch", precision)
        inputs = different_inputs(model)
        exact, alone, together = (
            [model.finish(each, WIDTH, HEIGHT) for each in outputs]
            for outputs in (
                load(hub, key).infer(inputs),
                one_by_one(model, inputs),
                model.infer(inputs),
            )
        )
    check_maps(alone, exact)
    check_maps(together, exact)
    check_maps(together, alone)


@pytest.mark.parametrize("key", ["ViT-L-14", "ViT-B-16"])
def test_vectors(runtime: Runtime, hub: Path, precision: Precision, key: str) -> None:
    with lend(runtime, runtime.registry.get(key)) as model:
        assert isinstance(model, ImageModel)
        assert (model.network.engine, model.network.precision) == ("torch", precision)
        inputs = different_inputs(model)
        exact, alone, together = (
            [model.finish(each, normalize=True) for each in outputs]
            for outputs in (
                load(hub, key).infer(inputs),
                one_by_one(model, inputs),
                model.infer(inputs),
            )
        )
    check_vectors(alone, exact, COSINE[precision])
    check_vectors(together, exact, COSINE[precision])
    check_vectors(together, alone, COSINE[precision])
