# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Scale and shift by which the depth map of a frame fits that of the frame before."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from app.rendering.maps import FloatArray

# The number of points that take part in a fit.
_FITTED = 6000
_FIT_ROUNDS = 4
# Points this many deviations off the line count for nothing.
_OUTLIER = 3.0
# The shares of points below and above which a map's scale and shift are measured.
_MIDDLE = (0.2, 0.8)
# At most this share of the scale a frame, so that a thing that fills the picture may come nearer.
_MOST_RETURN = 0.002
# The least noise, as a share of the map's range: below it depth is as good as exact.
_LEAST_NOISE = 0.01


def alignment(depth: FloatArray, to: FloatArray, where: NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and shift by which ``depth`` fits ``to`` best.

    The new map has the noise and ``to`` little, because it is a mean. So the new one is fitted to
    it, and the result inverted: the other way round the noise would shrink each map a little more
    than the one before.
    """
    step = max(1, int(math.sqrt(depth.size / _FITTED)))
    chosen = where[::step, ::step]
    new, old = depth[::step, ::step][chosen], to[::step, ::step][chosen]
    if new.size < 16:
        new, old = depth[::step, ::step].ravel(), to[::step, ::step].ravel()
    slope, offset = _first_line(old, new)
    for _ in range(_FIT_ROUNDS):
        residual = np.abs(new - slope * old - offset)
        scale = _OUTLIER * 1.4826 * float(np.median(residual)) + 1e-9
        weight = np.square(1 - np.square(np.minimum(residual / scale, 1)))  # Tukey's
        if weight.sum() < 8:
            break
        total = float(weight.sum())
        middle, height = float(weight @ old) / total, float(weight @ new) / total
        spread = old - middle
        variance = float(weight @ (spread * spread)) / total
        slope = float(weight @ (spread * (new - height))) / total / max(variance, 1e-12)
        offset = height - slope * middle
    if not slope > 1e-6 * (float(np.ptp(new)) + 1e-12):
        # The maps do not resemble each other: only their middles are brought together.
        return 1.0, float(np.median(old) - np.median(new))
    return 1 / slope, -offset / slope


def middle(depth: FloatArray) -> tuple[float, float]:
    """Between which depths most of a map is."""
    step = max(1, int(math.sqrt(depth.size / _FITTED)))
    low, high = np.quantile(depth[::step, ::step], _MIDDLE)
    return float(low), float(high)


def way_back(depth: FloatArray, to: tuple[float, float], share: float) -> tuple[float, float]:
    """Scale and shift that bring a map back a share of the way to those its shot began with.

    Errors of the alignment add up, and a camera that moves forward looks to it like a growing
    scale, because disparities grow as points come nearer. Over a longer time, what a frame shows as
    a whole says more of the scale than its points do.
    """
    low, high = middle(depth)
    if not (high - low > 1e-6 * (to[1] - to[0]) > 0):
        return 1.0, 0.0
    growth = share * math.log((to[1] - to[0]) / (high - low))
    scale = math.exp(min(max(growth, -_MOST_RETURN), _MOST_RETURN))
    most = _MOST_RETURN * (to[1] - to[0])
    rise = min(max(share * (to[0] + to[1] - low - high) / 2, -most), most)
    return scale, rise + (1 - scale) * (low + high) / 2


def _first_line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """A line to begin with: the median of the slopes between random pairs (Theil and Sen).

    Least squares would follow a thing that is much nearer than all else and comes nearer still.
    """
    order = np.random.default_rng(0).permutation(x.size)
    across, up = x[order] - x, y[order] - y
    length = np.abs(across)
    is_long = length > 1e-6 * float(length.max(initial=0))
    if not is_long.any():
        return 0.0, float(np.median(y))
    slope = float(np.median(up[is_long] / across[is_long]))
    return slope, float(np.median(y - slope * x))


def noise(difference: FloatArray, depth: FloatArray) -> float:
    """Deviation of the noise of one map, from its differences to the mean of those before."""
    least = _LEAST_NOISE * float(np.ptp(depth))
    if difference.size == 0:
        return max(least, 1e-9)
    return max(least, 1.4826 * float(np.median(np.abs(difference))), 1e-9)
