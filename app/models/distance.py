# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Turns maps of distance, where far is large, into disparity, where near is large."""

from __future__ import annotations

import numpy as np

from app.engines.base import FloatArray

#: The nearest distance, in metres, that a disparity map distinguishes: whatever is nearer is shown
#: just as bright. Otherwise a few pixels close to 0 m would leave the rest of the map dark. Apple's
#: code draws the maps of Depth Pro with the same limit.
NEAREST_METRES = 0.1
# For distances without a unit, the limit is chosen so that this share of the pixels lies nearer.
_NEARER = 0.001


def inverse(distance: FloatArray, nearest: float) -> FloatArray:
    """The disparity 1 / distance, from 0 (infinitely far) to 1 / ``nearest``.

    Args:
        distance: [h, w]; zero and negative values count as ``nearest``, because estimates of small
            distances can go below zero. Infinity and NaN (no estimate) count as infinitely far.
        nearest: smaller distances count as this one; above 0.

    Returns:
        [h, w] float32, finite.
    """
    known = np.isfinite(distance)
    limited = np.maximum(np.where(known, distance, np.inf), np.float32(nearest))
    return (np.float32(1) / limited).astype(np.float32, copy=False)


def nearest_of(distance: FloatArray) -> float:
    """The ``nearest`` to use in ``inverse`` if distances have no unit: 0.1 % are smaller than it.

    Only finite values above 0 are counted; the result is 1 for a map without any.
    """
    counted = distance[np.isfinite(distance) & (distance > 0)]
    if not counted.size:
        return 1.0
    rank = int(_NEARER * counted.size)
    # 1 / distance must stay within float32.
    return max(float(np.partition(counted, rank)[rank]), 1e-30)
