# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Resizes and pads pictures with Pillow. Decoding processes use it, so it imports little."""

from __future__ import annotations

from typing import Literal

from PIL import Image

#: How a resize computes new pixels; all of these antialias, as Pillow does.
Interpolation = Literal["bicubic", "bilinear", "lanczos"]
Colour = tuple[int, int, int]

_FILTERS: dict[str, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


def resized(image: Image.Image, size: tuple[int, int], interpolation: str) -> Image.Image:
    """Resize an image to a width and height, pixels.

    Raises:
        ValueError: the interpolation is unknown.
    """
    if interpolation not in _FILTERS:
        raise ValueError(f"unknown interpolation: {interpolation}")
    if image.size == size:  # Pillow would copy the image
        return image
    return image.resize(size, _FILTERS[interpolation])


def padded(image: Image.Image, size: tuple[int, int], colour: Colour) -> Image.Image:
    """Put an RGB image into the middle of a larger one, see ``Canvas.pad``."""
    width, height = size
    whole = Image.new("RGB", size, colour)
    whole.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return whole
