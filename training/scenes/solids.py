# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines shapes that a ray can hit.

Coordinates are in metres: x to the right, y up, z into the scene; vectors are [3, n]. The
intersections are the textbook ones: quadrics are solved for the ray's parameter, boxes by the slab
method (Kay and Kajiya, "Ray tracing complex scenes", 1986).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from training.scenes.textures import Floats, Texture

_NEAR = 1e-3
MISS = np.float32(np.inf)


def turned(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Floats:
    """Return the rotation [3, 3] from the world to a local frame; the angles are in radians."""
    cos, sin = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_y = np.array([[cos[0], 0, sin[0]], [0, 1, 0], [-sin[0], 0, cos[0]]])
    about_x = np.array([[1, 0, 0], [0, cos[1], -sin[1]], [0, sin[1], cos[1]]])
    about_z = np.array([[cos[2], -sin[2], 0], [sin[2], cos[2], 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


@dataclass(frozen=True)
class Solid(ABC):
    """Something with a surface; ``centre`` [3] and ``frame`` [3, 3] place it in the world."""

    texture: Texture
    centre: Floats
    frame: Floats = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    #: strength of highlights, 0..1
    gloss: float = 0.0

    @property
    @abstractmethod
    def radius(self) -> float:
        """The radius of a ball around ``centre`` that contains the whole solid."""

    @property
    def has_inside(self) -> bool:
        """Whether rays can hit the surface from behind, where the normals must be turned round."""
        return False

    @abstractmethod
    def _hit(self, origin: Floats, ray: Floats) -> Floats:
        """Return the smallest t > 0 with origin + t * ray on the surface, in the local frame."""

    @abstractmethod
    def _normal(self, point: Floats) -> Floats:
        """Return outward normals of length 1 at points of the surface, in the local frame."""

    @abstractmethod
    def _place(self, point: Floats) -> tuple[Floats, Floats]:
        """Return two coordinates on the surface, in metres, for points in the local frame."""

    def hit(self, origin: Floats, ray: Floats) -> Floats:
        """Return the parameter t of each ray's first hit, infinite for a miss: [n] float32."""
        return self._hit(self._local(origin), self.frame @ ray)

    def normal(self, point: Floats) -> Floats:
        """Return outward normals of length 1, [3, n]."""
        return self.frame.T @ self._normal(self._local(point))

    def colours(self, point: Floats, footprint: Floats) -> Floats:
        """Return linear RGB [3, n] at points; ``footprint`` is a pixel's width there, in metres."""
        return self.texture.colours(*self._place(self._local(point)), footprint)

    def _local(self, point: Floats) -> Floats:
        return self.frame @ (point - self.centre[:, None])


def _first_positive(*candidates: Floats) -> Floats:
    return np.minimum.reduce([np.where(each > _NEAR, each, MISS) for each in candidates])


def _roots(a: Floats, b: Floats, c: Floats) -> tuple[Floats, Floats]:
    """Return both roots of a t^2 + 2 b t + c, or infinity where there are none."""
    square = b * b - a * c
    found = (square >= 0) & (np.abs(a) > 1e-12)
    root = np.sqrt(np.where(found, square, 0))
    divisor = np.where(found, a, 1)
    return np.where(found, (-b - root) / divisor, MISS), np.where(
        found, (-b + root) / divisor, MISS
    )


@dataclass(frozen=True)
class Ground(Solid):
    """The infinite plane through ``centre`` at right angles to the local y axis."""

    @property
    def radius(self) -> float:
        return float("inf")

    def _hit(self, origin: Floats, ray: Floats) -> Floats:
        down = np.where(np.abs(ray[1]) < 1e-9, np.float32(1e-9), ray[1])
        return _first_positive(-origin[1] / down)

    def _normal(self, point: Floats) -> Floats:
        return np.broadcast_to(np.array([[0], [1], [0]], np.float32), point.shape)

    def _place(self, point: Floats) -> tuple[Floats, Floats]:
        return point[0], point[2]


@dataclass(frozen=True)
class Ball(Solid):
    """A sphere, or an ellipsoid if ``stretch`` [3] is given."""

    size: float = 1.0
    stretch: Floats = field(default_factory=lambda: np.ones(3, np.float32))

    @property
    def radius(self) -> float:
        return self.size * float(self.stretch.max())

    def _hit(self, origin: Floats, ray: Floats) -> Floats:
        o, d = origin / self.stretch[:, None], ray / self.stretch[:, None]
        a, b = (d * d).sum(0), (o * d).sum(0)
        return _first_positive(*_roots(a, b, (o * o).sum(0) - self.size**2))

    def _normal(self, point: Floats) -> Floats:
        across = point / (self.stretch**2)[:, None]
        return across / np.linalg.norm(across, axis=0)

    def _place(self, point: Floats) -> tuple[Floats, Floats]:
        return np.arctan2(point[0], point[2]) * self.size, point[1]


@dataclass(frozen=True)
class Post(Solid):
    """A cylinder along the local y axis with flat ends, or a capsule if ``round_ends``.

    It is a tube without ends if ``open_ends``.
    """

    size: float = 0.3
    half_height: float = 1.0
    round_ends: bool = False
    open_ends: bool = False

    @property
    def has_inside(self) -> bool:
        return self.open_ends

    @property
    def radius(self) -> float:
        cap = self.size if self.round_ends else 0.0
        return float(np.hypot(self.half_height + cap, self.size))

    def _hit(self, origin: Floats, ray: Floats) -> Floats:
        a = ray[0] ** 2 + ray[2] ** 2
        b = origin[0] * ray[0] + origin[2] * ray[2]
        c = origin[0] ** 2 + origin[2] ** 2 - self.size**2
        candidates = []
        for t in _roots(a, b, c):
            y = origin[1] + np.where(np.isfinite(t), t, 0) * ray[1]
            candidates.append(np.where(np.abs(y) <= self.half_height, t, MISS))
        for end in () if self.open_ends else (-self.half_height, self.half_height):
            candidates += self._hit_end(origin, ray, end)
        return _first_positive(*candidates)

    def _hit_end(self, origin: Floats, ray: Floats, end: float) -> list[Floats]:
        if self.round_ends:
            moved = origin - np.array([[0], [end], [0]], np.float32)
            a, b = (ray * ray).sum(0), (moved * ray).sum(0)
            return list(_roots(a, b, (moved * moved).sum(0) - self.size**2))
        t = (end - origin[1]) / np.where(np.abs(ray[1]) < 1e-9, np.float32(1e-9), ray[1])
        x, z = origin[0] + t * ray[0], origin[2] + t * ray[2]
        return [np.where(x * x + z * z <= self.size**2, t, MISS)]

    def _normal(self, point: Floats) -> Floats:
        axis = np.clip(point[1], -self.half_height, self.half_height)
        across = point - np.stack([np.zeros_like(axis), axis, np.zeros_like(axis)])
        if not self.round_ends and not self.open_ends:
            on_end = np.abs(point[1]) > self.half_height - 1e-3
            upward = np.stack([np.zeros_like(axis), np.sign(axis), np.zeros_like(axis)])
            across = np.where(on_end, upward, across)
        return across / np.maximum(np.linalg.norm(across, axis=0), 1e-6)

    def _place(self, point: Floats) -> tuple[Floats, Floats]:
        return np.arctan2(point[0], point[2]) * self.size, point[1]


@dataclass(frozen=True)
class Box(Solid):
    """A cuboid, with half the length of its edges in ``half`` [3]; if ``hollow``, it is a room."""

    half: Floats = field(default_factory=lambda: np.full(3, 0.5, np.float32))
    hollow: bool = False

    @property
    def radius(self) -> float:
        return float("inf") if self.hollow else float(np.linalg.norm(self.half))

    def _hit(self, origin: Floats, ray: Floats) -> Floats:
        safe = np.where(np.abs(ray) < 1e-9, np.float32(1e-9), ray)
        one, other = (-self.half[:, None] - origin) / safe, (self.half[:, None] - origin) / safe
        enter, leave = np.minimum(one, other).max(0), np.maximum(one, other).min(0)
        if self.hollow:
            return np.where((enter <= leave) & (leave > _NEAR), leave, MISS)
        return np.where(enter <= leave, _first_positive(enter, leave), MISS)

    def _normal(self, point: Floats) -> Floats:
        side = self._side(point)
        outward = np.sign(point) * (np.arange(3)[:, None] == side)
        return (-outward if self.hollow else outward).astype(np.float32)

    def _place(self, point: Floats) -> tuple[Floats, Floats]:
        side = self._side(point)
        u = np.where(side == 0, point[2], point[0])
        return u, np.where(side == 1, point[2], point[1])

    def _side(self, point: Floats) -> Floats:
        return np.asarray((np.abs(point) / self.half[:, None]).argmax(0))
