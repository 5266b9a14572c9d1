# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A picture's and a map's work beside the network: crop, resize, normalise, enlarge.

Here on the CPU: Pillow shrinks pictures, as the replaced services did; OpenCV enlarges maps. On a
GPU: ``device_images``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pictures.arrays import normalised
from app.rendering.maps import is_constant

FloatArray = NDArray[np.float32]
Levels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

CONSTANT_LEVEL = 128

#: An RGB picture, 8 bits a channel: Pillow's, or [height, width, 3] uint8.
Pixels = Image.Image | Levels


class Canvas(Protocol):
    """An RGB picture, 8 bits a channel, wherever it lies."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""

    def crop(self, box: Box) -> Canvas:
        """The part from left, top up to right, bottom, all within the picture."""

    def resize(self, size: tuple[int, int]) -> Canvas:
        """To a width and height: bicubic with antialias, as Pillow does it."""


@dataclass(frozen=True)
class HostCanvas:
    """Pillow's own."""

    image: Image.Image

    @classmethod
    def of(cls, image: Pixels) -> HostCanvas:
        """From either kind of picture."""
        return cls(image if isinstance(image, Image.Image) else Image.fromarray(image))

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size

    def crop(self, box: Box) -> HostCanvas:
        return HostCanvas(self.image.crop(box))

    def resize(self, size: tuple[int, int]) -> HostCanvas:
        return HostCanvas(self.image.resize(size, Image.Resampling.BICUBIC))


#: What is done to a picture: crops and resizes, see ``Canvas``.
Steps = Callable[[Canvas], Canvas]


def unchanged(canvas: Canvas) -> Canvas:
    """No steps."""
    return canvas


class ImageWork(Protocol):
    """Where the work beside a network is done. Safe to call from several threads."""

    def works_on(self, pixels: int) -> bool:
        """Whether it is faster with a picture of so many pixels than the process that decodes it,
        and so wants it as it was decoded.
        """

    def prepared(
        self, image: Pixels, steps: Steps, mean: FloatArray, deviation: FloatArray
    ) -> FloatArray:
        """Crop and resize an RGB picture, then bring each channel to 0..1, minus its mean, over its
        standard deviation: [3, h, w] float32.

        Raises:
            RuntimeError: the device is lost.
        """

    def spread(self, disparity: FloatArray, width: int, height: int) -> Levels:
        """Enlarge a map [h, w] of finite numbers and spread it over 0..255: [height, width] uint8;
        a constant map is all 128.

        Raises:
            RuntimeError: the device is lost.
        """


class HostImages:
    """On the CPU."""

    def works_on(self, pixels: int) -> bool:  # noqa: ARG002 - a decoder is as fast
        """See ``ImageWork``."""
        return False

    def prepared(
        self, image: Pixels, steps: Steps, mean: FloatArray, deviation: FloatArray
    ) -> FloatArray:
        """See ``ImageWork``."""
        canvas = steps(HostCanvas.of(image))
        assert isinstance(canvas, HostCanvas)
        return normalised(canvas.image, mean, deviation)

    def spread(self, disparity: FloatArray, width: int, height: int) -> Levels:
        """See ``ImageWork``."""
        return spread(disparity, width, height)


def spread(disparity: NDArray[np.float32], width: int, height: int) -> Levels:
    """Enlarge a map [h, w] of finite numbers and spread it over 0..255.

    Returns:
        [height, width] uint8, min-max normalised; a constant map is all 128.
    """
    full = cv2.resize(disparity, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high, _, _ = cv2.minMaxLoc(full)
    if is_constant(low, high):
        return np.full(full.shape, CONSTANT_LEVEL, np.uint8)
    # Quantised once, from floats, with rounding and clamping, in one pass.
    scale = 255 / (high - low)
    return cast(Levels, cv2.convertScaleAbs(full, alpha=scale, beta=-low * scale))
