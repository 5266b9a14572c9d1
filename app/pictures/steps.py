# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Crops and resizes that are noted first and done later, maybe in another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

Box = tuple[int, int, int, int]
#: ``("crop", left, top, right, bottom)`` or ``("resize", width, height)``, pixels.
Step = tuple[str | int, ...]


@dataclass(frozen=True)
class Outline:
    """A picture without pixels that notes what is done to it."""

    size: tuple[int, int]
    steps: tuple[Step, ...] = ()

    def crop(self, box: Box) -> Outline:
        """The part from left, top up to right, bottom, all within the picture."""
        left, top, right, bottom = box
        return Outline((right - left, bottom - top), (*self.steps, ("crop", *box)))

    def resize(self, size: tuple[int, int]) -> Outline:
        """To a width and height: bicubic with antialias, as Pillow does it."""
        return Outline(size, (*self.steps, ("resize", *size)))


def resized(image: Image.Image, steps: Sequence[Sequence[str | int]]) -> Image.Image:
    """Do what was noted.

    Raises:
        ValueError: a step is not known, or not possible.
    """
    for name, *numbers in steps:
        if name == "crop":
            left, top, right, bottom = map(int, numbers)
            image = image.crop((left, top, right, bottom))
        elif name == "resize":
            width, height = map(int, numbers)
            if image.size != (width, height):  # else Pillow would copy it
                image = image.resize((width, height), Image.Resampling.BICUBIC)
        else:
            raise ValueError(f"unknown step: {name}")
    return image
