# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Composes scenes as people photograph them: a subject before a distant or blurred background.

In these scenes a lower pixel is often not the nearer one: portraits, animals, flowers, tables seen
from above, machines before full shelves, towers seen from below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training.scenes import subjects, things
from training.scenes.compose import Camera, Scene, empty_room, lamp, sky_of, sun
from training.scenes.solids import Ball, Box, Ground, Solid, turned
from training.scenes.textures import Floats

_SEED = 20261128
Rng = np.random.Generator


def closeup(seed: int) -> Scene:
    """Return the scene of a seed, which is always the same."""
    rng = np.random.default_rng([seed, _SEED])
    kinds, shares = zip(*_KINDS, strict=True)
    make = kinds[int(rng.choice(len(kinds), p=np.array(shares) / sum(shares)))]
    scene: Scene = make(rng)
    return scene


def _camera(rng: Rng, height: float, pitch: float, spread: float, focal: float) -> Camera:
    return Camera(
        height=height,
        focal=float(focal * np.exp(rng.normal(0, 0.25))),
        pitch=float(rng.normal(pitch, spread)),
        roll=float(rng.normal(0, 0.06)),
    )


def _focused(rng: Rng, camera: Camera, focus: float, share: float) -> Camera:
    """Open the lens of a camera, with the probability ``share``."""
    if rng.random() > share:
        return camera
    return replace(
        camera, focus=focus, blur=float(np.exp(rng.uniform(np.log(0.004), np.log(0.05))))
    )


def _aim(camera: Camera, across: float, up: float, distance: float) -> Floats:
    """Return the place at a distance and at shares of the picture's longer edge off its middle."""
    side = np.array([across, up, 1.0]) * distance
    side[:2] /= camera.focal
    down = turned(camera.yaw, -camera.pitch, camera.roll)
    return np.array([camera.x, camera.height, camera.z]) + down.T @ side


def _backdrop(rng: Rng, distance: float) -> list[Solid]:
    """Make what is behind a subject: a wall with things before it, plants, or a street."""
    kind = rng.random()
    solids: list[Solid] = []
    if kind < 0.45:  # a wall, a curtain or a studio's paper
        half = np.array([distance * 3 + 1, distance * 3 + 1, 0.05], np.float32)
        frame = turned(float(rng.normal(0, 0.25)))
        look = subjects.look(rng, 0.6)
        if rng.random() < 0.5:
            look = subjects.plain(things.colour(rng), float(rng.uniform(0, 0.6)))
        solids.append(Box(look, np.array([0, 1, distance], np.float32), frame, half=half))
        for _ in range(int(rng.integers(0, 4))):  # flags, pictures, furniture
            half = (rng.uniform([0.1, 0.2, 0.02], [0.5, 1.2, 0.15])).astype(np.float32)
            x, y = rng.uniform(-0.7, 0.7) * distance, rng.uniform(0.3, 1.8)
            z = distance * float(rng.uniform(0.6, 0.95))
            frame = turned(float(rng.normal(0, 0.3)))
            place = np.array([x, y, z], np.float32)
            solids.append(Box(subjects.look(rng, 0.3), place, frame, half=half))
        if rng.random() < 0.25:
            solids += subjects.full_shelf(rng, float(rng.normal(0, 0.5)), distance * 0.9)
    elif kind < 0.75:  # plants
        for _ in range(int(rng.integers(2, 7))):
            z = distance * float(rng.uniform(0.6, 3))
            x, y = float(rng.normal(0, 0.4)) * z, float(rng.uniform(-0.2, 1.6))
            solids += subjects.foliage(rng, x, y, z, 0.35 * z)
        if rng.random() < 0.6:
            half = np.full(3, 60, np.float32) * np.array([1, 1, 0.01], np.float32)
            place = np.array([0, 1, distance * 3.5], np.float32)
            solids.append(Box(subjects.green(rng), place, half=half))
    else:  # a street, a park
        for _ in range(int(rng.integers(4, 10))):
            make, near = things.OUTSIDE[int(rng.integers(len(things.OUTSIDE)))]
            z = max(near, distance) * float(np.exp(rng.uniform(0, 2)))
            solids += make(rng, float(rng.uniform(-0.8, 0.8)) * z, z)
    return solids


def _ground(rng: Rng, size: float) -> Solid:
    return Ground(subjects.look(rng, size), np.zeros(3, np.float32))


def _subject(rng: Rng, make: Callable[..., list[Solid]], distances: tuple[float, float]) -> Scene:
    """Compose a subject, or a few, before a backdrop."""
    height = float(rng.uniform(0.3, 1.7))
    camera = _camera(rng, height, 0.08, 0.25, 1.1)
    distance = float(np.exp(rng.uniform(*np.log(distances))))
    place = _aim(camera, float(rng.normal(0, 0.12)), float(rng.normal(0.05, 0.08)), distance)
    solids: list[Solid] = [_ground(rng, 0.5)]
    solids += make(rng, float(place[0]), float(max(place[1], 0.05)), float(place[2]))
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.4 else 0):
        further = distance * float(rng.uniform(0.8, 2.5))
        place = _aim(camera, float(rng.normal(0, 0.3)), float(rng.normal(0, 0.15)), further)
        solids += make(rng, float(place[0]), float(max(place[1], 0.05)), float(place[2]))
    behind = distance * float(np.exp(rng.uniform(np.log(1.3), np.log(8))))
    solids += _backdrop(rng, behind + 0.1)
    return Scene(_focused(rng, camera, distance, 0.75), tuple(solids), sun(rng), sky_of(rng))


def _portrait(rng: Rng) -> Scene:
    """Compose a person from the hips or the chest upwards."""
    height = float(rng.uniform(1.2, 1.75))
    camera = _camera(rng, height, 0.0, 0.08, 1.1)
    distance = float(np.exp(rng.uniform(np.log(0.5), np.log(2.2))))
    place = _aim(camera, float(rng.normal(0, 0.1)), float(rng.uniform(0.0, 0.25)), distance)
    solids: list[Solid] = [_ground(rng, 0.5)]
    solids += subjects.bust(rng, float(place[0]), float(place[1]), float(place[2]))
    if rng.random() < 0.35:  # something that is held before the body
        nearer = distance * float(rng.uniform(0.75, 0.92))
        held = _aim(camera, float(rng.normal(0, 0.2)), float(rng.uniform(-0.35, -0.2)), nearer)
        solids += _round(rng, held)
    if rng.random() < 0.3:
        further = distance * float(rng.uniform(1.1, 2.5))
        place = _aim(camera, float(rng.normal(0, 0.35)), float(rng.uniform(0, 0.2)), further)
        solids += subjects.bust(rng, float(place[0]), float(place[1]), float(place[2]))
    solids += _backdrop(rng, distance * float(rng.uniform(1.3, 5)) + 0.3)
    return Scene(_focused(rng, camera, distance, 0.5), tuple(solids), sun(rng), sky_of(rng))


def _round(rng: Rng, place: Floats) -> list[Solid]:
    size = float(rng.uniform(0.06, 0.18))
    return [Ball(subjects.look(rng, 0.1), place.astype(np.float32), gloss=0.5, size=size)]


def _creature(rng: Rng) -> Scene:
    return _subject(rng, subjects.animal, (0.3, 2.5))


def _bloom(rng: Rng) -> Scene:
    return _subject(rng, subjects.flower, (0.18, 0.9))


def _tabletop(rng: Rng) -> Scene:
    """Compose tableware on a table, seen from above."""
    pitch = float(rng.uniform(0.35, 1.35))
    distance = float(np.exp(rng.uniform(np.log(0.22), np.log(0.9))))
    camera = _camera(rng, distance * np.sin(pitch) + 0.02, pitch, 0.05, 1.0)
    camera = replace(camera, roll=float(rng.normal(0, 0.2)))
    middle = distance * np.cos(pitch)
    solids: list[Solid] = [_ground(rng, 0.15)]
    for n in range(int(rng.integers(1, 6))):
        make = (subjects.cup, subjects.cup, subjects.dish, subjects.bottle, _small)[
            int(rng.integers(5))
        ]
        spread = distance * (0.1 if n == 0 else 0.4)
        solids += make(rng, float(rng.normal(0, spread)), float(middle + rng.normal(0, spread)))
    if rng.random() < 0.35:
        solids += _backdrop(rng, middle + distance * float(rng.uniform(0.8, 3)) + 0.2)
    return Scene(_focused(rng, camera, distance, 0.5), tuple(solids), sun(rng), sky_of(rng))


def _small(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a thing as in ``things``, but as small as fruit."""
    make = (things.ball, things.barrel, things.crate)[int(rng.integers(3))]
    share = float(rng.uniform(0.06, 0.2))
    parts = []
    for solid in make(rng, 0.0, 0.0):
        place = (solid.centre * share + [x, 0, z]).astype(np.float32)
        changes: dict[str, object] = {"centre": place}
        for name in ("half", "size", "half_height"):
            if hasattr(solid, name):
                changes[name] = getattr(solid, name) * share
        changes["texture"] = subjects.look(rng, 0.04)
        parts.append(replace(solid, **changes))  # type: ignore[arg-type]
    return parts


def _workshop(rng: Rng) -> Scene:
    """Compose a machine, or furniture, in a room before full shelves."""
    camera = _camera(rng, float(rng.uniform(0.6, 1.6)), 0.12, 0.1, 1.0)
    walls, floor = empty_room(rng)
    solids: list[Solid] = [walls, floor]
    back = float(walls.centre[2] + walls.half[2])
    distance = float(rng.uniform(1.3, min(3.0, back - 1.2)))
    solids += subjects.machine(rng, float(rng.normal(0, 0.3)), distance)
    for _ in range(int(rng.integers(0, 3))):
        make = (things.table, things.chair, things.crate, things.barrel, things.person)[
            int(rng.integers(5))
        ]
        z = float(rng.uniform(distance, max(back - 0.5, distance + 0.1)))
        solids += make(rng, float(rng.uniform(-0.5, 0.5)) * z / camera.focal, z)
    x, z = float(rng.uniform(-3, -0.5)), float(rng.uniform(distance + 0.6, back - 0.3))
    for _ in range(int(rng.integers(1, 5))):
        solids += subjects.full_shelf(rng, x, z)
        x += float(rng.uniform(1.0, 2.8))
    light = lamp(rng, walls.centre, walls.half)
    return Scene(_focused(rng, camera, distance, 0.2), tuple(solids), light, sky_of(rng))


def _tall(rng: Rng) -> Scene:
    """Compose towers seen from below or from a hill, with plants or masts close to the camera."""
    camera = _camera(rng, float(rng.uniform(1, 6)), -0.12, 0.12, 0.9)
    solids: list[Solid] = [_ground(rng, 2.0)]
    for _ in range(int(rng.integers(1, 4))):
        z = float(np.exp(rng.uniform(np.log(12), np.log(60))))
        solids += subjects.tower(rng, float(rng.uniform(-0.5, 0.5)) * z / camera.focal, z)
    for _ in range(int(rng.integers(0, 4))):
        z = float(rng.uniform(2.5, 9))
        x, y = float(rng.uniform(-0.6, 0.6)) * z / camera.focal, float(rng.uniform(0, 2.5))
        if rng.random() < 0.7:
            solids += subjects.foliage(rng, x, y, z, 0.25 * z)
        else:
            solids += subjects.tower(rng, x, z)
    for _ in range(int(rng.integers(0, 4))):
        make, near = things.OUTSIDE[int(rng.integers(len(things.OUTSIDE)))]
        z = near * float(np.exp(rng.uniform(0.3, 2.5)))
        solids += make(rng, float(rng.uniform(-0.6, 0.6)) * z / camera.focal, z)
    return Scene(camera, tuple(solids), sun(rng), sky_of(rng))


_KINDS: tuple[tuple[Callable[[Rng], Scene], float], ...] = (
    (_portrait, 0.2), (_creature, 0.16), (_bloom, 0.14), (_tabletop, 0.18), (_workshop, 0.2),
    (_tall, 0.12),
)  # fmt: skip
