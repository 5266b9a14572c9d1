# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests reading the focal length from the EXIF data that cameras and phones write into files."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from PIL import Image

from app.pictures.decode import decode
from app.pictures.exif import focal_length
from tests.pictures import encoded, picture

WIDTH, HEIGHT = 60, 40
#: the 35 mm equivalent of 26 mm, usual for phones, in pixels of such a picture
EXPECTED = 26 * math.hypot(WIDTH, HEIGHT) / math.hypot(36, 24)
_EXIF_DIRECTORY = 0x8769
EQUIVALENT, LENGTH, X_RESOLUTION, UNIT = 0xA405, 0x920A, 0xA20E, 0xA210
STORED_WIDTH, STORED_HEIGHT = 0xA002, 0xA003


def exif(tags: dict[int, Any], orientation: int = 1) -> bytes:
    made = Image.Exif()
    made[0x0112] = orientation
    made.get_ifd(_EXIF_DIRECTORY).update(tags)
    return made.tobytes()


def found(tags: dict[int, Any]) -> float | None:
    return focal_length(exif(tags), WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_of_a_file(kind: str, orientation: int) -> None:
    data = exif({EQUIVALENT: 26}, orientation)
    file = encoded(picture(WIDTH, HEIGHT), kind, exif=data)
    decoded = decode(io.BytesIO(file), 10**6)
    assert decoded.focal_length == pytest.approx(EXPECTED, rel=1e-6)


def test_in_pixels_of_the_whole_photo_even_if_it_is_decoded_smaller() -> None:
    file = encoded(picture(640, 480), "JPEG", exif=exif({EQUIVALENT: 26}))
    decoded = decode(io.BytesIO(file), 10**6, lambda *_: (100, 75))
    assert decoded.image.width < 640
    assert decoded.focal_length == pytest.approx(26 * 800 / math.hypot(36, 24))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "BMP", "TIFF", "GIF"])
def test_a_file_without(kind: str) -> None:
    assert decode(io.BytesIO(encoded(picture(60, 40), kind)), 10**6).focal_length is None


# A sensor that is 6 mm wide and has 60 pixels in a row, which is 10 pixels per millimetre.
SENSOR = {LENGTH: 4.5, STORED_WIDTH: WIDTH, STORED_HEIGHT: HEIGHT}


@pytest.mark.parametrize(
    ("unit", "resolution"),
    [(None, 254), (2, 254), (3, 100), (4, 10), (5, 0.01)],
)
def test_by_the_resolution_of_the_sensor(unit: int | None, resolution: float) -> None:
    tags = SENSOR | {X_RESOLUTION: resolution} | ({UNIT: unit} if unit else {})
    assert found(tags) == pytest.approx(45, rel=1e-4)
    assert found(tags | {EQUIVALENT: 26}) == pytest.approx(EXPECTED)


ODD: list[dict[int, Any]] = [
    {},
    {EQUIVALENT: 0},
    {EQUIVALENT: 60_000},
    {EQUIVALENT: 1},
    {LENGTH: 4.5},
    {LENGTH: 4.5, X_RESOLUTION: 254},
    SENSOR | {X_RESOLUTION: 254, STORED_WIDTH: 2 * WIDTH, STORED_HEIGHT: 2 * HEIGHT},
    SENSOR | {X_RESOLUTION: 254, UNIT: 9},
    SENSOR | {X_RESOLUTION: 254, LENGTH: 0},
]


@pytest.mark.parametrize("tags", ODD, ids=str)
def test_unknown_or_senseless(tags: dict[int, Any]) -> None:
    assert found(tags) is None


@pytest.mark.parametrize("cut", range(0, 90, 7))
def test_damaged_data(cut: int) -> None:
    data = exif({EQUIVALENT: 26})
    assert focal_length(data[:cut], WIDTH, HEIGHT) in (None, pytest.approx(EXPECTED))
    assert focal_length(data[:cut] + b"\xff" * 99, WIDTH, HEIGHT) in (None, pytest.approx(EXPECTED))
