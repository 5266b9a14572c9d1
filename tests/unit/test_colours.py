# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests colour profiles: they apply in every pixel mode, but only to the colours they describe."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.pictures import profiles
from app.pictures.decode import decode
from tests.pictures import encoded

COLOUR = (80, 200, 80)
P3 = profiles.from_code_points(12, 13, grey=False) or b""
LINEAR_GREY = profiles.from_gamma(1.0, None, grey=True) or b""
LINEAR = profiles.from_gamma(1.0, None, grey=False) or b""


def pixel(image: Image.Image, kind: str = "PNG", **options: Any) -> NDArray[np.int64]:
    found = decode(io.BytesIO(encoded(image, kind, **options)), 10**6).image
    assert found.mode == "RGB"
    return corner(found)


def corner(image: Image.Image) -> NDArray[np.int64]:
    """Return the pixel at the top left."""
    values: NDArray[np.int64] = np.asarray(image, np.int64)[0, 0]
    return values


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_with_and_without_transparency(kind: str, mode: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "AVIF" else {}
    image = Image.new(mode, (16, 16), (*COLOUR, 255)[: len(mode)])
    expected = pixel(Image.new("RGB", (16, 16), COLOUR), icc_profile=P3)
    assert expected[0] < COLOUR[0] - 20
    assert np.abs(pixel(image, kind, icc_profile=P3, **options) - expected).max() <= 3


def test_a_palette_with_and_without_transparent_entries() -> None:
    expected = pixel(Image.new("RGB", (4, 4), COLOUR), icc_profile=P3)
    image = Image.new("P", (4, 4), 0)
    image.putpalette([*COLOUR, 0, 0, 0])
    assert np.array_equal(pixel(image, icc_profile=P3), expected)
    assert np.array_equal(pixel(image, icc_profile=P3, transparency=1), expected)
    assert pixel(image, icc_profile=P3, transparency=0).tolist() == [255, 255, 255]


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_the_profile_comes_first_and_white_shines_through(alpha: int) -> None:
    opaque = pixel(Image.new("RGB", (4, 4), COLOUR), icc_profile=P3)
    found = pixel(Image.new("RGBA", (4, 4), (*COLOUR, alpha)), icc_profile=P3)
    assert np.abs(found - (255 + (opaque - 255) * alpha / 255)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_of_every_depth(mode: str) -> None:
    image = Image.new("L", (4, 4), 55)
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), 55 * 257, np.uint16))
    found = pixel(image.convert(mode), icc_profile=LINEAR_GREY)
    assert np.abs(found - 128).max() <= 1  # linear 55 / 255 is level 128 in sRGB


def test_a_grey_jpeg_may_have_an_rgb_profile() -> None:
    """As in browsers, the RGB profile of a grey JPEG counts, but not that of a grey PNG.

    PNG forbids such a profile.
    """
    grey = Image.new("L", (16, 16), 55)
    assert np.abs(pixel(grey, "JPEG", icc_profile=LINEAR) - 128).max() <= 1
    assert pixel(grey, icc_profile=LINEAR).tolist() == [55] * 3


@pytest.mark.parametrize("profile", [LINEAR_GREY, b"", b"x" * 40, LINEAR[:-900], b"\0" * 200])
def test_a_profile_of_other_colours_or_a_broken_one_is_ignored(profile: bytes) -> None:
    image = Image.new("RGB", (16, 16), COLOUR)
    for kind in ("PNG", "TIFF"):
        assert pixel(image, kind, icc_profile=profile).tolist() == list(COLOUR)
    cmyk = Image.new("CMYK", (16, 16), (0, 0, 0, 100))
    plain = pixel(cmyk, "TIFF")
    assert np.array_equal(pixel(cmyk, "TIFF", icc_profile=profile or LINEAR), plain)


def segments(pieces: list[tuple[int, int, bytes]]) -> bytes:
    plain = encoded(Image.new("RGB", (16, 16), COLOUR), "JPEG", quality=100)
    found = b""
    for number, count, piece in pieces:
        content = b"ICC_PROFILE\0" + bytes((number, count)) + piece
        found += b"\xff\xe2" + (len(content) + 2).to_bytes(2, "big") + content
    return plain[:2] + found + plain[2:]


def test_pieces_of_a_profile_are_put_into_order_and_none_may_be_missing() -> None:
    half = len(P3) // 2
    first, second = (1, 2, P3[:half]), (2, 2, P3[half:])

    def colour(*pieces: tuple[int, int, bytes]) -> NDArray[np.int64]:
        return corner(decode(io.BytesIO(segments(list(pieces))), 10**6).image)

    plain, right = colour(), colour((1, 1, P3))
    assert np.abs(plain - right).max() > 20
    assert np.array_equal(colour(first, second), right)
    assert np.array_equal(colour(second, first), right)
    for wrong in (
        (first,),
        (second,),
        (first, first),
        (first, (3, 2, b"x")),
        ((1, 2, b""), second),
    ):
        assert np.array_equal(colour(*wrong), plain)
