# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the points of a frame in the frame before or after it, by optical flow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.rendering.maps import FloatArray, Levels

# The longer edge at which motion is estimated, pixels.
_FLOW_EDGE = 384
# Grey levels by which a point may differ from itself in the other frame, beside the noise of the
# film. The first is for averages, which a point of another thing harms little, because its depth
# differs as well; the second is for the question how much of a picture motion explains.
_SAME_GREY, _EXPLAINED_GREY = 20.0, 10.0
# Motion up to this, in pixels of the flow's size, is none: it is the noise of its estimate.
STILL_PIXELS = 0.25
# Grain looks like motion of up to so many pixels, and changes grey levels by up to so many times
# their median change.
_GRAIN_PIXELS, _GRAIN_FACTOR = 2.0, 1.5
# Share of the picture without clear edges, by which one sees whether the camera stands still.
_EDGES = 0.9


@dataclass(frozen=True)
class Motion:
    """Where the points of one frame are in the other; all of it at the size of the flow."""

    #: [h, w, 2] float32, pixels
    flow: FloatArray
    #: [h, w] float32: how far each point moves
    distance: FloatArray
    #: [h, w] bool: whether a point is seen in the other frame
    is_seen: NDArray[np.bool_]
    #: the share of the picture that looks as motion says
    explained: float


class MotionFinder:
    """Estimates motion between frames. Not thread-safe."""

    def __init__(self) -> None:
        self._method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def find(self, grey: Levels, other: Levels) -> Motion:
        """Where the points of a small grey picture are in another one."""
        flow = np.asarray(self._method.calc(grey, other, None), np.float32)  # type: ignore[call-overload]
        distance: FloatArray = np.hypot(flow[..., 0], flow[..., 1])
        change = cv2.blur(cv2.absdiff(other, grey).astype(np.float32), (5, 5))
        edges = cv2.magnitude(*(cv2.Sobel(grey, cv2.CV_32F, x, 1 - x) for x in (1, 0)))
        if np.median(distance[edges >= np.quantile(edges, _EDGES)]) < STILL_PIXELS:
            # The camera stands still. Where there is nothing but grain, flow follows the grain.
            is_grain = (distance < _GRAIN_PIXELS) & (change < _GRAIN_FACTOR * np.median(change))
            distance[is_grain] = 0
        flow[distance < STILL_PIXELS] = 0
        rows, columns = grey.shape
        x, y = places(flow, (columns, rows))
        there = cv2.remap(other, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        error = cv2.blur(cv2.absdiff(there, grey).astype(np.float32), (3, 3))
        grain = 2 * float(np.median(error))
        inside = (x > -0.5) & (x < columns - 0.5) & (y > -0.5) & (y < rows - 0.5)
        explained = float((inside & (error < _EXPLAINED_GREY + grain)).mean())
        return Motion(flow, distance, inside & (error < _SAME_GREY + grain), explained)


def small_grey(picture: Levels) -> Levels:
    """A picture in grey, at the size at which motion is estimated."""
    height, width = picture.shape[:2]
    scale = min(1.0, _FLOW_EDGE / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def places(flow: FloatArray, size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Columns and rows of the other map where each point of a map of this size is, [h, w]."""
    (width, height), (rows, columns) = size, flow.shape[:2]
    enlarged: FloatArray = np.asarray(
        cv2.resize(flow, size, interpolation=cv2.INTER_LINEAR), np.float32
    )
    x = enlarged[..., 0] * (width / columns) + np.arange(width)
    y = enlarged[..., 1] * (height / rows) + np.arange(height)[:, None]
    return x.astype(np.float32), y.astype(np.float32)


def carried(map_: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """A map, looked up at these columns and rows."""
    found = cv2.remap(map_, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def colour_distance(one: Levels, other: Levels) -> float:
    """Bhattacharyya distance of the histograms of two grey pictures, 0 to 1."""
    histograms = [cv2.calcHist([each], [0], None, [32], [0, 256]) for each in (one, other)]
    return float(cv2.compareHist(histograms[0], histograms[1], cv2.HISTCMP_BHATTACHARYYA))
