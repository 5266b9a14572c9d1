# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes photos for requests: as large as files from a camera, and each with different bytes."""

from __future__ import annotations

import io
import itertools
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

#: Width and height in pixels.
SIZES = {
    "12 MP 4:3": (4000, 3000),
    "12 MP 3:4": (3000, 4000),
    "24 MP 3:2": (6000, 4000),
    "1920x1080": (1920, 1080),
    "poster 1000x1500": (1000, 1500),
    "poster 500x750": (500, 750),
}
#: All are 4:3, so that the network's input is the same and only the image work grows.
MEGAPIXELS = {
    "0.3 MP": (640, 480),
    "1 MP": (1152, 864),
    "2 MP": (1632, 1224),
    "6 MP": (2832, 2124),
    "12 MP 4:3": (4000, 3000),
    "24 MP 4:3": (5664, 4248),
}
DISTINCT = 4
_QUALITY = 88
_GRAIN = 512


class Photos:
    """An endless supply of JPEG files of one size, no two with the same bytes."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._files = [_photo(*size, seed) for seed in range(DISTINCT)]
        self._numbers = itertools.count()  # its next() is thread-safe

    def next(self) -> bytes:
        """Return one of a few pictures, made unique by a comment in the file."""
        number = next(self._numbers)
        return _commented(self._files[number % DISTINCT], f"photo {number}".encode())


def _commented(jpeg: bytes, text: bytes) -> bytes:
    """Return the file with a comment segment (COM) inserted after its first marker (SOI)."""
    segment = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    return jpeg[:2] + segment + jpeg[2:]


@cache
def _photo(width: int, height: int, seed: int) -> bytes:
    file = io.BytesIO()
    picture(width, height, seed).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Draw a scene of soft blobs, discs with sharp edges, texture, and the grain of a sensor."""
    random = np.random.default_rng([width, height, seed])
    size = width, height
    scene = _noise(random, 5, 60).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(scene)
    for x, y, extent, *colour in random.random((24, 6)):
        radius = (0.01 + extent**2 / 6) * width
        draw.circle((x * width, y * height), radius, tuple(int(255 * each) for each in colour))
    texture = _noise(random, 600, 14).resize(size, Image.Resampling.BICUBIC)
    scene = ImageChops.add(scene, texture, offset=-128)
    return ImageChops.add(scene, _tiled(_noise(random, _GRAIN, 5), size), offset=-128)


def _noise(random: np.random.Generator, edge: int, deviation: float) -> Image.Image:
    """Return a square of independent colours around grey."""
    values = random.normal(128, deviation, (edge, edge, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _tiled(tile: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Repeat a tile over the whole size; fresh noise for a large photo would take seconds."""
    filled = Image.new("RGB", size)
    for left in range(0, size[0], tile.width):
        for top in range(0, size[1], tile.height):
            filled.paste(tile, (left, top))
    return filled
