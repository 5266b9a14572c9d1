# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Records crops and resizes, so that a decoding process can do them later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

Box = tuple[int, int, int, int]
#: ``("crop", left, top, right, bottom)`` or ``("resize", width, height)``, pixels.
Step = tuple[str | int, ...]


@dataclass(frozen=True)
class Outline:
    """A ``Canvas`` without pixels, which records the crops and resizes done to it."""

    size: tuple[int, int]
    steps: tuple[Step, ...] = ()

    def crop(self, box: Box) -> Outline:
        """Record a crop to a box (left, top, right, bottom) within the picture."""
        left, top, right, bottom = box
        return Outline((right - left, bottom - top), (*self.steps, ("crop", *box)))

    def resize(self, size: tuple[int, int]) -> Outline:
        """Record a resize to a width and height."""
        return Outline(size, (*self.steps, ("resize", *size)))


def resized(image: Image.Image, steps: Sequence[Sequence[str | int]]) -> Image.Image:
    """Apply recorded steps to an image.

    Raises:
        ValueError: a step is unknown or impossible.
    """
    for name, *numbers in steps:
        if name == "crop":
            left, top, right, bottom = map(int, numbers)
            image = image.crop((left, top, right, bottom))
        elif name == "resize":
            width, height = map(int, numbers)
            if image.size != (width, height):  # Pillow would copy the image
                image = image.resize((width, height), Image.Resampling.BICUBIC)
        else:
            raise ValueError(f"unknown step: {name}")
    return image
