# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Removes the border from a network's output if a border was added to the photo before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.engines.base import FloatArray

_SHARPNESS = -0.75  # parameter of bicubic interpolation, as in torch and OpenCV


def without_border(
    output: FloatArray, size: tuple[int, int], border: tuple[int, int, int, int]
) -> FloatArray:
    """The part of an output that shows the photo, without its border.

    The part is resampled bicubically, because the edges of the photo may fall inside a value of
    the output. It gets the photo's resolution, but at most four times the output's, which is
    enough: resizing it later gives almost the same map as resampling the output only once.

    Args:
        output: [h, w], computed from the photo with its border.
        size: width and height of the photo, pixels.
        border: widths of the border at the left, top, right and bottom, in pixels of the photo.
    """
    left, top, right, bottom = border
    rows = _positions(output.shape[0], size[1], top, bottom)
    columns = _positions(output.shape[1], size[0], left, right)
    return _sampled(_sampled(output, rows).T, columns).T.copy()


def _positions(count: int, photo: int, before: int, after: int) -> NDArray[np.float64]:
    """Where to sample one axis of the output, as fractional indices of its values."""
    whole = before + photo + after
    samples = min(photo, 4 * max(1, round(count * photo / whole)))
    pixels = (np.arange(samples) + 0.5) * photo / samples + before
    return pixels * count / whole - 0.5


def _sampled(values: FloatArray, positions: NDArray[np.float64]) -> FloatArray:
    """Values at fractional positions of the first axis; the outermost value extends each end."""
    first = np.floor(positions).astype(np.int64)
    result = np.zeros((len(positions), *values.shape[1:]), np.float32)
    for offset in range(-1, 3):
        index = np.clip(first + offset, 0, len(values) - 1)
        weight = _cubic(np.abs(positions - first - offset)).astype(np.float32)
        result += weight[:, None] * values[index]
    return result


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel for distances from 0 to 2."""
    a, d = _SHARPNESS, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d <= 1, near, far)
