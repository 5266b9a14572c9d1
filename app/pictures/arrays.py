# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Pictures as the arrays that networks take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def normalised(
    image: Image.Image, mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.float32]:
    """RGB picture to [3, height, width] float32: each channel scaled to 0..1, minus its mean, over
    its standard deviation.
    """
    pixels = np.asarray(image)
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        scale = 1 / (255 * deviation[channel])
        np.multiply(pixels[..., channel], scale, out=planes[channel], dtype=np.float32)
        planes[channel] -= mean[channel] / deviation[channel]
    return planes
