# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests decoding JPEGs at reduced size: it must hardly change the answers."""

from __future__ import annotations

import io
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.models.depth_anything import input_size
from app.pictures.decode import Picture, decode, in_full
from benchmarks.models import DepthModel, ImageModel, load
from tests.pictures import encoded, picture, rotated_jpeg

BUDGET = 10**8


@pytest.fixture(scope="module")
def depth(hub: Path) -> DepthModel:
    model = load(hub, "small")
    assert isinstance(model, DepthModel)
    return model


@pytest.fixture(scope="module")
def clip(hub: Path) -> ImageModel:
    model = load(hub, "ViT-L-14")
    assert isinstance(model, ImageModel)
    return model


@cache
def jpeg(size: tuple[int, int]) -> bytes:
    """Make a JPEG of this size by enlarging a small picture: a large one takes seconds to draw."""
    return encoded(picture(400, 300).resize(size), "JPEG")


@cache
def landscape() -> Image.Image:
    return picture(2400, 1600)


def scaled(data: bytes, family: DepthModel | ImageModel) -> Picture:
    decode_size = (
        family.decode_size if isinstance(family, DepthModel) else partial(family.decode_size, None)
    )
    return decode(io.BytesIO(data), BUDGET, decode_size)


@pytest.mark.parametrize("size", [(4000, 3000), (3001, 4003), (1920, 1080), (700, 500), (64, 48)])
def test_it_stays_large_enough(size: tuple[int, int], depth: DepthModel, clip: ImageModel) -> None:
    data = jpeg(size)
    for_depth, for_clip = scaled(data, depth), scaled(data, clip)
    assert for_depth.size == for_clip.size == size
    columns, rows = input_size(*size)
    decode_size = min(size[0], 1.4 * columns), min(size[1], 1.4 * rows)
    assert for_depth.image.width >= decode_size[0]
    assert for_depth.image.height >= decode_size[1]
    assert min(for_clip.image.size) >= min(*size, 448)
    assert decode(io.BytesIO(data), BUDGET, in_full).image.size == size
    if size == (4000, 3000):
        assert for_depth.image.size == (1000, 750)
        assert for_clip.image.size == (1000, 750)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_counts(orientation: int, depth: DepthModel) -> None:
    data = rotated_jpeg(landscape(), orientation)
    assert scaled(data, depth).size == decode(io.BytesIO(data), BUDGET).image.size
    assert (scaled(data, depth).size == (2400, 1600)) == (orientation < 5)
    assert scaled(data, depth).image.width < 2400
    small = np.asarray(scaled(data, depth).image.resize((60, 40)), float)
    full = np.asarray(decode(io.BytesIO(data), BUDGET).image.resize((60, 40)), float)
    assert np.abs(small - full).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_formats_are_decoded_in_full(kind: str, clip: ImageModel) -> None:
    assert scaled(encoded(picture(900, 700), kind), clip).image.size == (900, 700)


def test_a_larger_image_size_needs_more_pixels(clip: ImageModel) -> None:
    data = jpeg((4000, 3000))
    decoded = decode(io.BytesIO(data), BUDGET, partial(clip.decode_size, 512))
    assert decoded.image.size == (2000, 1500)


def test_the_answers_stay_what_they_were(depth: DepthModel, clip: ImageModel) -> None:
    """The bounds are those that docs/performance.md states for full-size weights."""
    rows, columns = np.indices((1500, 2000))
    waves = np.stack([np.sin(rows / 90), np.cos(columns / 70), np.sin((rows + columns) / 120)], 2)
    data = encoded(Image.fromarray((127 * (1 + waves)).astype(np.uint8)), "JPEG")
    full = decode(io.BytesIO(data), BUDGET)
    one = clip.finish(clip.infer(clip.prepare(full)[None])[0], True)
    other = clip.finish(clip.infer(clip.prepare(scaled(data, clip))[None])[0], True)
    assert float(one @ other) > 0.999
    maps = [
        depth.finish(depth.infer(depth.prepare(each)[None])[0], 2000, 1500).astype(int)
        for each in (full, scaled(data, depth))
    ]
    assert np.abs(maps[0] - maps[1]).mean() <= 1.0
