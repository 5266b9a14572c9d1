# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Disparity maps as arrays: sizes, levels, colours."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from app.rendering.options import Colormap, DepthOptions, Size

FloatArray = NDArray[np.float32]
Levels = NDArray[np.uint8]

# Tables of matplotlib, whose colours grow evenly brighter (turbo: evenly different), as OpenCV has
# them.
_TABLES: dict[Colormap, int] = {
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "plasma": cv2.COLORMAP_PLASMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "turbo": cv2.COLORMAP_TURBO,
}
# A difference that small is what resizing adds to a constant; it must not be stretched.
_NO_DIFFERENCE = 1e-6
_TOP = 65535
_STRIP_ROWS = 256


def shrunk(disparity: FloatArray, size: Size) -> FloatArray:
    """No larger than needed: where it would be sampled, it is averaged first.

    Args:
        disparity: [h, w] float32.
        size: that is wanted in the end; an edge that has to grow stays as it is.
    """
    height, width = disparity.shape
    smaller = min(width, size[0]), min(height, size[1])
    if smaller == (width, height):
        return disparity
    return cv2.resize(disparity, smaller, interpolation=cv2.INTER_AREA).astype(np.float32)


def check_finite(disparity: FloatArray) -> None:
    """Raises ArithmeticError: the network gave infinite or undefined numbers."""
    if not np.isfinite(disparity).all():
        raise ArithmeticError("the map has infinite or undefined values")


def enlarged(disparity: FloatArray, size: Size) -> FloatArray:
    """[h, w] float32 to [height, width]; beside steep edges it goes a little beyond its range.

    Raises:
        ArithmeticError: the network gave infinite or undefined numbers.
    """
    check_finite(disparity)
    full = cv2.resize(disparity, size, interpolation=cv2.INTER_CUBIC)
    return full.astype(np.float32, copy=False)


def is_constant(low: float, high: float) -> bool:
    """Whether a map with this minimum and maximum shows nothing."""
    return high - low <= _NO_DIFFERENCE * max(abs(low), abs(high))


def normalised(map_: FloatArray) -> FloatArray:
    """Spread a map over 0..1, in place; a constant map is all 0.5."""
    low, high = float(map_.min()), float(map_.max())
    if is_constant(low, high):
        map_.fill(0.5)
        return map_
    np.subtract(map_, np.float32(low), out=map_)
    np.divide(map_, np.float32(high - low), out=map_)
    return np.clip(map_, 0, 1, out=map_)


def exact(
    disparity: FloatArray, size: Size, options: DepthOptions
) -> FloatArray | NDArray[np.uint16]:
    """The numbers of a map, for the formats that keep them.

    Returns:
        [height, width], for png16 uint16 spread over 0..65535, for npy float32 spread over 0..1 or,
        with normalize=none, within the range that the network gave.

    Raises:
        ArithmeticError: see ``enlarged``.
    """
    map_ = enlarged(disparity, size)
    if options.normalize == "none":
        return np.clip(map_, disparity.min(), disparity.max(), out=map_)
    map_ = normalised(map_)
    if options.invert:
        np.subtract(1, map_, out=map_)
    if options.format == "npy":
        return map_
    levels = np.empty(map_.shape, np.uint16)
    for top in range(0, len(map_), _STRIP_ROWS):
        strip = slice(top, top + _STRIP_ROWS)
        levels[strip] = np.rint(map_[strip] * np.float32(_TOP))
    return levels


def shown(levels: Levels, options: DepthOptions) -> Levels:
    """A map as it is looked at: [height, width] uint8 to the same, or to [height, width, 3] RGB."""
    if options.invert:
        levels = np.invert(levels)
    return levels if options.colormap == "gray" else _table(options.colormap)[levels]


@cache
def _table(colormap: Colormap) -> Levels:
    """[256, 3] uint8, RGB, from far to near."""
    steps = np.arange(256, dtype=np.uint8)[:, None]
    coloured = cv2.applyColorMap(steps, _TABLES[colormap])[:, 0]
    return np.ascontiguousarray(coloured[:, ::-1])  # OpenCV has blue first
