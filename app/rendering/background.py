# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the edges of near things in a disparity map and continues the background behind them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Levels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Two neighbouring pixels are torn if a gap of more than this many pixels opens between them when
#: the viewer stands aside: that is no surface, not even a steep one.
_TORN = 8.0
#: They are torn at this gap already if it is so many times as large as the gaps on both sides.
_TORN_BY_STEP, _STEEPER = 0.75, 2.5
#: The background is continued this many pixels further than a gap needs, as splats are round.
#: As the viewer goes round the scene, near things move by a little more than at the first step.
_FURTHER, _MARGIN = 1.35, 3
#: It is continued from pixels at most so far beside an edge, as a share of the width.
_BESIDE = 0.1
#: Of backgrounds that meet the farther one counts more, until its gap is this share of the width.
_FAR = 0.02
#: Behind things in front of others there are several backgrounds. Each of these ranges of gaps, as
#: shares of the picture's width, gets a layer of its own.
_RANGES = (0.0, 0.02, 0.12, np.inf)
#: Size, in pixels of the photo, of a pixel of the backdrop, and the widest gap that it covers.
_BACKDROP, _CRACK = 3, 3.0
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
    return gaps > sides


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


def backdrop(photo: Levels, disparity: Floats, parallax: float) -> Layer:
    """A coarse copy of what the camera sees, just behind it.

    It shows through wherever the fine pixels do not cover all: in renderers that make small
    Gaussians fainter, and in the cracks that noise of the disparity opens. There is none of it at
    edges, where it would be seen beside the near thing.

    Args:
        photo: [h, w, 3] uint8.
        disparity: [h, w].
        parallax: how many pixels a thing of disparity 1 moves when the viewer steps aside.
    """
    height, width = disparity.shape
    small = max(1, width // _BACKDROP), max(1, height // _BACKDROP)
    places = np.ix_(middles(small[1], height), middles(small[0], width))
    around = np.ones((_BACKDROP + 2, _BACKDROP + 2), np.uint8)
    near, far = cv2.dilate(disparity, around)[places], cv2.erode(disparity, around)[places]
    mask = (near - far) * np.float32(parallax) <= _CRACK
    back = np.maximum(far - np.float32(0.25 / parallax), np.float32(0.96) * far)
    shrunk = cast(Levels, cv2.resize(photo, small, interpolation=cv2.INTER_AREA))
    return Layer(shrunk.reshape(*mask.shape, 3), back, mask, _BACKDROP)


def middles(count: int, length: int) -> NDArray[np.intp]:
    """The places of the middles of ``count`` equal parts."""
    return ((np.arange(count) + 0.5) * (length / count)).astype(np.intp)


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
    places = np.ix_(middles(small[1], height), middles(small[0], width))
    square = np.ones((size, size), np.uint8)
    near = cast(Floats, cv2.dilate(disparity, square))[places]
    # Nothing of the background may come before what the camera sees around it.
    around = np.ones((size + 2, size + 2), np.uint8)
    limit = cv2.erode(disparity, around)[places] - np.float32(0.5 / parallax)
    limit = np.maximum(limit, disparity.min())
    shrunk = cast(Levels, cv2.resize(photo, small, interpolation=cv2.INTER_AREA))
    shrunk = shrunk.reshape(*near.shape, 3)
    layers: list[Layer] = []
    for low, high in pairwise(_RANGES):
        gaps = edges * np.float32(parallax)
        gaps[(gaps <= low * width) | (gaps > high * width)] = 0
        total = cv2.resize(gaps, small, interpolation=cv2.INTER_AREA).reshape(near.shape)
        is_edge = total > 0
        if not is_edge.any():
            continue
        gaps_far = cv2.resize(gaps * disparity, small, interpolation=cv2.INTER_AREA)
        widest = cv2.dilate(gaps, square)[places]
        distance, labels = cv2.distanceTransformWithLabels(
            (~is_edge).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        of_label = np.zeros((labels.max() + 1, 2), np.float32)
        of_label[labels[is_edge], 0] = gaps_far.reshape(near.shape)[is_edge] / total[is_edge]
        of_label[labels[is_edge], 1] = widest[is_edge]
        far, reach = of_label[labels, 0], of_label[labels, 1]
        distance = cast(Floats, distance)
        gap = (near - far) * np.float32(parallax)
        mask = (gap > max(_TORN_BY_STEP, low * width / 2)) & (
            distance * size <= _FURTHER * reach + _MARGIN
        )
        if not mask.any():
            continue
        colours, back = _filled_layer(shrunk, near, far, distance, mask, 1 / parallax)
        back = np.where(mask, np.clip(back, limit.min(), limit), near)
        layers.append(Layer(colours, back, mask, size))
    return layers


def _filled_layer(
    photo: Levels, near: Floats, far: Floats, distance: Floats, mask: Mask, width: float
) -> tuple[Levels, Floats]:
    """Continue colours and disparity from beside the edges to what is behind them.

    Args:
        photo: of the layer's size, [h, w, 3].
        near: disparity that the camera sees, [h, w].
        far: disparity just behind the nearest edge.
        distance: to that edge.
        mask: pixels to fill.
        width: 1 pixel of gap as a difference of disparity.
    """
    beside = (distance <= _BESIDE * mask.shape[1] + 4) & ~mask
    beside &= np.abs(near - far) <= 4 * width + 0.15 * far
    if not beside.any():
        beside = ~mask if not mask.all() else mask
    # Where several backgrounds meet, the farthest continues.
    trust = (near + np.float32(_FAR * width * mask.shape[1])) ** -2
    trust *= beside / trust.max()
    filled = _filled(np.dstack([photo, near]).astype(np.float32, copy=False), trust)
    return np.clip(filled[..., :3] + 0.5, 0, 255).astype(np.uint8), filled[..., 3]


def _filled(values: Floats, weight: Floats) -> Floats:
    """Known values [h, w, c] continued into the rest, smoothly (pull and push over a pyramid)."""
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
        share = np.minimum(weight * 1e6, 1)[..., None]
        own = sums / np.maximum(weight, 1e-12)[..., None]
        result = share * own + (1 - share) * coarse
    return cast(Floats, result)
