# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Lifts a photo and its disparity to a cloud of 3D Gaussians ("splats").

Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", 2023,
https://arxiv.org/abs/2308.04079. Nothing is trained: each pixel becomes one flat Gaussian that lies
along the surface it shows. The background continues behind the edges of nearer things, so that a
viewer may move aside without looking through holes, and a coarse copy of the photo lies just behind
the fine pixels, so that nothing shines through between them.

Coordinates are those of OpenCV's camera: x right, y down, z forward, the camera at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from app.rendering import background
from app.rendering.background import Floats, Layer, Levels, Torn, middles

#: A view from this far aside, in degrees around the middle of the scene, should have no holes.
ASIDE_DEGREES = 15.0
#: The standard deviation of a Gaussian along its surface, in pixels of the photo. Smaller ones
#: leave gaps in renderers that make small Gaussians fainter (Spark), larger ones blur the photo.
_DEVIATION = 0.64
#: The same across the surface: as good as flat.
_THICKNESS = 0.05
#: When the viewer stands aside, a blurred edge opens a gap of at least so many pixels. Where it
#: opens this much for each pixel of the photo, it is no surface in any case.
_SMALL_STEP, _STEEP = 2.0, 1.2
#: From this share of a blurred edge on, pixels belong to the nearer thing.
_OUTSIDE = 0.35
#: A Gaussian lies this many pixels nearer along its surface than its pixel: renderers draw the
#: nearest first, so that a pixel shows its nearer neighbours more than itself.
_AHEAD = np.float32(0.4)
#: The depth changes at most by this share from one pixel to the next.
_STEEPEST = np.float32(0.5)
_OPACITY = 0.98
#: share of ``max_splats`` that the photo's own pixels may take; the rest is for the background
PHOTO_SHARE = 0.8
#: pixels that are lifted at once: their arrays fit into a processor's cache
_STRIP_PIXELS = 2**15


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
    #: opacity of all of them, or of each [n], 0 to 1
    opacity: float | Floats = _OPACITY

    def __len__(self) -> int:
        return len(self.centres)

    @classmethod
    def empty(cls, count: int) -> Splats:
        """Make room for splats."""
        centres, colours, deviations = (np.empty((count, 3), np.float32) for _ in range(3))
        return cls(centres, colours, deviations, np.empty((count, 4), np.float32))


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
    shape = disparity.shape
    photo, disparity = _shrunk(photo, disparity, int(PHOTO_SHARE * max_splats), softness)
    focal = focal_length * disparity.shape[1] / shape[1]
    softness = round(softness * disparity.shape[1] / shape[1])
    if softness:
        disparity = sharpened(disparity, focal, softness)
    parallax = _parallax(disparity, focal)
    torn = Torn.of(disparity, parallax)
    layers = [Layer(photo, disparity, np.ones(disparity.shape, bool), 1)]
    left = max_splats - disparity.size
    backdrop = background.backdrop(photo, disparity, parallax)
    size = int(np.count_nonzero(backdrop.mask))
    if size <= left:
        layers.append(backdrop)
        left -= size
    layers += background.behind(photo, disparity, torn, parallax, left)
    counts = [int(np.count_nonzero(layer.mask)) for layer in layers]
    splats = Splats.empty(sum(counts))
    start = 0
    for layer, count in zip(layers, counts, strict=True):
        edges = torn if layer.size == 1 else Torn.of(layer.disparity, parallax / layer.size)
        _write(splats, start, layer, edges, focal_length, shape)
        start += count
    return splats


def _shrunk(photo: Levels, disparity: Floats, pixels: int, softness: int) -> tuple[Levels, Floats]:
    """Scale both to at most so many pixels; the disparity's edges stay sharp."""
    height, width = disparity.shape
    if height * width <= pixels:
        return photo, disparity
    scale = (pixels / (height * width)) ** 0.5
    high = max(1, int(height * scale))
    wide = max(1, min(int(width * scale), pixels)) if high > 1 else max(1, min(width, pixels))
    high = max(1, min(high if wide > 1 else height, pixels // wide))
    photo = cast(Levels, cv2.resize(photo, (wide, high), interpolation=cv2.INTER_AREA))
    if not softness:
        # At a sharp edge a pixel's colour now mixes both sides: such pixels go to the nearer one.
        square = np.ones((max(1, height // high), max(1, width // wide)), np.uint8)
        disparity = cast(Floats, cv2.dilate(disparity, square))
    return photo, disparity[np.ix_(middles(high, height), middles(wide, width))]


def _write(
    splats: Splats,
    start: int,
    layer: Layer,
    torn: Torn,
    focal: float,
    shape: tuple[int, int],
) -> None:
    """Write the splats of a layer, strip by strip.

    In units of depth / focal length, where a pixel at column X and row Y from the middle has the
    place (X, Y, f), the steps on the surface to the next column and row are, with the relative
    changes p and q of the disparity, (1, 0, 0) - p (X, Y, f) and (0, 1, 0) - q (X, Y, f).
    """
    height, width = layer.disparity.shape
    f = np.float32(focal * width / shape[1])
    # how high a pixel is if it is 1 wide
    tall = (shape[0] / height) / (shape[1] / width)
    x = np.arange(width, dtype=np.float32) + np.float32(0.5 - width / 2)
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5 - height / 2)) * np.float32(tall)
    across = _slopes(layer.disparity, torn.across)
    below = _slopes(layer.disparity.T, torn.below.T).T
    right, nearer = _ahead(layer.disparity, across, torn.across)
    down, nearer_too = (part.T for part in _ahead(layer.disparity.T, below.T, torn.below.T))
    nearer += nearer_too
    nearer += layer.disparity
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        mask = layer.mask[strip]
        count = int(np.count_nonzero(mask))
        out = slice(start, start + count)
        start += count
        if not count:
            continue
        depth = 1 / nearer[strip][mask]
        column = (x + right[strip])[mask]
        row = (y[strip, None] + down[strip])[mask]
        p, q = across[strip][mask], below[strip][mask]
        p, q = np.clip(p * depth, -_STEEPEST, _STEEPEST), np.clip(q * depth, -_STEEPEST, _STEEPEST)
        splats.colours[out] = layer.photo[strip][mask]
        splats.colours[out] *= np.float32(1 / 255)
        unit = depth / f
        centres = splats.centres[out]
        centres[:, 0], centres[:, 1], centres[:, 2] = column * unit, row * unit, depth
        deviations = splats.deviations[out]
        _orient(column, row, f, p, q, deviations, splats.rotations[out])
        deviations *= (unit * np.float32(_DEVIATION))[:, None]


def _orient(
    x: Floats, y: Floats, f: np.float32, p: Floats, q: Floats, deviations: Floats, rotations: Floats
) -> None:
    """Write the axes of the ellipses that the steps of ``_write`` span, and their lengths."""
    normal_x, normal_y, normal_z = f * p, f * q, 1 - x * p - y * q
    length = np.sqrt(normal_x * normal_x + normal_y * normal_y + normal_z * normal_z)
    length = np.copysign(np.maximum(length, np.float32(1e-12)), normal_z)
    normal_x, normal_y, normal_z = normal_x / length, normal_y / length, normal_z / length
    # The shortest rotation that turns the z axis into the normal turns the x axis and the y axis
    # into these; see how long the two steps are along them.
    k = 1 / (1 + normal_z)
    first = 1 - k * normal_x * normal_x, -k * normal_x * normal_y, -normal_x
    second = first[1], 1 - k * normal_y * normal_y, -normal_y
    on_first = first[0] * x + first[1] * y + first[2] * f
    on_second = second[0] * x + second[1] * y + second[2] * f
    across = first[0] - p * on_first, second[0] - p * on_second
    below = first[1] - q * on_first, second[1] - q * on_second
    # The ellipse's covariance along them is [[a, b], [b, c]].
    a = across[0] * across[0] + below[0] * below[0]
    b = across[0] * across[1] + below[0] * below[1]
    c = across[1] * across[1] + below[1] * below[1]
    half = 0.25 * np.arctan2(2 * b, a - c)
    middle, radius = 0.5 * (a + c), 0.5 * np.hypot(a - c, 2 * b)
    np.sqrt(middle + radius, out=deviations[:, 0])
    np.sqrt(np.maximum(middle - radius, np.float32(_THICKNESS**2)), out=deviations[:, 1])
    deviations[:, 2] = _THICKNESS
    # The product of that rotation and of the one in the plane.
    cosine, sine = np.cos(half), np.sin(half)
    w = np.sqrt(0.5 * (1 + normal_z))
    cosine_side, sine_side = cosine / (2 * w), sine / (2 * w)
    rotations[:, 0] = w * cosine
    rotations[:, 1] = sine_side * normal_x - cosine_side * normal_y
    rotations[:, 2] = cosine_side * normal_x + sine_side * normal_y
    rotations[:, 3] = w * sine


def _slopes(disparity: Floats, torn: background.Mask) -> Floats:
    """The change of the disparity to the next column, [h, w], on each pixel's own surface."""
    steps = np.diff(disparity, axis=1)
    steps[torn] = 0
    slopes = np.zeros_like(disparity)
    slopes[:, :-1] = steps
    slopes[:, 1:] += steps
    if disparity.shape[1] > 2:  # inside, most pixels have two neighbours on their surface
        slopes[:, 1:-1] *= np.where(torn[:, :-1] | torn[:, 1:], np.float32(1), np.float32(0.5))
    return slopes


def _ahead(disparity: Floats, slopes: Floats, torn: background.Mask) -> tuple[Floats, Floats]:
    """By how much of a column each pixel's Gaussian is moved, and how that changes its disparity.

    It goes towards the nearer neighbour, but at an edge of a near thing away from the edge, so that
    less of it hangs over. Both are [h, w].
    """
    steps = np.diff(disparity, axis=1)
    edges = np.sign(steps) * torn
    moved = np.zeros_like(disparity)
    moved[:, :-1] = np.minimum(edges, 0)
    moved[:, 1:] += np.maximum(edges, 0)
    np.copyto(moved, np.sign(slopes), where=moved == 0)
    moved *= _AHEAD
    steps[torn] = 0
    change = np.zeros_like(disparity)
    change[:, :-1] = np.maximum(moved[:, :-1], 0) * steps
    change[:, 1:] += np.minimum(moved[:, 1:], 0) * steps
    change[:, -1:] += np.maximum(moved[:, -1:], 0) * slopes[:, -1:]
    change[:, :1] += np.minimum(moved[:, :1], 0) * slopes[:, :1]
    return moved, change


def _parallax(disparity: Floats, focal: float) -> float:
    """How many pixels a thing of disparity 1 moves when the viewer steps aside."""
    return focal * float(np.sin(np.radians(ASIDE_DEGREES)) / disparity.mean())


def sharpened(disparity: Floats, focal_length: float, softness: int) -> Floats:
    """Turn the ramps that a network draws at edges into steps, so that no pixel floats between.

    A ramp is steep, or it is known by its range: over three times the distance a surface has three
    times the range, but an edge has hardly more. Near things grow a little: a rim of background
    that moves with them is hardly seen, but a line of their colour left on the background is.

    Args:
        disparity: [h, w] float32: 1 / depth, all above 0.
        focal_length: of the camera, in pixels of the map.
        softness: number of pixels over which the map's edges are blurred, at least 1.
    """
    parallax = _parallax(disparity, focal_length)
    low, high = _extremes(disparity, softness)
    lower, higher = _extremes(disparity, 3 * softness)
    span = high - low
    is_edge = (span > _SMALL_STEP / parallax) & (span > 0.6 * (higher - lower))
    is_edge |= span > _STEEP * (2 * softness + 1) / parallax
    return np.where(is_edge, np.where(disparity - low > _OUTSIDE * span, high, low), disparity)


def _extremes(values: Floats, radius: int) -> tuple[Floats, Floats]:
    """The smallest and the largest value within a radius of each pixel (in a square)."""
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cast(Floats, cv2.erode(values, square)), cast(Floats, cv2.dilate(values, square))
