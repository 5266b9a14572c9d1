# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Resizes, normalises and colours depth maps, which are NumPy arrays."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from app.rendering.options import FLOAT, Colormap, DepthOptions, Size

FloatArray = NDArray[np.float32]
Levels = NDArray[np.uint8]

# OpenCV's copies of matplotlib's colormaps. Their brightness rises evenly, except for turbo, whose
# colours change evenly instead.
_TABLES: dict[Colormap, int] = {
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "plasma": cv2.COLORMAP_PLASMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "turbo": cv2.COLORMAP_TURBO,
}
# Largest relative difference in a map that still counts as constant. Resizing a constant map causes
# differences of this size by rounding, and normalising must not amplify them.
_NO_DIFFERENCE = 1e-6
_TOP = 65535
_STRIP_ROWS = 256


def shrunk(disparity: FloatArray, size: Size) -> FloatArray:
    """Shrink a map to the target size by averaging, which avoids aliasing.

    Args:
        disparity: [h, w] float32.
        size: target width and height; an edge of the map that is shorter already stays as it is.
    """
    height, width = disparity.shape
    smaller = min(width, size[0]), min(height, size[1])
    if smaller == (width, height):
        return disparity
    return cv2.resize(disparity, smaller, interpolation=cv2.INTER_AREA).astype(np.float32)


def check_finite(disparity: FloatArray) -> None:
    """Raises ArithmeticError if the map contains infinity or NaN."""
    if not np.isfinite(disparity).all():
        raise ArithmeticError("the map has infinite or undefined values")


def enlarged(disparity: FloatArray, size: Size) -> FloatArray:
    """Resize a map, [h, w] float32, bicubically to ``size``.

    Bicubic interpolation overshoots: next to steep edges, values may be slightly outside the range
    of the map.

    Raises:
        ArithmeticError: the map contains infinity or NaN.
    """
    check_finite(disparity)
    full = cv2.resize(disparity, size, interpolation=cv2.INTER_CUBIC)
    return full.astype(np.float32, copy=False)


def is_constant(low: float, high: float) -> bool:
    """Whether a map with this minimum and maximum counts as constant, i.e. without any depth."""
    return high - low <= _NO_DIFFERENCE * max(abs(low), abs(high))


def normalised(map_: FloatArray) -> FloatArray:
    """Normalise a map to 0..1 (min-max), in place; a constant map becomes all 0.5."""
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
    """A map of disparity for the numeric formats: png16, npy and tiff.

    Returns:
        [height, width]. For png16: uint16, normalised to 0..65535. For npy and tiff: float32,
        normalised to 0..1, or with normalize=none clipped to the range of the disparity.

    Raises:
        ArithmeticError: the map contains infinity or NaN.
    """
    map_ = enlarged(disparity, size)
    if options.normalize == "none":
        return np.clip(map_, disparity.min(), disparity.max(), out=map_)
    map_ = normalised(map_)
    if options.invert:
        np.subtract(1, map_, out=map_)
    if options.format in FLOAT:
        return map_
    levels = np.empty(map_.shape, np.uint16)
    for top in range(0, len(map_), _STRIP_ROWS):
        strip = slice(top, top + _STRIP_ROWS)
        levels[strip] = np.rint(map_[strip] * np.float32(_TOP))
    return levels


def metres(distance: FloatArray, size: Size) -> FloatArray:
    """Resize a map of distances, [h, w] float32, to ``size``, linearly and so without overshooting.

    Raises:
        ArithmeticError: the map contains infinity or NaN.
    """
    check_finite(distance)
    resized = cv2.resize(distance, size, interpolation=cv2.INTER_LINEAR)
    full: FloatArray = resized.astype(np.float32, copy=False)
    return np.clip(full, distance.min(), distance.max(), out=full)  # of what rounding added


def shown(levels: Levels, options: DepthOptions) -> Levels:
    """Invert and colour an 8-bit map: [height, width], or [height, width, 3] RGB if coloured."""
    if options.invert:
        levels = np.invert(levels)
    return levels if options.colormap == "gray" else _table(options.colormap)[levels]


@cache
def _table(colormap: Colormap) -> Levels:
    """The colormap as a lookup table, [256, 3] uint8 RGB, from far to near."""
    steps = np.arange(256, dtype=np.uint8)[:, None]
    coloured = cv2.applyColorMap(steps, _TABLES[colormap])[:, 0]
    return np.ascontiguousarray(coloured[:, ::-1])  # from OpenCV's BGR to RGB
