# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that image work on a GPU gives the same results as Pillow and OpenCV."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from app.models.depth_anything import STD
from app.models.open_clip import STD as CLIP_STD
from app.runtime import Runtime
from benchmarks.models import DepthModel, ImageModel, load
from config.settings import Settings
from tests.gpu.agreement import check_inputs, check_levels
from tests.gpu.full import fill, lend
from tests.pictures import encoded, picture, upright

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device here"),
]
SIZES = [(800, 600), (600, 800), (1000, 100), (90, 60), (1, 1)]


@pytest.fixture
def depth(runtime: Runtime) -> Iterator[DepthModel]:
    with lend(runtime, runtime.registry.get("small")) as model:
        assert isinstance(model, DepthModel)
        yield model


@pytest.fixture
def on_cpu(hub: Path) -> DepthModel:
    model = load(hub, "small")
    assert isinstance(model, DepthModel)
    return model


@pytest.mark.parametrize("size", SIZES)
def test_depth_prepares_the_same(
    depth: DepthModel, on_cpu: DepthModel, size: tuple[int, int]
) -> None:
    photo = upright(picture(*size))
    assert (
        depth.network.images._prepared(photo.image, lambda canvas: canvas, STD, STD) is not None
    ), "the device does it"
    check_inputs(depth.prepare(photo), on_cpu.prepare(photo), STD)


@pytest.mark.parametrize("size", [*SIZES, (4000, 3000)])
def test_depth_finishes_the_same(
    depth: DepthModel, on_cpu: DepthModel, size: tuple[int, int]
) -> None:
    disparity = np.asarray(picture(686, 518).convert("F"), np.float32)
    check_levels(depth.finish(disparity, *size), on_cpu.finish(disparity, *size), most=1)
    assert (depth.finish(np.full((37, 49), 3.0, np.float32), *size) == 128).all()
    with pytest.raises(ArithmeticError):
        depth.finish(np.array([[1, np.nan]], np.float32), *size)


@pytest.mark.parametrize("size", [(500, 750), (224, 231), (90, 60), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("image_size", [None, 512])
def test_clip_prepares_the_same(
    runtime: Runtime, hub: Path, size: tuple[int, int], image_size: int | None
) -> None:
    photo = upright(picture(*size))
    on_cpu = load(hub, "ViT-B-16")
    assert isinstance(on_cpu, ImageModel)
    with lend(runtime, runtime.registry.get("ViT-B-16")) as model:
        assert isinstance(model, ImageModel)
        inputs = model.prepare(photo, image_size)
    check_inputs(inputs, on_cpu.prepare(photo, image_size), CLIP_STD)


def test_many_threads_at_once(depth: DepthModel) -> None:
    """Many threads share the few streams for images, and still get the right results."""
    photos = [upright(picture(800 + 8 * seed, 600, seed)) for seed in range(16)]
    expected = [depth.prepare(photo) for photo in photos]
    with ThreadPoolExecutor(16) as pool:
        for got, one in zip(pool.map(depth.prepare, photos), expected, strict=True):
            np.testing.assert_array_equal(got, one)


def test_without_memory_the_cpu_does_it(depth: DepthModel) -> None:
    """Without free memory the CPU prepares an image; afterwards the device does so again."""
    photo = upright(picture(2000, 1500))
    expected = depth.prepare(photo)
    torch.cuda.empty_cache()
    held = fill()
    check_inputs(depth.prepare(photo), expected, STD)
    held.clear()
    torch.cuda.empty_cache()
    np.testing.assert_array_equal(depth.prepare(photo), expected)


def test_exact_decode_keeps_images_on_the_cpu(hub: Path) -> None:
    settings = Settings(hf_hub_cache=hub, hf_hub_offline=True, device="cuda", exact_decode=True)
    running = Runtime(settings)
    running.start()
    on_cpu = load(hub, "small")
    assert isinstance(on_cpu, DepthModel)
    photo = upright(picture(800, 600))
    try:
        with lend(running, running.registry.get("small")) as model:
            assert isinstance(model, DepthModel)
            np.testing.assert_array_equal(model.prepare(photo), on_cpu.prepare(photo))
        file = io.BytesIO(encoded(photo.image))
        assert running.depth.run(file, running.registry.get("small")).file
    finally:
        running.close()
