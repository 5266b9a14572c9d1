# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Resizes pictures bilinearly without antialiasing, as torch's ``interpolate`` does.

ZoeDepth and Depth Pro were published with this way of resizing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engines.base import FloatArray


@dataclass(frozen=True)
class Axis:
    """Where one axis of a picture is sampled: each sample is a mixture of two pixels."""

    #: indices of the two pixels of each sample
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    #: weight of the second pixel, 0 to 1
    share: NDArray[np.float32]

    @classmethod
    def between_corners(cls, pixels: int, border: int, samples: int) -> Axis:
        """Samples from the centre of the first pixel to that of the last (torch's align_corners).

        Args:
            pixels: number of pixels of the picture.
            border: width of a border at both ends, which mirrors the picture at its last pixel.
            samples: number of samples.
        """
        whole = np.pad(np.arange(pixels), border, mode="reflect")
        return cls._at(np.linspace(0, len(whole) - 1, samples), whole)

    @classmethod
    def even(cls, pixels: int, samples: int) -> Axis:
        """Samples at the centres of equal parts of the axis, which reach from edge to edge."""
        positions = (np.arange(samples) + 0.5) * pixels / samples - 0.5
        return cls._at(positions.clip(0, pixels - 1), np.arange(pixels))

    @classmethod
    def _at(cls, positions: NDArray[np.float64], index: NDArray[np.int64]) -> Axis:
        first = np.floor(positions).astype(np.int64)
        second = np.minimum(first + 1, len(index) - 1)
        return cls(index[first], index[second], (positions - first).astype(np.float32))


def sampled(
    picture: NDArray[np.uint8], rows: Axis, columns: Axis, mean: FloatArray, deviation: FloatArray
) -> FloatArray:
    """Sample a picture [h, w, 3] and normalise its channels.

    Each channel is scaled to 0..1; then its mean is subtracted, and it is divided by its deviation.

    Returns:
        [3, rows, columns] float32.
    """
    planes = np.empty((3, len(rows.first), len(columns.first)), np.float32)
    for channel in range(3):
        plane = picture[..., channel]
        above, below = (
            _blended(
                plane[np.ix_(index, columns.first)],
                plane[np.ix_(index, columns.second)],
                columns.share,
            )
            for index in (rows.first, rows.second)
        )
        blended = above + rows.share[:, None] * (below - above)
        planes[channel] = blended / (255 * deviation[channel]) - mean[channel] / deviation[channel]
    return planes


def _blended(
    one: NDArray[np.uint8], other: NDArray[np.uint8], share: NDArray[np.float32]
) -> FloatArray:
    first = one.astype(np.float32)
    blended: FloatArray = first + share * (other - first)
    return blended
