# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes pictures for the tests: smooth and colourful ones, different for each seed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from app.pictures.decode import Picture
from benchmarks.checkpoints import numbers


def picture(width: int, height: int, seed: int = 1) -> Image.Image:
    values = numbers.pictures(1, height, width, seed)[0].permute(1, 2, 0).numpy()
    return Image.fromarray((values * 255).astype(np.uint8))


def upright(image: Image.Image) -> Picture:
    """Return an image as the decoder returns it."""
    return Picture(image, image.size)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def rotated_jpeg(image: Image.Image, orientation: int = 6) -> bytes:
    """Make a JPEG as a phone writes it: turned pixels, and EXIF data that state the turn."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", quality=92, exif=exif.tobytes())
