# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests a GPU that really has no free memory, and that device memory is freed."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from app.errors import NotAvailable
from app.runtime import Runtime
from tests.gpu.agreement import check_maps
from tests.gpu.full import fill, lend
from tests.pictures import encoded, picture

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device here"),
]
PHOTO = encoded(picture(640, 480))


def map_of(runtime: Runtime) -> NDArray[np.uint8]:
    png = runtime.depth.run(io.BytesIO(PHOTO), runtime.registry.get("small")).file
    return np.asarray(Image.open(io.BytesIO(png)))


def test_out_of_memory_is_503_and_the_next_request_works(runtime: Runtime) -> None:
    spec = runtime.registry.get("small")
    before = map_of(runtime)
    with lend(runtime, spec) as model:  # a kept graph would need no new memory
        model.network._cuda._graphs.clear()
    torch.cuda.empty_cache()
    held = fill()
    with pytest.raises(NotAvailable, match="memory") as refused:
        runtime.depth.run(io.BytesIO(PHOTO), spec)
    assert refused.value.retry_after
    held.clear()
    torch.cuda.empty_cache()
    check_maps([map_of(runtime)], [before])


def test_a_model_that_does_not_fit_is_503(runtime: Runtime) -> None:
    held = fill()
    with pytest.raises(NotAvailable, match="MB are free"):
        runtime.depth.run(io.BytesIO(PHOTO), runtime.registry.get("base"))
    held.clear()
    torch.cuda.empty_cache()


def test_unloading_gives_device_memory_back(runtime: Runtime) -> None:
    spec = runtime.registry.get("large")
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    runtime.operations.load(spec, "gpu", lambda: None)
    runtime.depth.run(io.BytesIO(PHOTO), spec)
    assert torch.cuda.memory_reserved() > before
    runtime.operations.unload(spec, lambda: None)
    assert torch.cuda.memory_reserved() <= before + 32 * 2**20  # cuBLAS keeps its workspace
