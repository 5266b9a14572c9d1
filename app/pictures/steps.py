# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Records crops, resizes and borders, so that a decoding process can do them later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from app.pictures import resampling
from app.pictures.resampling import Colour, Interpolation

Box = tuple[int, int, int, int]
#: ``("crop", left, top, right, bottom)``, ``("resize", width, height, interpolation)`` or
#: ``("pad", width, height, red, green, blue)``. Places and sizes are in pixels, colours 0 to 255.
Step = tuple[str | int, ...]


@dataclass(frozen=True)
class Outline:
    """A ``Canvas`` without pixels, which records what is done to it."""

    size: tuple[int, int]
    steps: tuple[Step, ...] = ()

    def crop(self, box: Box) -> Outline:
        """Record a crop to a box (left, top, right, bottom) within the picture."""
        left, top, right, bottom = box
        return Outline((right - left, bottom - top), (*self.steps, ("crop", *box)))

    def resize(self, size: tuple[int, int], interpolation: Interpolation = "bicubic") -> Outline:
        """Record a resize to a width and height."""
        return Outline(size, (*self.steps, ("resize", *size, interpolation)))

    def pad(self, size: tuple[int, int], colour: Colour) -> Outline:
        """Record a border around the picture, see ``Canvas.pad``."""
        return Outline(size, (*self.steps, ("pad", *size, *colour)))


def resized(image: Image.Image, steps: Sequence[Sequence[str | int]]) -> Image.Image:
    """Apply recorded steps to an image.

    Raises:
        ValueError: a step is unknown or impossible.
    """
    for name, *values in steps:
        if name == "crop":
            left, top, right, bottom = map(int, values)
            image = image.crop((left, top, right, bottom))
        elif name == "resize":
            width, height, interpolation = values
            image = resampling.resized(image, (int(width), int(height)), str(interpolation))
        elif name == "pad":
            width, height, red, green, blue = map(int, values)
            image = resampling.padded(image, (width, height), (red, green, blue))
        else:
            raise ValueError(f"unknown step: {name}")
    return image
