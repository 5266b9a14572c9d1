# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A small, slow and exact renderer of splats and of displaced meshes, and true views to compare.

It follows Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.rendering.splats import Splats
from training.scenes.compose import Scene
from training.scenes.render import camera_axes, camera_place

Floats = NDArray[Any]

#: variance, in pixels squared, that renderers add to every footprint
_LOW_PASS = 0.3
_FAINTEST = 1 / 255
_MOST_OPAQUE = 0.99
#: from world coordinates (y up) to those of OpenCV's camera (y down)
_DOWN = np.diag([1.0, -1.0, 1.0])


@dataclass(frozen=True)
class View:
    """A camera in OpenCV's coordinates of the photo's camera: ``rotation @ point + offset``."""

    width: int
    height: int
    focal: float
    rotation: Floats  # [3, 3]
    offset: Floats  # [3]

    @classmethod
    def front(cls, width: int, height: int, focal: float) -> View:
        return cls(width, height, focal, np.eye(3), np.zeros(3))

    def project(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Columns, rows and depths of points [n, 3]; the middle of the first pixel is (0, 0)."""
        x, y, z = (points @ self.rotation.T + self.offset).T
        safe = np.where(z > 1e-6, z, np.inf)
        column = self.focal * x / safe + self.width / 2 - 0.5
        return column, self.focal * y / safe + self.height / 2 - 0.5, z


def aside(scene: Scene, degrees: float, distance: float, front: View) -> tuple[Scene, View]:
    """A scene seen from beside the camera, which goes round a point at some distance before it."""
    camera, angle = scene.camera, np.radians(degrees)
    ahead = camera_axes(camera)[2]
    pivot = camera_place(camera) + distance * ahead
    cosine, sine = np.cos(angle), np.sin(angle)
    x, z = -distance * ahead[0], -distance * ahead[2]
    moved = replace(
        camera,
        yaw=camera.yaw + angle,
        x=float(pivot[0] + cosine * x - sine * z),
        z=float(pivot[2] + sine * x + cosine * z),
    )
    axes = _DOWN @ camera_axes(moved)
    rotation = axes @ camera_axes(camera).T @ _DOWN
    offset = axes @ (camera_place(camera) - camera_place(moved))
    return replace(scene, camera=moved), replace(front, rotation=rotation, offset=offset)


def draw(splats: Splats, view: View, compensated: bool = False) -> tuple[Floats, Floats]:
    """The picture [h, w, 3], 0 to 1, and its coverage [h, w].

    ``compensated`` makes splats fainter by as much as the low-pass filter makes them larger, as
    Spark does.
    """
    column, row, depth = view.project(splats.centres)
    seen = np.flatnonzero(depth > 1e-3)
    seen = seen[np.argsort(depth[seen])]
    column, row, depth = column[seen], row[seen], depth[seen]
    jacobian = np.zeros((len(seen), 2, 3))
    jacobian[:, 0, 0] = jacobian[:, 1, 1] = view.focal / depth
    jacobian[:, 0, 2] = -(column - view.width / 2 + 0.5) / depth
    jacobian[:, 1, 2] = -(row - view.height / 2 + 0.5) / depth
    axes = matrices(splats.rotations[seen]) * splats.deviations[seen][:, None, :]
    flat = jacobian @ view.rotation @ axes
    covariance = flat @ flat.transpose(0, 2, 1)
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    before = np.maximum(a * c - b * b, 0)
    a, c = a + _LOW_PASS, c + _LOW_PASS
    area = a * c - b * b
    opacity = splats.opacity * (np.sqrt(before / area) if compensated else np.ones_like(area))
    reach = np.minimum(np.ceil(3 * np.sqrt(np.maximum(a, c))), 40).astype(int)
    visible = (column > -reach) & (column < view.width + reach)
    visible &= (row > -reach) & (row < view.height + reach)
    keys, alphas = [], []
    for radius in np.unique(reach[visible]):
        few = np.flatnonzero(visible & (reach == radius))[:, None]
        offsets = np.arange(-radius, radius + 1)
        dx, dy = (part.reshape(1, -1) for part in np.meshgrid(offsets, offsets))
        x, y = np.rint(column[few]).astype(int) + dx, np.rint(row[few]).astype(int) + dy
        ex, ey = x - column[few], y - row[few]
        power = (c[few] * ex * ex - 2 * b[few] * ex * ey + a[few] * ey * ey) / area[few]
        alpha = np.minimum(_MOST_OPAQUE, opacity[few] * np.exp(-power / 2))
        kept = (alpha > _FAINTEST) & (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height)
        keys.append((((y * view.width + x) << 32) + few)[kept])
        alphas.append(alpha[kept])
    return _blended(np.concatenate(keys), np.concatenate(alphas), splats.colours[seen], view)


def _blended(
    keys: NDArray[np.int64], alphas: Floats, colours: Floats, view: View
) -> tuple[Floats, Floats]:
    """Blend front to back; a key is a pixel's number << 32 + the rank in depth."""
    order = np.argsort(keys)
    pixel, splat, alpha = keys[order] >> 32, keys[order] & 0xFFFFFFFF, alphas[order]
    passed = np.log1p(-alpha)
    total = np.cumsum(passed) - passed
    first = np.r_[True, pixel[1:] != pixel[:-1]] if len(pixel) else np.zeros(0, bool)
    weight = alpha * np.exp(total - total[first][np.cumsum(first) - 1])
    size = view.width * view.height
    bands = [np.bincount(pixel, weight * colours[splat, band], size) for band in range(3)]
    shape = view.height, view.width
    return np.stack(bands, 1).reshape(*shape, 3), np.bincount(pixel, weight, size).reshape(shape)


def draw_mesh(
    photo: NDArray[np.uint8], disparity: Floats, front: View, view: View, finer: int = 1
) -> Floats:
    """What a plain displaced mesh shows: all neighbouring pixels are connected. [h, w, 3].

    The mesh is sampled so densely that the samples leave no gaps, with ``finer`` squared for a
    pixel.
    """
    large = replace(
        view, width=finer * view.width, height=finer * view.height, focal=finer * view.focal
    )
    height, width = disparity.shape
    points = lifted(disparity, front)
    column, row, _ = large.project(points.reshape(-1, 3))
    corners = np.stack([column, row], -1).reshape(height, width, 2)
    across = np.abs(np.diff(corners, axis=1)).max(-1)
    below = np.abs(np.diff(corners, axis=0)).max(-1)
    columns = _steps(np.maximum(across[:-1], across[1:]))
    rows = _steps(np.maximum(below[:, :-1], below[:, 1:]))
    values = np.concatenate([points, photo / 255], -1).astype(np.float32)
    samples = []
    for wide, high in np.unique(np.stack([columns, rows], -1).reshape(-1, 2), axis=0):
        y, x = np.nonzero((columns == wide) & (rows == high))
        u, v = np.meshgrid((np.arange(wide) + 0.5) / wide, (np.arange(high) + 0.5) / high)
        u, v = (part.astype(np.float32).reshape(1, -1, 1) for part in (u, v))
        upper = values[y, x][:, None] * (1 - u) + values[y, x + 1][:, None] * u
        lower = values[y + 1, x][:, None] * (1 - u) + values[y + 1, x + 1][:, None] * u
        samples.append((upper * (1 - v) + lower * v).reshape(-1, 6))
    every = np.concatenate(samples)
    column, row, depth = large.project(every[:, :3])
    column, row = np.rint(column), np.rint(row)
    inside = (depth > 0) & (column >= 0) & (column < large.width) & (row >= 0)
    chosen = np.flatnonzero(inside & (row < large.height))
    chosen = chosen[np.argsort(-depth[chosen])]  # the nearest is written last
    picture = np.zeros((large.height, large.width, 3))
    picture[row[chosen].astype(int), column[chosen].astype(int)] = every[chosen, 3:]
    return cast(Floats, picture.reshape(view.height, finer, view.width, finer, 3).mean((1, 3)))


def _steps(lengths: Floats) -> NDArray[np.int64]:
    """How many samples lines of some lengths need, rounded to powers of 2."""
    powers = np.ceil(np.log2(np.clip(lengths * 1.5, 1, 256))).astype(np.int64)
    return np.left_shift(np.int64(1), powers)


def lifted(disparity: Floats, view: View) -> Floats:
    """The points [h, w, 3] that the pixels of a view show, in the coordinates of the photo."""
    depth = 1 / disparity
    x = (np.arange(view.width) + 0.5 - view.width / 2) / view.focal
    y = (np.arange(view.height) + 0.5 - view.height / 2) / view.focal
    local = np.stack([x * depth, y[:, None] * depth, depth], -1)
    return (local - view.offset) @ view.rotation


def in_photo(disparity: Floats, view: View, front: View) -> NDArray[np.bool_]:
    """Which pixels [h, w] of a view show points that lie within the frame of the photo."""
    column, row, depth = front.project(lifted(disparity, view).reshape(-1, 3))
    inside = (depth > 0) & (column > 0.5) & (column < front.width - 1.5)
    inside &= (row > 0.5) & (row < front.height - 1.5)
    return inside.reshape(disparity.shape)


def matrices(quaternions: Floats) -> Floats:
    """Rotation matrices [n, 3, 3] of unit quaternions w, x, y, z."""
    w, x, y, z = quaternions.T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        1,
    )


def psnr(one: Floats, other: Floats) -> float:
    return float(-10 * np.log10(np.mean((np.asarray(one) - other) ** 2)))
