# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Converts pictures to the input arrays of networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def normalised(
    image: Image.Image, mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Convert an RGB picture to [3, height, width] float32: scale each channel to 0..1, subtract
    its mean and divide by its standard deviation.
    """
    pixels = np.asarray(image)
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        scale = 1 / (255 * deviation[channel])
        np.multiply(pixels[..., channel], scale, out=planes[channel], dtype=np.float32)
        planes[channel] -= mean[channel] / deviation[channel]
    return planes
