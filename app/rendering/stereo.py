# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A stereo pair from a photo and its depth: depth-image-based rendering.

Fehn, "Depth-image-based rendering (DIBR), compression and transmission for a new approach on
3D-TV", SPIE 5291, 2004. Both eyes are moved by half, so that each view has half the gaps. What lies
in the middle of the range of disparity appears at the distance of the screen, nearer things in
front of it.

Rows are independent of each other. For the left eye a point moves to the right by a shift that
grows with its nearness; so of all points that meet at one place the nearest came from furthest
left, and "nearer wins" is a minimum of source columns. The right eye is the mirrored case.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.rendering import maps
from app.rendering.maps import FloatArray, Levels

#: columns of a photo; OpenCV's remap counts in 16 bits
MAX_WIDTH = 32766

_STRIP_PIXELS = 2**19
# Neighbours whose distance grows by more than this factor belong to different things.
_TEAR = 1.5
# A thing's outline is blurred: what fills a gap begins so many columns beside it.
_MARGIN = 2
# Where the shift grows by more columns a column, on average of a neighbourhood, is an edge: a wall
# that leads from the nearest to the farthest point over a third of the widest pair has as much.
_STEEP = 0.15
# Where between far and near in the map a thing ends in the photo.
_OUTSIDE = 0.2


def pair(photo: Levels, disparity: FloatArray, divergence: float) -> Levels:
    """Left and right view of a photo side by side.

    Args:
        photo: [height, width, 3] uint8, RGB, in the size of each view; at most MAX_WIDTH wide.
        disparity: [h, w], larger is nearer.
        divergence: percent of the width by which the views of the nearest and the farthest point
            lie farther apart from each other.

    Returns:
        [height, 2 * width, 3] uint8.

    Raises:
        ArithmeticError: the disparity has infinite or undefined values.
    """
    height, width = photo.shape[:2]
    size = width, height
    # Over so many columns to each side enlarging blurs an edge.
    soft = round(width / disparity.shape[1]) if width > disparity.shape[1] else 0
    nearness = maps.normalised(maps.enlarged(maps.shrunk(disparity, size), size))
    columns = np.float32(divergence / 100 * width / 2)
    views = np.empty((height, 2 * width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        shift = (nearness[strip] - np.float32(0.5)) * columns
        if soft:
            shift = _sharpened(shift, soft)
        _look_up(photo[strip], _sources(shift), views[strip, :width])
        mirrored = _sources(np.ascontiguousarray(shift[:, ::-1]))[:, ::-1]
        _look_up(photo[strip], width - 1 - mirrored, views[strip, width:])
    return views


def _sharpened(shift: FloatArray, soft: int) -> FloatArray:
    """Edges as steps: a blurred edge would be drawn as a slope, with the photo stretched over it.

    Where the neighbourhood holds two different shifts, each point takes one of them; the nearer one
    also a little outside the thing, since a bit of background that moves with it is not seen, but
    a line of its own colour that stays behind is.
    """
    kernel = np.ones((1, 4 * soft + 1), np.uint8)
    low, high = cv2.erode(shift, kernel), cv2.dilate(shift, kernel)
    steps = np.where(shift - low < _OUTSIDE * (high - low), low, high)
    return np.where(high - low > _STEEP * kernel.size, steps, shift)


def _sources(shift: FloatArray) -> FloatArray:
    """For the left eye: the photo's column that is seen at each column of the view.

    Args:
        shift: columns by which each point of the photo moves to the right, [rows, width].

    Returns:
        [rows, width], gaps filled.
    """
    rows, width = shift.shape
    start = np.arange(width, dtype=np.float32) + shift
    first = np.ceil(start).astype(np.int32)
    # What two neighbours span: it covers so many columns; none where they lie the other way round.
    span = np.diff(start)
    covered = np.diff(first)
    torn = (span > _TEAR) | (span <= 0)
    seen = np.full(rows * width, np.inf, np.float32)
    for step in range(int(_TEAR) + 1):
        where = np.flatnonzero((covered > step) & ~torn)
        row, column = np.divmod(where, width - 1)
        at = first[row, column] + step
        part = (at - start[row, column]) / span[row, column]
        _nearest(seen, row, at, column + part, width)
    # Single points beside a tear or at the border, which no pair of neighbours covers; taken as
    # they are, since between columns they would mix with what lies beyond the tear.
    edge = np.zeros(shift.shape, bool)
    edge[:, :-1] |= torn
    edge[:, 1:] |= torn
    edge[:, [0, -1]] = True
    row, column = np.nonzero(edge)
    at = np.rint(start[row, column]).astype(np.int32)
    _nearest(seen, row, at, column, width)
    return _filled(seen, rows, width)


def _nearest(
    seen: FloatArray,
    row: NDArray[np.intp],
    at: NDArray[np.int32],
    source: NDArray[Any],
    width: int,
) -> None:
    inside = (at >= 0) & (at < width)
    np.minimum.at(seen, (row * width + at)[inside], source[inside].astype(np.float32))


def _filled(seen: FloatArray, rows: int, width: int) -> FloatArray:
    """Fill gaps with what lies behind: the photo beside the gap, mirrored, on its farther side."""
    gaps = np.flatnonzero(np.isinf(seen))
    known = np.flatnonzero(np.isfinite(seen))
    column, row = gaps % width, gaps // width
    after = np.searchsorted(known, gaps)
    left = known[np.maximum(after - 1, 0)]
    right = known[np.minimum(after, len(known) - 1)]
    has_left, has_right = left // width == row, right // width == row
    # Smaller shift, farther away.
    shift_left = left % width - seen[left]
    shift_right = right % width - seen[right]
    use_left = has_left & ((shift_left <= shift_right) | ~has_right)
    mirrored_left = seen[left] - _MARGIN - (column - left % width)
    mirrored_right = seen[right] + _MARGIN + (right % width - column)
    seen[gaps] = np.clip(np.where(use_left, mirrored_left, mirrored_right), 0, width - 1)
    return seen.reshape(rows, width)


def _look_up(photo: Levels, sources: FloatArray, view: Levels) -> None:
    """Fill a view; between two columns of the photo colours are mixed."""
    rows = np.arange(len(photo), dtype=np.float32)[:, None]
    lines = np.broadcast_to(rows, sources.shape)
    view[:] = cv2.remap(
        photo,
        np.ascontiguousarray(sources, np.float32),
        np.ascontiguousarray(lines),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
