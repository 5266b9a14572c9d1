# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the image work for GPUs, with torch on the CPU.

Its results are those of Pillow and OpenCV, and the CPU takes over where the device cannot do it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.models.depth_anything import MEAN, STD
from app.pictures import canvas as host_images
from app.pictures import device_images
from app.pictures.device_images import DeviceCanvas, DeviceImages
from benchmarks.models import DepthModel, ImageModel, load
from tests.gpu.agreement import check_inputs, check_levels
from tests.pictures import picture, upright
from tests.unit.on_cpu import OnCpu

# Each model is loaded only once for all tests of this file.
model_of = cache(load)


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def edges(width: int, height: int) -> Image.Image:
    """Make black and white squares, at whose edges a cubic filter overshoots."""
    return (
        noise(-(-width // 8), -(-height // 8))
        .point(lambda level: 255 * (level > 127))
        .resize((width, height), Image.Resampling.NEAREST)
    )


@pytest.mark.parametrize("make", [picture, noise, edges])
@pytest.mark.parametrize("size", [(343, 259), (112, 84), (700, 500), (500, 259), (18, 300), (1, 1)])
def test_resizing_is_pillows(make: type, size: tuple[int, int]) -> None:
    photo = make(500, 375)
    expected = np.asarray(photo.resize(size, Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).float()
    got = device_images.resized(pixels, *size)
    assert DeviceCanvas(got).size == size
    check_levels(got.permute(1, 2, 0).numpy().astype(np.uint8), expected, most=2)


@pytest.mark.parametrize("size", [(800, 600), (600, 800), (1000, 100), (90, 60), (1, 1), (1, 20)])
def test_depth_prepares_the_same(
    hub: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(hub, "small")
    assert isinstance(model, DepthModel)
    photo = upright(picture(*size))
    expected = model.prepare(photo)
    monkeypatch.setattr(model.network, "images", DeviceImages(OnCpu()))
    check_inputs(model.prepare(photo), expected, STD)


@pytest.mark.parametrize("size", [(500, 750), (224, 231), (90, 60), (1, 3000), (3000, 1), (1, 1)])
@pytest.mark.parametrize("image_size", [None, 512, 7])
def test_clip_prepares_the_same(
    hub: Path, size: tuple[int, int], image_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(hub, "ViT-B-16")
    assert isinstance(model, ImageModel)
    photo = upright(picture(*size))
    expected = model.prepare(photo, image_size)
    monkeypatch.setattr(model.network, "images", DeviceImages(OnCpu()))
    check_inputs(model.prepare(photo, image_size), expected, STD)


@pytest.mark.parametrize("size", [(1200, 900), (259, 343), (100, 80), (1, 1), (3, 1000)])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
def test_maps_are_opencvs(size: tuple[int, int], scale: float) -> None:
    waves = np.asarray(picture(343, 259).convert("F"), np.float32)
    rough = np.random.default_rng(1).random((343, 259), np.float32)
    for disparity in (waves * scale, rough * scale):
        got = device_images.spread(torch.from_numpy(disparity), *size).numpy()
        check_levels(got, host_images.spread(disparity, *size), most=1)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e-9, 12345.678])
@pytest.mark.parametrize("size", [(50, 40), (1, 1), (800, 700)])
def test_a_constant_map_is_all_128(value: float, size: tuple[int, int]) -> None:
    constant = np.full((7, 9), value, np.float32)
    assert (device_images.spread(torch.from_numpy(constant), *size) == 128).all()
    assert (host_images.spread(constant, *size) == 128).all()


def test_a_device_without_memory_leaves_it_to_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    cuda = OnCpu()
    images = DeviceImages(cuda)
    cuda.full = torch.OutOfMemoryError("CUDA out of memory")
    disparity = np.eye(2, dtype=np.float32)
    assert (images.spread(disparity, 4, 4) == host_images.spread(disparity, 4, 4)).all()
    assert "the CPU does" in caplog.text
    caplog.clear()
    assert images.spread(disparity, 4, 4).shape == (4, 4)
    assert not caplog.text, "the next one works"


def test_a_lost_device_is_no_business_of_the_cpu() -> None:
    cuda = OnCpu()
    cuda.full = torch.AcceleratorError("CUDA error: unspecified launch failure")
    with pytest.raises(torch.AcceleratorError):
        DeviceImages(cuda).prepared(picture(8, 8), lambda canvas: canvas, MEAN, STD)


def test_the_cpu_keeps_what_is_too_large_for_the_device(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = OnCpu()
    images = DeviceImages(cuda)
    assert images.spread(np.zeros((2, 2), np.float32), 10_000, 10_000).shape == (10_000, 10_000)
    large = Image.new("RGB", (4000, 3000))
    assert not images.works_on(4000 * 3000)
    small = Image.new("RGB", (4, 3))
    monkeypatch.setattr(device_images, "resized", None)  # so that resizing on the device would fail
    enlarged = images.prepared(small, lambda each: each.resize(large.size), MEAN, STD)
    assert enlarged.shape == (3, 3000, 4000)
    cuda.full = AssertionError("nothing of this may reach the device")
    assert images.prepared(large, lambda canvas: canvas, MEAN, STD).shape == (3, 3000, 4000)
    assert not caplog.records
