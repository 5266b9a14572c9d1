# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the PNG encoder: Pillow and OpenCV must read the same pixels from its files."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.rendering import png


def check(pixels: NDArray[np.uint8]) -> None:
    data = png.encode(pixels)
    image = Image.open(io.BytesIO(data))
    image.verify()  # checks the checksums
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode, image.size) == ("PNG", "L", pixels.shape[::-1])
    assert (np.asarray(image) == pixels).all()
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert read.shape == pixels.shape
    assert (read == pixels).all()


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_every_size(height: int, width: int, seed: int) -> None:
    check(np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8))


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (3000, 4000), (2, 2), (1081, 1923)])
def test_smooth_maps(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    check(((rows + 2 * columns) * 255 / (shape[0] + 2 * shape[1])).astype(np.uint8))


def test_it_is_not_half_as_large_again_as_pillows() -> None:
    rows, columns = np.indices((600, 800))
    pixels = (127 * (1 + np.sin(rows / 90) * np.cos(columns / 70))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert len(png.encode(pixels)) < 1.5 * len(file.getvalue())
