# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Keeps the depth of a film steady: what does not move keeps its depth.

A network looks at each frame alone, so that scale and shift of its maps change from frame to frame,
and their noise is new in each. Here each map is

1. brought to scale and shift of the one before, which is carried along by the optical flow
   (scale and shift as in MiDaS, Ranftl et al. 2020; robust, by iteratively reweighted least
   squares);
2. averaged with it where flow, colours and depths agree: a running mean, which is short where
   something moves and begins anew where something came into sight;
3. averaged in the same way with the few frames after it that wait anyway. A mean of both sides does
   not lag behind what comes nearer, and it changes less from a frame to the next. Where nothing
   moves, the newest mean is taken;
4. spread to 0..1 by the range of its shot, which widens ahead of what comes and narrows slowly.

A cut begins a new shot: nothing is carried over it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from app.rendering import maps
from app.rendering.maps import FloatArray, Levels
from app.video import alignment
from app.video.motion import (
    STILL_PIXELS,
    Motion,
    MotionFinder,
    carried,
    colour_distance,
    places,
    small_grey,
)

# A cut: the maps no longer resemble each other, and the colours have changed, or motion does not
# explain so large a share of the picture. Measured on rendered films: over cuts the distance of
# the colours is 0.35 to 0.65 and the correlation of the maps below 0.7, within shots below 0.05 and
# above 0.95. Optical flow alone says little: it finds a likeness for most points of any picture.
_COLOUR_DISTANCE, _RESEMBLING = 0.25, 0.95
_UNEXPLAINED, _HARDLY_RESEMBLING = 0.1, 0.75
# Frames before it over which depth is averaged where nothing moves, and where something does; and
# frames after it.
_MOST_STILL, _MOST_MOVING, _MOST_AFTER = 24.0, 8.0, 12.0
# The share of the picture that must be still for the alignment to look at nothing else.
_ENOUGH_STILL = 0.5
# Time in which a shot returns to its first scale and shift, seconds.
_RETURN_SECONDS = 0.7
# Depths agree with those before up to this many deviations of their noise, and with those after:
# only at the end of a shot does a mean without frames after it lag behind what comes nearer.
_AGREES_BEFORE, _AGREES_AFTER = 5.0, 8.0
# Width of the border between what is averaged and what begins anew, pixels.
_SOFT_PIXELS = 9
# How far ahead the range of a shot is known, and how long it takes to narrow, seconds.
_AHEAD_SECONDS = 0.3
_MOST_AHEAD = 8
_NARROWING_SECONDS = 4.0
_CONSTANT = 0.5


@dataclass
class _Shot:
    """What is known of the frame before."""

    #: [h, w] uint8, at the size of the flow
    grey: Levels
    #: steadied disparity [h, w] float32, before it is spread
    depth: FloatArray
    #: number of frames that the depth of each point is the mean of, [h, w] float32
    count: FloatArray
    #: number of frames since which each point has been still, [h, w] float32
    still: FloatArray
    #: between which depths most of the first map was
    middle: tuple[float, float]


@dataclass(frozen=True)
class _Next:
    """How a frame and the one after it belong together."""

    #: columns and rows of the next frame at which the points of this one are, at the flow's size
    places: tuple[FloatArray, FloatArray]
    is_seen: NDArray[np.bool_]
    #: deviation of the noise of a map
    noise: float
    #: what was done to the depth of the next frame after it had been aligned to this one
    scale: float
    shift: float


@dataclass
class _Waiting:
    """A map that waits for those of the next frames."""

    #: the mean of this frame and those before it, [h, w] float32
    depth: FloatArray
    low: float
    high: float
    #: at the size of the flow: this frame alone, the mean, and of how many frames it is
    alone: FloatArray
    mean: FloatArray
    count: FloatArray
    next: _Next | None = None


class Steady:
    """Steadies the maps of one film, frame after frame. Holds at most 8 frames."""

    def __init__(self, frame_rate: Fraction) -> None:
        """Start with no frames.

        Args:
            frame_rate: of the maps, a second; with it time constants become numbers of frames.
        """
        rate = max(float(frame_rate), 1.0)
        self._ahead = max(1, min(_MOST_AHEAD, round(_AHEAD_SECONDS * rate)))
        self._narrowing = 1 - math.exp(-1 / (_NARROWING_SECONDS * rate))
        self._return = 1 - math.exp(-1 / (_RETURN_SECONDS * rate))
        self._shot: _Shot | None = None
        self._motion = MotionFinder()
        self._waiting: deque[_Waiting] = deque()
        self._range: tuple[float, float] | None = None

    def push(self, disparity: FloatArray, picture: Levels) -> list[FloatArray]:
        """Add the next frame.

        Args:
            disparity: [h, w] float32, larger is nearer, in any scale and shift; all of one size.
            picture: what it was made of, [h, w, 3] uint8, RGB.

        Returns:
            Maps [h, w] float32, 0 to 1, of the frames that are finished, in their order.

        Raises:
            ArithmeticError: the map contains infinity or NaN.
            ValueError: the size differs from the picture's, or from that of the frames before.
        """
        maps.check_finite(disparity)
        if disparity.shape != picture.shape[:2]:
            raise ValueError("map and picture differ in size")
        if self._shot is not None and disparity.shape != self._shot.depth.shape:
            raise ValueError("the size of the maps has changed")
        grey = small_grey(picture)
        depth: FloatArray = np.ascontiguousarray(disparity, np.float32)
        done: list[FloatArray] = []
        if self._shot is not None:
            motion = self._motion.find(grey, self._shot.grey)
            before = _Before.of(self._shot, motion, colour_distance(grey, self._shot.grey))
            if before.is_cut(depth):
                done = self.flush()
            else:
                self._continue(self._shot, before, grey, depth)
        if self._shot is None:
            count, still = np.ones_like(depth), np.zeros_like(depth)
            self._shot = _Shot(grey, depth, count, still, alignment.middle(depth))
            self._wait(depth)
        if len(self._waiting) > self._ahead:
            done.append(self._finished())
        return done

    def flush(self) -> list[FloatArray]:
        """The maps of all frames that are not finished; the next frame begins a new shot."""
        done = [self._finished() for _ in range(len(self._waiting))]
        self._shot, self._range = None, None
        return done

    def _continue(self, shot: _Shot, before: _Before, grey: Levels, depth: FloatArray) -> None:
        """Add a frame to the shot."""
        scale, shift = before.alignment(depth)
        aligned = np.float32(scale) * depth + np.float32(shift)
        noise = alignment.noise((before.depth - aligned)[before.is_seen], before.depth)
        most = np.minimum(before.count, before.most)
        mean, count = _averaged(aligned, before.depth, most, before.is_seen, _AGREES_BEFORE * noise)
        still = np.where(before.is_still & (count > 1), shot.still + 1, np.float32(0))
        scale, shift = alignment.way_back(mean, shot.middle, self._return)
        mean = np.float32(scale) * mean + np.float32(shift)
        aligned = np.float32(scale) * aligned + np.float32(shift)
        ahead = self._motion.find(shot.grey, grey)
        rows, columns = grey.shape
        self._waiting[-1].next = _Next(
            places(ahead.flow, (columns, rows)), ahead.is_seen, noise, scale, shift
        )
        self._shot = _Shot(grey, mean, count, still, shot.middle)
        self._wait(aligned)

    def _wait(self, alone: FloatArray) -> None:
        """Let the frame that was added wait for the next ones."""
        shot = self._shot
        assert shot is not None
        low, high, _, _ = cv2.minMaxLoc(shot.depth)
        rows, columns = shot.grey.shape
        alone, mean, count = (
            np.asarray(cv2.resize(each, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
            for each in (alone, shot.depth, shot.count)
        )
        self._waiting.append(_Waiting(shot.depth, low, high, alone, mean, count))

    def _finished(self) -> FloatArray:
        """The oldest map that waits, averaged with those after it and spread."""
        # The range of the frames ahead is reached in even steps, so that nothing jumps.
        low = min(each.low for each in self._waiting)
        high = max(each.high for each in self._waiting)
        correction = self._correction()
        count = len(self._waiting)
        first = self._waiting.popleft()
        if self._range is None:
            self._range = low, high
        else:
            self._range = (
                -self._moved(-self._range[0], -low, -first.low),
                self._moved(self._range[1], high, first.high),
            )
        low, high = self._range
        if high - low <= 1e-6 * max(abs(low), abs(high), 1e-6):
            return np.full(first.depth.shape, _CONSTANT, np.float32)
        rows, columns = first.depth.shape
        depth = first.depth + cv2.resize(correction, (columns, rows))
        # What has been still since then is known better by now, most of all at a shot's beginning.
        assert self._shot is not None
        depth = np.where(self._shot.still >= count, self._shot.depth, depth)
        return np.asarray(np.clip((depth - low) / (high - low), 0, 1), np.float32)

    def _correction(self) -> FloatArray:
        """What the frames after the oldest that waits change of its mean, at the flow's size.

        At this size it costs little. Details and edges are those of the mean of the frames before.
        """
        after, count = self._waiting[-1].alone, np.ones_like(self._waiting[-1].alone)
        for each in list(self._waiting)[-2::-1]:
            assert each.next is not None
            x, y = each.next.places
            other = (carried(after, x, y) - each.next.shift) / each.next.scale
            most = np.minimum(carried(count, x, y), _MOST_AFTER)
            after, count = _averaged(
                each.alone, other, most, each.next.is_seen, _AGREES_AFTER * each.next.noise
            )
        first = self._waiting[0]
        # Both means contain the frame itself.
        total = first.count + count - 1
        both = (first.count * first.mean + count * after - first.alone) / total
        return np.asarray(both - first.mean, np.float32)

    def _moved(self, now: float, wanted: float, least: float) -> float:
        """One end of the range: quickly outwards to what is ahead, slowly inwards."""
        if wanted > now:
            return max(least, now + (wanted - now) / self._ahead)
        return max(least, now + (wanted - now) * self._narrowing)


@dataclass(frozen=True)
class _Before:
    """The frame before, carried to where its points are now."""

    depth: FloatArray
    count: FloatArray
    #: [h, w] bool: whether a point was seen in the frame before
    is_seen: NDArray[np.bool_]
    #: [h, w] float32: over how many frames the depth may be averaged at most
    most: FloatArray
    #: [h, w] bool: whether nothing moves there
    is_still: NDArray[np.bool_]
    #: share of the picture that motion explains
    explained: float
    #: of the picture before, 0 to 1
    colour_distance: float

    @classmethod
    def of(cls, shot: _Shot, motion: Motion, colour_distance: float) -> _Before:
        """Carry along what is known; ``motion`` is that of the new frame to the one before."""
        size = shot.depth.shape[1], shot.depth.shape[0]
        x, y = places(motion.flow, size)
        is_still = cv2.dilate(motion.distance, np.ones((5, 5))) < 2 * STILL_PIXELS
        most = np.where(is_still, np.float32(_MOST_STILL), np.float32(_MOST_MOVING))
        most = np.asarray(cv2.resize(most, size), np.float32)
        is_seen = motion.is_seen.astype(np.uint8)
        return cls(
            carried(shot.depth, x, y),
            carried(shot.count, x, y),
            cv2.resize(is_seen, size, interpolation=cv2.INTER_NEAREST) > 0,
            most,
            most >= _MOST_STILL,
            motion.explained,
            colour_distance,
        )

    def is_cut(self, depth: FloatArray) -> bool:
        """Whether a new map is that of another shot."""
        likeness = _likeness(depth, self.depth)
        if self.colour_distance > _COLOUR_DISTANCE:
            return likeness < _RESEMBLING
        return likeness < _HARDLY_RESEMBLING and self.explained < 1 - _UNEXPLAINED

    def alignment(self, depth: FloatArray) -> tuple[float, float]:
        """Scale and shift by which a new map fits this one."""
        # With a camera that stands still, what moves says nothing of the scale.
        fitted = self.is_seen & self.is_still
        if fitted.mean() < _ENOUGH_STILL:
            fitted = self.is_seen
        return alignment.alignment(depth, self.depth, fitted)


def _averaged(
    depth: FloatArray,
    other: FloatArray,
    count: FloatArray,
    is_seen: NDArray[np.bool_],
    agrees: float,
) -> tuple[FloatArray, FloatArray]:
    """A map averaged with that of its neighbour, and of how many frames each point then is.

    Args:
        depth: [h, w], of this frame.
        other: the neighbour's, aligned and carried to the points of this one.
        count: the number of frames that ``other`` is the mean of.
        is_seen: whether the neighbour shows a point.
        agrees: up to this difference, depths agree in full; from twice of it on, not at all.
    """
    difference = other - depth
    agreement = np.clip(2 - np.abs(difference) / np.float32(agrees), 0, 1)
    count = count * agreement * is_seen
    # Without hard edges, which would be seen.
    count = np.minimum(count, cv2.blur(count, (_SOFT_PIXELS, _SOFT_PIXELS)))
    mean = depth + difference * (count / (count + 1))
    return np.asarray(mean, np.float32), np.asarray(count + 1, np.float32)


def _likeness(one: FloatArray, other: FloatArray) -> float:
    """The correlation of two maps; 0 if one of them is constant."""
    a, b = (each[::3, ::3].ravel() - each[::3, ::3].mean() for each in (one, other))
    power = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / power if power > 0 else 0.0
