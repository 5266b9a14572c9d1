# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the pixels that decoding gives for files of all formats, and which files are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from app.errors import BadRequest, TooLarge
from app.pictures import decode as images
from tests.pictures import encoded, picture, rotated_jpeg

BUDGET = 1_000_000


def decode(data: bytes, max_pixels: int = BUDGET) -> Image.Image:
    return images.decode(io.BytesIO(data), max_pixels).image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF"])
def test_known_formats(kind: str) -> None:
    image = decode(encoded(picture(60, 40), kind), BUDGET)
    assert (image.mode, image.size) == ("RGB", (60, 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_phone_is_applied(orientation: int) -> None:
    image = decode(rotated_jpeg(picture(60, 40), orientation), BUDGET)
    assert image.size == ((60, 40) if orientation < 5 else (40, 60))


def test_transparent_pixels_are_white_whatever_hides_below() -> None:
    hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert decode(encoded(hidden), BUDGET).getpixel((0, 0)) == (255, 255, 255)
    colour = Image.new("RGB", (4, 4), (255, 0, 0))  # this colour is marked as transparent
    assert decode(encoded(colour, transparency=(255, 0, 0)), BUDGET).getpixel((0, 0)) == (255,) * 3
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0])
    assert decode(encoded(palette, transparency=0), BUDGET).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    image = np.asarray(decode(encoded(Image.fromarray(ramp)), BUDGET))
    assert np.array_equal(image[..., 0].ravel(), np.arange(256))


def test_float_grey_is_stretched_and_survives_undefined_values() -> None:
    values = np.array([[-1.0, 0.0], [1.0, np.nan]], np.float32)
    image = np.asarray(decode(encoded(Image.fromarray(values), "TIFF"), BUDGET))
    assert image[..., 0].tolist() == [[0, 128], [255, 128]]


@pytest.mark.parametrize("data", [b"", b"not an image", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(data, BUDGET)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_half_a_file_is_refused(kind: str) -> None:
    data = encoded(picture(100, 100), kind)
    with pytest.raises(BadRequest):
        decode(data[: len(data) // 2], BUDGET)


def test_the_pixel_budget_is_checked_before_decoding() -> None:
    data = encoded(Image.new("1", (2000, 1000)))
    with pytest.raises(TooLarge, match=r"2000000 pixels \(2000x1000\).*MAX_IMAGE_PIXELS"):
        decode(data[:200], BUDGET)  # the data end before the pixels
