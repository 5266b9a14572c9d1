# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Composes a random scene: the camera, the things that it sees, and the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.scenes import things
from training.scenes.solids import Ball, Box, Ground, Solid, turned
from training.scenes.textures import Floats

_INDOORS = 0.4
_STILL_LIFES = 0.2


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, which looks along z unless it is turned.

    ``compose`` places it above the origin.
    """

    height: float  # metres
    focal: float  # in units of the longer edge of the picture
    pitch: float  # radians; positive looks down
    roll: float  # radians
    yaw: float = 0.0  # radians; positive looks to the left
    x: float = 0.0  # metres
    z: float = 0.0  # metres
    #: How blurred infinitely far things are, as a share of the picture's longer edge; things at the
    #: distance ``focus`` in metres are sharp. Without blur the camera has a pinhole.
    blur: float = 0.0
    focus: float = 1.0


@dataclass(frozen=True)
class Light:
    """One lamp, or the sun if it is very far away."""

    place: Floats  # [3] metres
    colour: Floats  # linear RGB [3]
    ambient: Floats  # linear RGB [3] of the light that comes from everywhere


@dataclass(frozen=True)
class Sky:
    """The sky, which is seen wherever a ray hits nothing; it is infinitely far away."""

    zenith: Floats  # linear RGB [3]
    horizon: Floats
    cloudiness: float  # 0..1
    offset: float
    haze: float  # metres over which haze takes 63 % of a thing's colour


@dataclass(frozen=True)
class Scene:
    """Holds everything that ``render`` needs."""

    camera: Camera
    solids: tuple[Solid, ...]
    light: Light
    sky: Sky


def compose(rng: np.random.Generator) -> Scene:
    """Compose a random scene outdoors, in a room, or of a few close things."""
    kind = rng.random()
    if kind < _INDOORS:
        return _room(rng)
    return _still_life(rng) if kind < _INDOORS + _STILL_LIFES else _outdoors(rng)


def _camera(rng: np.random.Generator, low: float, high: float, pitch: float) -> Camera:
    return Camera(
        height=float(rng.uniform(low, high)),
        focal=float(np.exp(rng.uniform(np.log(0.55), np.log(1.6)))),
        pitch=float(rng.normal(pitch, 0.12)),
        roll=float(rng.normal(0, 0.03)),
    )


def _outdoors(rng: np.random.Generator) -> Scene:
    camera = _camera(rng, 0.6, 3.0, 0.05)
    size = float(rng.uniform(0.5, 3))
    ground = Ground(
        things.texture(rng, size, ("clouds", "gravel", "checker", "plain", "stripes", "bricks")),
        np.zeros(3, np.float32),
    )
    solids: list[Solid] = [ground]
    for _ in range(int(rng.integers(4, 15))):
        make, near = _some(rng, things.OUTSIDE)
        solids += make(rng, *_place(rng, camera, near, 40))
    for _ in range(int(rng.integers(0, 4))):  # these are hills behind everything else
        radius, x = float(rng.uniform(40, 150)), float(rng.uniform(-150, 150))
        stretch = np.array([1.5, rng.uniform(0.1, 0.4), 1], np.float32)
        look = things.texture(rng, 8, ("clouds", "gravel"))
        centre = np.array([x, 0, radius + rng.uniform(40, 150)], np.float32)
        solids.append(Ball(look, centre, size=radius, stretch=stretch))
    return Scene(camera, tuple(solids), sun(rng), sky_of(rng))


def _room(rng: np.random.Generator) -> Scene:
    camera = _camera(rng, 0.7, 2.0, 0.1)
    walls, floor = empty_room(rng)
    centre, half = walls.centre, walls.half
    end = float(centre[2] + half[2])
    solids: list[Solid] = [walls, floor]
    for _ in range(int(rng.integers(3, 10))):
        make, near = _some(rng, things.INSIDE)
        x, z = _place(rng, camera, near, max(near, end - 0.3))
        if abs(x - centre[0]) < half[0] - 0.2:
            solids += make(rng, x, z)
    if rng.random() < 0.7:  # this is a cupboard at the far wall
        x = float(centre[0] + rng.uniform(-0.7, 0.7) * half[0])
        solids += things.shelf(rng, x, end - 0.4)
    return Scene(camera, tuple(solids), lamp(rng, centre, half), sky_of(rng))


def empty_room(rng: np.random.Generator) -> tuple[Box, Ground]:
    """Return the walls and the floor of a room around the camera."""
    half = np.array([rng.uniform(1.8, 5), rng.uniform(1.2, 1.8), rng.uniform(2.5, 6)], np.float32)
    back = float(rng.uniform(0.3, 1.0))  # metres from the camera to the wall behind it
    x, floor_to_middle = float(rng.uniform(-0.6, 0.6)) * half[0], half[1]
    centre = np.array([x, floor_to_middle, half[2] - back], np.float32)
    look = things.texture(rng, 0.8, ("plain", "plain", "clouds", "stripes", "bricks", "windows"))
    walls = Box(look, centre, turned(float(rng.normal(0, 0.3))), half=half, hollow=True)
    floor_look = things.texture(rng, 0.5, ("planks", "checker", "plain", "clouds", "gravel"))
    return walls, Ground(floor_look, np.array([0, 0.005, 0], np.float32))


def lamp(rng: np.random.Generator, centre: Floats, half: Floats) -> Light:
    """Return a lamp below the ceiling of a room."""
    place = centre + half * np.array([*rng.uniform(-0.7, 0.7, 1), 0.85, rng.uniform(-0.7, 0.7)])
    warm = np.array([1, rng.uniform(0.8, 1), rng.uniform(0.55, 1)], np.float32)
    ambient = warm * rng.uniform(0.15, 0.5)
    return Light(place.astype(np.float32), warm * rng.uniform(0.5, 1.2), ambient)


def _still_life(rng: np.random.Generator) -> Scene:
    """Compose close things on a table or the floor, seen from above, often before a wall."""
    camera = _camera(rng, 0.5, 1.4, 0.35)
    top = things.texture(rng, 0.25, ("planks", "plain", "clouds", "checker", "stripes"))
    solids: list[Solid] = [Ground(top, np.zeros(3, np.float32))]
    for _ in range(int(rng.integers(2, 9))):
        make, near = _some(rng, things.CLOSE)
        solids += make(rng, *_place(rng, camera, near, 3.5))
    if rng.random() < 0.7:
        solids += things.wall(rng, float(rng.uniform(-1, 1)), float(rng.uniform(3, 8)))
    return Scene(camera, tuple(solids), sun(rng), sky_of(rng))


def _some(
    rng: np.random.Generator, makers: tuple[tuple[things.Maker, float], ...]
) -> tuple[things.Maker, float]:
    return makers[int(rng.integers(len(makers)))]


def _place(
    rng: np.random.Generator, camera: Camera, near: float, far: float
) -> tuple[float, float]:
    """Return a random place x, z within the view.

    The logarithm of z is uniform, so that near places are as likely as far ones.
    """
    z = float(np.exp(rng.uniform(np.log(near), np.log(far))))
    return float(rng.uniform(-0.55, 0.55)) * z / camera.focal, z


def sun(rng: np.random.Generator) -> Light:
    """Return the sun, behind clouds or not."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 1.4)
    direction = np.array(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ]
    )
    overcast = rng.random() < 0.3
    warm = np.array([1, rng.uniform(0.85, 1), rng.uniform(0.65, 1)])
    sun = warm * (rng.uniform(0, 0.3) if overcast else rng.uniform(0.6, 1.3))
    ambient = np.array([0.8, 0.9, 1]) * (
        rng.uniform(0.5, 0.9) if overcast else rng.uniform(0.12, 0.4)
    )
    return Light(
        (direction * 1e4).astype(np.float32), sun.astype(np.float32), ambient.astype(np.float32)
    )


def sky_of(rng: np.random.Generator) -> Sky:
    """Return a blue or grey sky, or one at dusk."""
    kind = rng.random()
    if kind < 0.6:  # blue sky
        zenith, horizon = np.array([0.1, 0.25, 0.65]), np.array([0.55, 0.7, 0.9])
    elif kind < 0.85:  # grey sky
        zenith, horizon = np.full(3, 0.55), np.full(3, 0.8)
    else:  # dusk
        zenith, horizon = np.array([0.1, 0.12, 0.3]), np.array([0.9, 0.5, 0.25])
    shift = rng.uniform(0.7, 1.3)
    return Sky(
        (zenith * shift).astype(np.float32),
        (horizon * shift).astype(np.float32),
        float(rng.uniform(0, 1)),
        float(rng.uniform(0, 50)),
        float(np.exp(rng.uniform(np.log(60), np.log(2000)))),
    )
