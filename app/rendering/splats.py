# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Lifts a photo and its disparity to a cloud of 3D Gaussians ("splats").

Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", 2023,
https://arxiv.org/abs/2308.04079. Nothing is trained: each pixel becomes one flat Gaussian that lies
along the surface it shows, and the background continues behind the edges of nearer things, so that
a viewer may move aside without looking through holes.

Coordinates are those of OpenCV's camera: x right, y down, z forward, the camera at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Levels = NDArray[np.uint8]

#: A view from this far aside, in degrees around the middle of the scene, should have no holes.
ASIDE_DEGREES = 15.0
#: The standard deviation of a Gaussian along its surface, in pixels of the photo. Renderers add
#: 0.3 pixels squared to the variance, which closes the gaps.
_DEVIATION = 0.36
#: The same across the surface: as good as flat.
_THICKNESS = 0.05
_OPACITY = 0.98
#: A jump of disparity is an edge if it is at least this share of the largest disparity, and this
#: many times as large as the steps on both of its sides.
_JUMP, _STEEPER = 0.03, 3.0
#: Surfaces are at most this steep (tangent of the angle to the picture), so that no Gaussian is
#: drawn out like rubber.
_STEEPEST = 8.0
#: Background is continued behind an edge at most so far, as a share of the picture's width.
_WIDEST_FILL = 0.25


@dataclass(frozen=True)
class Splats:
    """Gaussians; all arrays are float32."""

    #: [n, 3] centres, in the units of the depth
    centres: Floats
    #: [n, 3] sRGB colours, 0 to 1
    colours: Floats
    #: [n, 3] standard deviations along the three axes
    deviations: Floats
    #: [n, 4] rotations of the axes as unit quaternions w, x, y, z
    rotations: Floats
    #: opacity of all of them, 0 to 1
    opacity: float = _OPACITY

    def __len__(self) -> int:
        return len(self.centres)


def lift(
    photo: Levels, disparity: Floats, focal_length: float, softness: int, max_splats: int
) -> Splats:
    """The splats of a photo.

    Args:
        photo: [h, w, 3] uint8, sRGB.
        disparity: [h, w] float32: 1 / depth, all above 0; the depth's unit is that of the result.
        focal_length: of the camera, in pixels of the photo.
        softness: number of pixels over which the network blurs an edge of the disparity.
        max_splats: a larger photo is made smaller first.
    """
    height, width = disparity.shape
    scale = min(1.0, (max_splats / 1.25 / (height * width)) ** 0.5)
    if scale < 1:
        size = max(1, int(width * scale)), max(1, int(height * scale))
        photo = cast(Levels, cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        disparity = cast(Floats, cv2.resize(disparity, size, interpolation=cv2.INTER_NEAREST))
        focal_length *= size[0] / width
        softness = round(softness * size[0] / width)
    disparity = _sharpened(disparity, softness)
    front = _Layer.of(photo, disparity, focal_length, 1)
    behind = _background(photo[::2, ::2], disparity[::2, ::2], focal_length / 2)
    layers = [front.splats(), *([] if behind is None else [behind.splats()])]
    return Splats(*(np.concatenate(parts) for parts in zip(*map(_arrays, layers), strict=True)))


def _arrays(splats: Splats) -> tuple[Floats, ...]:
    return splats.centres, splats.colours, splats.deviations, splats.rotations


@dataclass(frozen=True)
class _Layer:
    """Pixels that become splats: flat arrays [n], float32; the tangents are [n, 3]."""

    centres: Floats
    colours: Floats
    along: Floats  # tangent: the step in space to the next column
    down: Floats  # tangent: the step in space to the next row

    @classmethod
    def of(
        cls,
        photo: Levels,
        disparity: Floats,
        focal: float,
        scale: int,
        mask: NDArray[np.bool_] | None = None,
    ) -> _Layer:
        """The pixels of a photo, or those in a mask.

        ``scale`` is the size of a pixel here in pixels of the whole photo: where only every second
        one is left, centres lie elsewhere.
        """
        height, width = disparity.shape
        offset = 0.5 / scale
        x = (np.arange(width, dtype=np.float32) + offset - width / 2) / focal
        y = (np.arange(height, dtype=np.float32) + offset - height / 2) / focal
        across, below = _slopes(disparity)
        limit = disparity * np.float32(_STEEPEST / focal)
        np.clip(across, -limit, limit, out=across)
        np.clip(below, -limit, limit, out=below)
        rays = np.empty((height, width, 3), np.float32)
        rays[..., 0], rays[..., 1], rays[..., 2] = x, y[:, None], 1
        choose = slice(None) if mask is None else np.flatnonzero(mask)
        rays = rays.reshape(-1, 3)[choose]
        depth = (1 / disparity).reshape(-1)[choose]
        centres = rays * depth[:, None]
        # The derivative of ray / disparity.
        along = -centres * (across.reshape(-1)[choose] * depth)[:, None]
        along[:, 0] += depth / focal
        down = -centres * (below.reshape(-1)[choose] * depth)[:, None]
        down[:, 1] += depth / focal
        colours = photo.reshape(-1, 3)[choose].astype(np.float32) / 255
        return cls(centres, colours, along, down)

    def splats(self) -> Splats:
        """Gaussians whose footprints have the shapes of the pixels on their surfaces."""
        length = np.sqrt(_dot(self.along, self.along))
        first = self.along / length[:, None]
        part = _dot(self.down, first)
        second = self.down - part[:, None] * first
        height = np.sqrt(np.maximum(_dot(second, second), 1e-20))
        second /= height[:, None]
        # The footprint's covariance in the plane of ``first`` and ``second`` is
        # [[a, b], [b, c]]; its axes are its eigenvectors.
        a, b, c = length**2 + part**2, part * height, height**2
        angle = 0.5 * np.arctan2(2 * b, a - c)
        middle, radius = (a + c) / 2, np.hypot((a - c) / 2, b)
        cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
        major = cosine * first + sine * second
        minor = cosine * second - sine * first
        deviations = np.empty((len(a), 3), np.float32)
        deviations[:, 0] = np.sqrt(middle + radius)
        deviations[:, 1] = np.sqrt(np.maximum(middle - radius, 0))
        deviations[:, :2] *= _DEVIATION
        deviations[:, 2] = _THICKNESS * np.minimum(length, height)
        np.maximum(deviations[:, 1], deviations[:, 2], out=deviations[:, 1])
        return Splats(self.centres, self.colours, deviations, _quaternions(major, minor))


def _dot(one: Floats, other: Floats) -> Floats:
    return cast(Floats, np.einsum("ij,ij->i", one, other))


def _quaternions(first: Floats, second: Floats) -> Floats:
    """Unit quaternions [n, 4] (w, x, y, z) of rotations whose first two columns are given.

    Of four ways to compute each the one without cancellation is taken (Shepperd, 1978).
    """
    third = np.cross(first, second)
    m = np.stack([first, second, third], -1)  # [n, row, column]
    trace = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    parts = np.stack([trace, m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], 1)
    best = parts.argmax(1)
    squares = 1 + 2 * np.take_along_axis(parts, best[:, None], 1)[:, 0] - trace
    squares[best == 0] = 1 + trace[best == 0]
    x, y, z = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    four = np.stack(
        [
            np.stack([squares, x, y, z], 1),
            np.stack([x, squares, xy, xz], 1),
            np.stack([y, xy, squares, yz], 1),
            np.stack([z, xz, yz, squares], 1),
        ],
        1,
    )
    chosen = np.take_along_axis(four, best[:, None, None], 1)[:, 0]
    return cast(Floats, chosen / np.linalg.norm(chosen, axis=1, keepdims=True))


def _sharpened(disparity: Floats, softness: int) -> Floats:
    """Turn the ramps that a network draws at edges into steps, so that no pixel floats between.

    A ramp is known by its range: over three times the distance a surface has three times the range,
    but an edge has hardly more.
    """
    low, high = _extremes(disparity, softness)
    lower, higher = _extremes(disparity, 3 * softness)
    span = high - low
    is_edge = (span > _JUMP * disparity.max()) & (span > 0.6 * (higher - lower))
    return np.where(is_edge, np.where(high - disparity < disparity - low, high, low), disparity)


def _extremes(values: Floats, radius: int) -> tuple[Floats, Floats]:
    """The smallest and the largest value within a radius of each pixel (in a square)."""
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cast(Floats, cv2.erode(values, square)), cast(Floats, cv2.dilate(values, square))


def _slopes(disparity: Floats) -> tuple[Floats, Floats]:
    """Differences to the next column and to the next row, [h, w] each.

    Of the differences on both sides the smaller one is taken: at an edge that is the one on the
    pixel's own surface.
    """

    def one_way(values: Floats) -> Floats:
        steps = np.diff(values, axis=1)
        steps = np.pad(steps, ((0, 0), (1, 1)), mode="edge") if values.shape[1] > 1 else values * 0
        if values.shape[1] == 1:
            return cast(Floats, steps)
        before, after = steps[:, :-1], steps[:, 1:]
        return np.where(np.abs(before) < np.abs(after), before, after)

    return one_way(disparity), one_way(disparity.T).T.copy()


def _edges(disparity: Floats) -> NDArray[np.bool_]:
    """The pixels that lie just behind an edge: their neighbour is much nearer. [h, w] bool."""
    least = _JUMP * float(disparity.max())
    behind = np.zeros(disparity.shape, bool)

    def look(values: Floats, found: NDArray[np.bool_]) -> None:
        steps = np.diff(values, axis=1)
        size = np.abs(steps)
        sides = np.pad(size, ((0, 0), (1, 1)), mode="constant")
        is_edge = (size > least) & (size > _STEEPER * np.maximum(sides[:, :-2], sides[:, 2:]))
        found[:, :-1] |= is_edge & (steps > 0)
        found[:, 1:] |= is_edge & (steps < 0)

    look(disparity, behind)
    look(disparity.T, behind.T)
    return behind


def _background(photo: Levels, disparity: Floats, focal: float) -> _Layer | None:
    """What may be behind the edges of nearer things: the background beside them, continued.

    None if there are no edges. The pixels are those of a photo of half the size.
    """
    edges = _edges(disparity)
    if not edges.any():
        return None
    distance, labels = cv2.distanceTransformWithLabels(
        (~edges).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(labels.max() + 1, np.float32)
    of_label[labels[edges]] = disparity[edges]
    behind = of_label[labels]  # the disparity just behind the nearest edge
    step = disparity - behind
    least = _JUMP * float(disparity.max()) / 2
    # From aside a nearer thing moves by this many pixels before its background.
    pivot = float(np.median(disparity))
    baseline = np.sin(np.radians(ASIDE_DEGREES)) / pivot
    parallax = np.minimum(focal * baseline * step, _WIDEST_FILL * disparity.shape[1])
    hidden = (step > least) & (distance <= parallax + 2)
    known = ~hidden & (step <= least) & (distance <= 0.1 * disparity.shape[1] + 4)
    if not hidden.any():
        return None
    values = np.dstack([photo.astype(np.float32), disparity])
    filled = _filled(values, known)
    back = np.clip(filled[..., 3], disparity.min(), np.maximum(disparity - least, disparity.min()))
    back = np.where(hidden, back, disparity).astype(np.float32)
    colours = np.clip(filled[..., :3] + 0.5, 0, 255).astype(np.uint8)
    return _Layer.of(colours, back, focal, 2, hidden)


def _filled(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Known values [h, w, c] continued into the rest, smoothly (pull and push over a pyramid)."""
    weight = known.astype(np.float32)
    levels = [(values * weight[..., None], weight)]
    while max(levels[-1][1].shape) > 1:
        sums, weight = levels[-1]
        size = max(1, (weight.shape[1] + 1) // 2), max(1, (weight.shape[0] + 1) // 2)
        smaller = cv2.resize(sums, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
        lighter = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        levels.append((smaller, lighter))
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
