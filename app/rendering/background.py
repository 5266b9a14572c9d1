# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the edges of near things in a disparity map and continues the background behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Levels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Two neighbouring pixels are torn if a gap of more than this many pixels opens between them when
#: the viewer stands aside: that is no surface, not even a steep one.
_TORN = 2.0
#: They are torn at this gap already if it is so many times as large as the gaps on both sides.
_TORN_BY_STEP, _STEEPER = 0.75, 3.0
#: The background is continued this many pixels further than a gap needs, as splats are round.
_MARGIN = 3
#: Behind things in front of others there are several backgrounds. Each of these ranges of gaps, as
#: shares of the picture's width, gets a layer of its own.
_RANGES = (0.0, 0.02, 0.12, np.inf)
#: Sizes, in pixels of the photo, of a pixel of the background: the finest that fits is taken.
_COARSENESS = (2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Torn:
    """Which pairs of neighbouring pixels belong to different surfaces."""

    across: Mask  # [h, w - 1]
    below: Mask  # [h - 1, w]

    @classmethod
    def of(cls, disparity: Floats, parallax: float) -> Torn:
        """Compare neighbours; ``parallax`` is that of a disparity of 1 from aside, in pixels."""
        return cls(_torn(disparity, parallax), _torn(disparity.T, parallax).T)


def _torn(disparity: Floats, parallax: float) -> Mask:
    gaps = np.abs(np.diff(disparity, axis=1))
    gaps *= np.float32(parallax)
    sides = np.zeros_like(gaps)
    sides[:, 1:] = gaps[:, :-1]
    np.maximum(sides[:, :-1], gaps[:, 1:], out=sides[:, :-1])
    sides *= np.float32(_STEEPER)
    np.clip(sides, _TORN_BY_STEP, _TORN, out=sides)
    return cast(Mask, gaps > sides)


@dataclass(frozen=True)
class Layer:
    """A part of the background: pixels of which each is ``size`` x ``size`` of the photo's."""

    photo: Levels
    disparity: Floats
    mask: Mask  # those which exist
    size: int


def behind(
    photo: Levels, disparity: Floats, torn: Torn, parallax: float, budget: int
) -> list[Layer]:
    """What the edges of near things may hide from the camera, from far to near.

    Args:
        photo: [h, w, 3] uint8.
        disparity: [h, w].
        torn: where its edges are.
        parallax: how many pixels a thing of disparity 1 moves when the viewer steps aside.
        budget: largest number of pixels of the result.
    """
    edges = _edges(disparity, torn)
    if not edges.any():
        return []
    for size in _COARSENESS:
        layers = _layers(photo, disparity, edges, parallax, size)
        if sum(np.count_nonzero(layer.mask) for layer in layers) <= budget:
            return layers
    return []


def _edges(disparity: Floats, torn: Torn) -> Floats:
    """How much nearer than a pixel its nearest torn neighbour is; 0 where there is none. [h, w]."""
    steps = np.zeros_like(disparity)

    def look(values: Floats, is_torn: Mask, found: Floats) -> None:
        step = np.diff(values, axis=1)
        step[~is_torn] = 0
        np.maximum(found[:, :-1], step, out=found[:, :-1])
        np.maximum(found[:, 1:], -step, out=found[:, 1:])

    look(disparity, torn.across, steps)
    look(disparity.T, torn.below.T, steps.T)
    return steps


def _layers(
    photo: Levels, disparity: Floats, edges: Floats, parallax: float, size: int
) -> list[Layer]:
    """One layer for each range of gaps."""
    height, width = disparity.shape
    small = max(1, width // size), max(1, height // size)
    rows = np.minimum(np.arange(small[1]) * size + size // 2, height - 1)
    columns = np.minimum(np.arange(small[0]) * size + size // 2, width - 1)
    near = cv2.dilate(disparity, np.ones((size, size), np.uint8))[np.ix_(rows, columns)]
    layers: list[Layer] = []
    for low, high in zip(_RANGES[:-1], _RANGES[1:], strict=True):
        gaps = edges * np.float32(parallax)
        chosen = (gaps > low * width) & (gaps <= high * width)
        if not chosen.any():
            continue
        strongest = np.where(chosen, edges, 0)
        weight = np.where(chosen, edges, 0)
        total = cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
        mean = cv2.resize(weight * disparity, small, interpolation=cv2.INTER_AREA)
        is_edge = total > 0
        distance, labels = cv2.distanceTransformWithLabels(
            (~is_edge).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        of_label = np.zeros(labels.max() + 1, np.float32)
        of_label[labels[is_edge]] = mean[is_edge] / total[is_edge]
        far = of_label[labels]
        gap = (near - far) * np.float32(parallax)
        del strongest
        mask = (gap > max(_TORN_BY_STEP, low * width / 2)) & (distance * size <= gap + _MARGIN)
        if not mask.any():
            continue
        layers.append(_filled_layer(photo, disparity, mask, far, near, distance, parallax, size))
    return layers


def _filled_layer(
    photo: Levels,
    disparity: Floats,
    mask: Mask,
    far: Floats,
    near: Floats,
    distance: Floats,
    parallax: float,
    size: int,
) -> Layer:
    small = mask.shape[1], mask.shape[0]
    large = disparity.shape[1], disparity.shape[0]
    reach = 0.1 * mask.shape[1] + 4
    beside = (distance <= reach) & (distance > 0) & ~mask
    tolerance = np.float32(4 / parallax) + np.abs(far) * 0.15
    beside &= np.abs(near - far) <= tolerance
    known = cv2.resize(beside.astype(np.float32), large, interpolation=cv2.INTER_NEAREST)
    values = cv2.resize(photo, small, interpolation=cv2.INTER_AREA).reshape(small[1], small[0], 3)
    del known
    both = np.dstack([values.astype(np.float32), near])
    filled = _filled(both, beside)
    back = filled[..., 3]
    limit = np.maximum(near - np.float32(0.5 / parallax), disparity.min())
    back = np.clip(back, disparity.min(), limit).astype(np.float32)
    back = np.where(mask, back, near)
    colours = np.clip(filled[..., :3] + 0.5, 0, 255).astype(np.uint8)
    return Layer(colours, back, mask, size)


def _filled(values: Floats, known: Mask) -> Floats:
    """Known values [h, w, c] continued into the rest, smoothly (pull and push over a pyramid)."""
    weight = known.astype(np.float32)
    levels = [(values * weight[..., None], weight)]
    while max(levels[-1][1].shape) > 1:
        sums, weight = levels[-1]
        size = max(1, (weight.shape[1] + 1) // 2), max(1, (weight.shape[0] + 1) // 2)
        smaller = cv2.resize(sums, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
        lighter = cv2.resize(weight, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0])
        levels.append((cast(Floats, smaller), cast(Floats, lighter)))
    sums, weight = levels.pop()
    result = sums / np.maximum(weight, 1e-12)[..., None]
    while levels:
        sums, weight = levels.pop()
        height, width = weight.shape
        coarse = cv2.resize(result, (width, height), interpolation=cv2.INTER_LINEAR)
        coarse = coarse.reshape(height, width, -1)
        share = np.minimum(weight * 4, 1)[..., None]  # a quarter of the pixels is enough to know
        own = sums / np.maximum(weight, 1e-12)[..., None]
        result = share * own + (1 - share) * coarse
    return cast(Floats, result)
