# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Image processing before and after a network: crop, resize and normalise pictures, enlarge maps.

This module has the interfaces and the CPU implementation: Pillow resizes pictures, as in the
services that Twinlens replaces, and OpenCV enlarges maps. ``device_images`` does this on GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pictures import resampling
from app.pictures.resampling import Colour, Interpolation
from app.rendering.maps import is_constant

FloatArray = NDArray[np.float32]
Levels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

CONSTANT_LEVEL = 128

#: An RGB picture, 8 bits per channel: a Pillow image or an array [height, width, 3] uint8.
Pixels = Image.Image | Levels


class Canvas(Protocol):
    """An RGB picture, 8 bits per channel, in host memory or on a device."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""

    def crop(self, box: Box) -> Canvas:
        """The part inside the box (left, top, right, bottom), which must lie within the picture."""

    def resize(self, size: tuple[int, int], interpolation: Interpolation = "bicubic") -> Canvas:
        """Resize to a width and height, with antialiasing, like Pillow."""

    def pad(self, size: tuple[int, int], colour: Colour) -> Canvas:
        """Put the picture into the middle of a larger one.

        If a margin is odd, the left or top side gets the smaller half.

        Args:
            size: width and height of the larger picture, at least those of this one.
            colour: red, green and blue of the border, 0 to 255.
        """


@dataclass(frozen=True)
class HostCanvas:
    """A picture in host memory, processed by Pillow."""

    image: Image.Image

    @classmethod
    def of(cls, image: Pixels) -> HostCanvas:
        """A canvas for a Pillow image or an array."""
        return cls(image if isinstance(image, Image.Image) else Image.fromarray(image))

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size

    def crop(self, box: Box) -> HostCanvas:
        return HostCanvas(self.image.crop(box))

    def resize(self, size: tuple[int, int], interpolation: Interpolation = "bicubic") -> HostCanvas:
        return HostCanvas(resampling.resized(self.image, size, interpolation))

    def pad(self, size: tuple[int, int], colour: Colour) -> HostCanvas:
        return HostCanvas(resampling.padded(self.image, size, colour))


#: A function that crops, resizes and pads a picture by the methods of ``Canvas``.
Steps = Callable[[Canvas], Canvas]


def unchanged(canvas: Canvas) -> Canvas:
    """The steps of a picture that needs no crops and resizes."""
    return canvas


class ImageWork(Protocol):
    """Does the image processing around a network, on the CPU or on a GPU. Thread-safe."""

    def works_on(self, pixels: int) -> bool:
        """Whether this device should crop and resize a picture of ``pixels`` pixels.

        It should if it is faster than the decoding process, which otherwise does that.
        """

    def prepared(
        self, image: Pixels, steps: Steps, mean: FloatArray, deviation: FloatArray
    ) -> FloatArray:
        """Crop and resize an RGB picture, and normalise it to [3, h, w] float32.

        Each channel is scaled to 0..1; then its mean is subtracted, and the result is divided by
        its standard deviation.

        Raises:
            RuntimeError: the device is lost.
        """

    def spread(self, disparity: FloatArray, width: int, height: int) -> Levels:
        """Enlarge a map [h, w] of finite numbers and normalise it (min-max) to 0..255.

        Returns [height, width] uint8; a constant map becomes all 128.

        Raises:
            RuntimeError: the device is lost.
        """


class HostImages:
    """Image processing on the CPU."""

    def works_on(self, pixels: int) -> bool:  # noqa: ARG002 - decoders are as fast
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
    """Enlarge a map [h, w] of finite numbers and normalise it to 0..255.

    Returns:
        [height, width] uint8, min-max normalised; a constant map becomes all 128.
    """
    full = cv2.resize(disparity, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high, _, _ = cv2.minMaxLoc(full)
    if is_constant(low, high):
        return np.full(full.shape, CONSTANT_LEVEL, np.uint8)
    # This scales, rounds and clamps the floats in one pass, so they are quantised only once.
    scale = 255 / (high - low)
    return cast(Levels, cv2.convertScaleAbs(full, alpha=scale, beta=-low * scale))


def normalised(
    image: Image.Image, mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Normalise an RGB picture to [3, height, width] float32.

    Each channel is scaled to 0..1; then its mean is subtracted, and the result is divided by its
    standard deviation.
    """
    pixels = np.asarray(image)
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        scale = 1 / (255 * deviation[channel])
        np.multiply(pixels[..., channel], scale, out=planes[channel], dtype=np.float32)
        planes[channel] -= mean[channel] / deviation[channel]
    return planes
