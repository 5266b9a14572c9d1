# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Renders a stereo pair from a photo and its disparity map (depth-image-based rendering).

The method is described by Fehn, "Depth-image-based rendering (DIBR), compression and transmission
for a new approach on 3D-TV", SPIE 5291, 2004. Each view is shifted by half of the disparity, so
that each has half of the gaps. Points in the middle of the disparity range appear at the distance
of the screen, and nearer points in front of it.

Rows are independent of each other. For the left eye a point moves to the right by a shift that
grows with its nearness. If several points land in the same column, the nearest is visible. It moved
the farthest, so it is the point with the smallest source column. The right eye's view is computed
by mirroring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from app.rendering import maps
from app.rendering.maps import FloatArray, Levels

Eye = Literal["left", "right"]

#: widest photo, pixels: OpenCV's remap has 16-bit column numbers
MAX_WIDTH = 32766

# Arrays of this size stay in the cache of a core.
_STRIP_PIXELS = 2**17
# Neighbouring points that end up more than this many columns apart belong to different objects.
_TEAR = 1.5
# A gap is filled from this many columns beside the gap, because an object's outline is blurred.
_MARGIN = 2
# Points that move farther than the background by more than this many columns are another object.
_OTHER = 1.0
# A change of the shift by more than this, in columns per column and averaged over a neighbourhood,
# is an edge. For comparison: with the largest divergence, a wall that leads from the nearest to the
# farthest point over a third of the width has this slope.
_STEEP = 0.15
# For measuring how blurred a map's edges are: the number of rows that are looked at, the largest
# answer, in columns, and the smallest step that counts, as a fraction of the map's range.
_SAMPLED_ROWS = 256
_LARGEST_SOFTNESS = 16
_CLEAR_STEP = 0.1
# At a blurred edge, points whose shift exceeds the background's by more than this fraction of the
# step belong to the foreground. It is below 0.5, so that the foreground extends slightly outwards.
_OUTSIDE = 0.2


def strips(
    photo: Levels,
    disparity: FloatArray,
    divergence: float,
    convergence: float,
    eyes: Sequence[Eye],
    *,
    is_spread: bool = False,
) -> Iterator[tuple[int, list[Levels]]]:
    """Render the views of a photo in strips of rows, from the top.

    Args:
        photo: [height, width, 3] uint8 RGB; each view gets this size; at most MAX_WIDTH wide.
        disparity: [h, w], larger is nearer.
        divergence: difference between the parallax (distance between a point's positions in the
            two views) of the nearest and of the farthest point, in percent of the width.
        convergence: which disparity has no parallax and so appears at the distance of the screen,
            where 0 is that of the farthest point and 1 that of the nearest.
        eyes: the views to render, in the order of the result.
        is_spread: for frames of films: whether 0 and 1 of the disparity stand for the farthest and
            the nearest point; else its minimum and maximum do. Where the disparity has at most half
            as many rows as the photo, rows beside each other then share their shifts, which takes
            half of the time: there is no more in the disparity.

    Yields:
        The first row of a strip, which is even, and the rows of each view, [rows, width, 3] uint8.

    Raises:
        ArithmeticError: the disparity has infinite or undefined values.
    """
    height, width = photo.shape[:2]
    sharing = max(1, height // len(disparity)) if is_spread else 1
    size = width, -(-height // sharing)
    enlarged = maps.enlarged(maps.shrunk(disparity, size), size)
    # Enlarging the map blurs an edge over this many columns on each side.
    is_enlarged = width > disparity.shape[1]
    soft = round(width / disparity.shape[1]) if is_enlarged else _softness(enlarged)
    if is_spread:
        nearness = np.clip(enlarged, 0, 1, out=enlarged)
    else:
        if maps.is_constant(float(enlarged.min()), float(enlarged.max())):
            convergence = 0.5  # without depth everything is at the distance of the screen
        nearness = maps.normalised(enlarged)
    columns = np.float32(divergence / 100 * width / 2)
    rows = max(2, _STRIP_PIXELS // width // 2 * 2)
    for top in range(0, len(nearness), rows):
        shift = (nearness[top : top + rows] - np.float32(convergence)) * columns
        if soft:
            shift = _sharpened(shift, soft)
        first = top * sharing
        strip = photo[first : first + rows * sharing]
        yield first, [_view(strip, shift, eye) for eye in eyes]


def view(
    photo: Levels, disparity: FloatArray, divergence: float, convergence: float, eye: Eye
) -> Levels:
    """Render one eye's view; see ``strips``."""
    parts = strips(photo, disparity, divergence, convergence, (eye,))
    return np.concatenate([views[0] for _, views in parts])


def _view(photo: Levels, shift: FloatArray, eye: Eye) -> Levels:
    if eye == "left":
        return _looked_up(photo, _sources(shift))
    mirrored = _sources(np.ascontiguousarray(shift[:, ::-1]))[:, ::-1]
    return _looked_up(photo, photo.shape[1] - 1 - mirrored)


def _softness(map_: FloatArray) -> int:
    """By how much a map was enlarged before it came here, from its steepest edges; 0: not at all.

    Bicubic enlargement by n turns a step into a slope whose steepest part would take 1.1 n columns
    to climb the whole step.
    """
    rows = map_[:: max(1, len(map_) // _SAMPLED_ROWS)]
    if rows.shape[1] < 2:
        return 0
    kernel = np.ones((1, 2 * _LARGEST_SOFTNESS + 1), np.uint8)
    climb = np.abs(np.diff(rows, axis=1))
    step = (cv2.dilate(rows, kernel) - cv2.erode(rows, kernel))[:, 1:]
    is_edge = (climb >= cv2.dilate(climb, kernel)) & (step > _CLEAR_STEP * np.ptp(rows))
    if not is_edge.any():
        return 0
    # No edge of an enlarged map is steeper, so that the steepest ones tell; the others are slopes.
    steepest = float(np.percentile(step[is_edge] / climb[is_edge], 5))
    return round(steepest / 1.1) if steepest > _TEAR else 0


def _sharpened(shift: FloatArray, soft: int) -> FloatArray:
    """Turn blurred edges into steps; a blurred edge would be rendered as a stretched slope.

    Near an edge each point gets either the smallest or the largest shift of its neighbourhood. The
    foreground's shift extends slightly beyond the object, because background that moves with the
    object is hardly visible, but a line of the object's colour left on the background is.
    """
    kernel = np.ones((1, 4 * soft + 1), np.uint8)
    low, high = cv2.erode(shift, kernel), cv2.dilate(shift, kernel)
    steps = np.where(shift - low < _OUTSIDE * (high - low), low, high)
    return np.where(high - low > _STEEP * kernel.size, steps, shift)


def _sources(shift: FloatArray) -> FloatArray:
    """For each column of the left eye's view, the column of the photo that is visible there.

    Args:
        shift: columns by which each point of the photo moves to the right, [rows, width].

    Returns:
        [rows, width] columns, with fractions; gaps are filled.
    """
    rows, width = shift.shape
    columns = np.arange(width, dtype=np.float32)
    start = columns + shift
    first = np.ceil(start)
    # For each pair of neighbouring points: their distance in the view, and the number of view
    # columns between them. The distance is not positive if their order is reversed.
    span = start[:, 1:] - start[:, :-1]
    covered = first[:, 1:] - first[:, :-1]
    whole = (span > 0) & (span <= _TEAR)
    # Most pairs cover one column, so that all pairs together are faster than a choice of them. The
    # others write to a spare place at the end. Flat indices are exact, because strips are small.
    seen = np.full(rows * width + 1, np.inf, np.float32)
    before = first[:, :-1]
    is_seen = whole & (covered > 0) & (before >= 0) & (before < width)
    lines = (np.arange(rows, dtype=np.float32) * width)[:, None]
    at = np.where(is_seen, before + lines, np.float32(rows * width)).astype(np.intp)
    with np.errstate(divide="ignore", invalid="ignore"):
        source = columns[:-1] + (before - start[:, :-1]) / span
        np.minimum.at(seen, at.ravel(), source.ravel())
    # Some cover two columns.
    row, column = np.divmod(np.flatnonzero(whole & (covered > 1)), width - 1)
    second = first[row, column] + 1
    part = (second - start[row, column]) / span[row, column]
    _nearest(seen, row, second, column + part, width)
    # Points beside a tear or at the border, for columns that no pair of neighbours covers. Their
    # whole source column is used, because a fraction would mix in colours from beyond the tear.
    row, column = np.divmod(np.flatnonzero(~whole), width - 1)
    border = np.arange(rows)
    row = np.concatenate((row, row, border, border))
    column = np.concatenate((column, column + 1, 0 * border, 0 * border + width - 1))
    _nearest(seen, row, np.rint(start[row, column]), column, width)
    return _filled(seen[:-1], shift)


def _nearest(
    seen: FloatArray,
    row: NDArray[np.intp],
    at: FloatArray,
    source: NDArray[Any],
    width: int,
) -> None:
    inside = (at >= 0) & (at < width)
    place = row[inside] * width + at[inside].astype(np.intp)
    np.minimum.at(seen, place, source[inside].astype(np.float32))


def _filled(seen: FloatArray, shift: FloatArray) -> FloatArray:
    """Fill gaps with background: the photo on the farther side of the gap, mirrored into it.

    Where another, nearer object would be mirrored, too, the background's last column continues.
    """
    rows, width = shift.shape
    gaps = np.flatnonzero(np.isinf(seen))
    if not gaps.size:
        return seen.reshape(rows, width)
    row, column = np.divmod(gaps, width)
    # The places before and after each gap, which may be several columns wide.
    is_apart = np.diff(gaps) > 1
    begins, ends = np.append(True, is_apart), np.append(is_apart, True)
    gap = np.cumsum(begins) - 1
    left, right = (gaps[begins] - 1)[gap], (gaps[ends] + 1)[gap]
    has_left, has_right = left // width == row, right // width == row
    left, right = np.maximum(left, 0), np.minimum(right, len(seen) - 1)
    # The shift at each side of a gap; the side with the smaller shift is farther away.
    shift_left = left % width - seen[left]
    shift_right = right % width - seen[right]
    use_left = has_left & ((shift_left <= shift_right) | ~has_right)
    last = np.where(use_left, seen[left] - _MARGIN, seen[right] + _MARGIN)
    beyond = np.where(use_left, left % width - column, right % width - column)
    source = np.clip(last + beyond, 0, width - 1)
    farther = np.where(use_left, shift_left, shift_right)
    is_nearer = shift[row, np.rint(source).astype(np.intp)] > farther + _OTHER
    seen[gaps] = np.where(is_nearer, np.clip(last, 0, width - 1), source)
    return seen.reshape(rows, width)


def _looked_up(photo: Levels, sources: FloatArray) -> Levels:
    """The photo's colours at these columns, interpolated linearly."""
    if len(sources) < len(photo):  # several rows share one row of sources
        sources = np.repeat(sources, -(-len(photo) // len(sources)), axis=0)[: len(photo)]
    rows = np.arange(len(photo), dtype=np.float32)[:, None]
    lines = np.broadcast_to(rows, sources.shape)
    looked_up = cv2.remap(
        photo,
        np.ascontiguousarray(sources, np.float32),
        np.ascontiguousarray(lines),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(looked_up, np.uint8)
