# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes the things in a scene from one or more solids.

The things stand on the ground, y = 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.scenes.solids import Ball, Box, Post, Solid, turned
from training.scenes.textures import PATTERNS, Floats, Texture

Rng = np.random.Generator
#: Makes the solids of a thing at the place x, z, in metres.
Maker = Callable[[Rng, float, float], list[Solid]]


def colour(rng: Rng, low: float = 0.03, high: float = 0.9) -> Floats:
    """Return a random colour, linear RGB [3]; most colours are dull and rather dark."""
    grey = low + (high - low) * rng.random() ** 1.7
    strength = rng.beta(1.2, 1.6)
    mixed = grey * (1 - strength) + strength * rng.uniform(low, high, 3)
    return mixed.astype(np.float32)


def texture(rng: Rng, size: float, patterns: tuple[str, ...] = tuple(PATTERNS)) -> Texture:
    """Return a texture with one of these patterns and features of about ``size`` metres."""
    first = colour(rng)
    second = colour(rng) if rng.random() < 0.5 else np.clip(first * rng.uniform(0.4, 1.8), 0, 1)
    return Texture(
        pattern=str(rng.choice(patterns)),
        first=first,
        second=second.astype(np.float32),
        size=size * float(rng.uniform(0.6, 1.6)),
        dirt=float(rng.uniform(0, 0.6)),
        offset=float(rng.uniform(0, 50)),
    )


def _at(x: float, y: float, z: float) -> Floats:
    return np.array([x, y, z], np.float32)


def _gloss(rng: Rng) -> float:
    return float(rng.uniform(0.2, 0.8)) if rng.random() < 0.25 else 0.0


def crate(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a box, sometimes with another box on top."""
    size = float(rng.uniform(0.25, 1.2))
    half = (size * rng.uniform(0.3, 0.8, 3)).astype(np.float32)
    frame = turned(float(rng.uniform(0, np.pi)))
    parts: list[Solid] = [
        Box(texture(rng, size / 2), _at(x, half[1], z), frame, _gloss(rng), half=half)
    ]
    if rng.random() < 0.3:
        upper = (half * rng.uniform(0.4, 0.9, 3)).astype(np.float32)
        place = _at(x, 2 * half[1] + upper[1], z)
        frame = turned(float(rng.uniform(0, np.pi)))
        parts.append(Box(texture(rng, size / 3), place, frame, half=upper))
    return parts


def ball(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a ball on the ground."""
    size = float(rng.uniform(0.1, 0.7))
    return [Ball(texture(rng, size), _at(x, size, z), gloss=_gloss(rng), size=size)]


def barrel(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a cylinder, upright or lying on its side."""
    size, half = float(rng.uniform(0.1, 0.6)), float(rng.uniform(0.2, 0.8))
    lying = rng.random() < 0.3
    frame = turned(float(rng.uniform(0, np.pi)), np.pi / 2 if lying else 0.0)
    place = _at(x, size if lying else half, z)
    return [Post(texture(rng, size), place, frame, _gloss(rng), size=size, half_height=half)]


def person(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a person of 1.2 to 1.9 m with legs, a body, arms and a head."""
    tall = float(rng.uniform(1.2, 1.9))
    frame = turned(float(rng.uniform(0, 2 * np.pi)))
    side = frame[0] * 0.09 * tall
    skin = Texture("plain", colour(rng, 0.1, 0.7), colour(rng), 0.1, 0.2, 0.0)
    coat, trousers = texture(rng, 0.25), texture(rng, 0.3)
    parts: list[Solid] = []
    for sign in (-1, 1):
        stride = _at(0, 0, float(rng.uniform(-0.1, 0.1)))
        leg = _at(x, 0.23 * tall, z) + sign * side * 0.55 + stride
        parts.append(
            Post(
                trousers,
                leg,
                frame,
                size=0.05 * tall,
                half_height=0.2 * tall,
                round_ends=True,
            )
        )
        arm = _at(x, 0.62 * tall, z) + sign * side * 1.45
        lean = turned(0, float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.3, 0.3)))
        parts.append(
            Post(
                coat, arm, lean @ frame, size=0.035 * tall, half_height=0.16 * tall, round_ends=True
            )
        )
    parts.append(
        Post(
            coat,
            _at(x, 0.63 * tall, z),
            frame,
            size=0.11 * tall,
            half_height=0.1 * tall,
            round_ends=True,
        )
    )
    parts.append(Ball(skin, _at(x, 0.92 * tall, z), size=0.075 * tall))
    return parts


def tree(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a trunk and clumps of leaves."""
    tall = float(rng.uniform(1.5, 7))
    bark = Texture("gravel", colour(rng, 0.03, 0.2), colour(rng, 0.03, 0.3), 0.2, 0.5, 0.0)
    green = np.array([rng.uniform(0.02, 0.4), rng.uniform(0.1, 0.4), 0.03], np.float32)
    leaves = Texture("gravel", green, green * 0.3, tall / 25, 0.6, float(rng.uniform(0, 50)))
    trunk = Post(bark, _at(x, tall / 4, z), size=tall / 35, half_height=tall / 4)
    parts: list[Solid] = [trunk]
    for _ in range(int(rng.integers(3, 8))):
        off = rng.normal(0, tall / 9, 3)
        size = float(rng.uniform(tall / 10, tall / 5))
        stretch = rng.uniform(0.7, 1.2, 3).astype(np.float32)
        place = _at(x + off[0], max(size, tall * 0.68 + off[1]), z + off[2])
        parts.append(Ball(leaves, place, size=size, stretch=stretch))
    return parts


def bush(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make clumps of leaves without a trunk."""
    green = np.array([rng.uniform(0.02, 0.3), rng.uniform(0.08, 0.4), 0.04], np.float32)
    leaves = Texture("gravel", green, green * 0.3, 0.08, 0.6, float(rng.uniform(0, 50)))
    parts: list[Solid] = []
    for _ in range(int(rng.integers(1, 5))):
        size = float(rng.uniform(0.2, 0.8))
        place = _at(x + rng.normal(0, 0.4), size * 0.6, z + rng.normal(0, 0.4))
        parts.append(Ball(leaves, place, size=size))
    return parts


def house(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make walls with windows, and a roof."""
    half = np.array([rng.uniform(1.5, 6), rng.uniform(1.5, 8), rng.uniform(1.5, 6)], np.float32)
    frame = turned(float(rng.uniform(0, np.pi)))
    walls = texture(rng, float(rng.uniform(0.8, 2)), ("windows", "bricks", "plain", "planks"))
    parts: list[Solid] = [Box(walls, _at(x, half[1], z), frame, half=half)]
    if rng.random() < 0.6:
        edge = half[2] / np.sqrt(2)
        roof = Box(
            texture(rng, 0.5, ("stripes", "bricks", "plain")),
            _at(x, 2 * half[1], z),
            turned(0, np.pi / 4) @ frame,
            half=np.array([half[0], edge, edge], np.float32),
        )
        parts.append(roof)
    return parts


def wall(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a long wall or a hedge."""
    half = np.array([rng.uniform(1.5, 8), rng.uniform(0.3, 1.6), rng.uniform(0.05, 0.4)])
    frame = turned(float(rng.normal(0, 0.7)))
    look = texture(rng, 0.5, ("bricks", "planks", "gravel", "plain", "clouds", "stripes"))
    return [Box(look, _at(x, half[1], z), frame, half=half.astype(np.float32))]


def fence(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make posts with a rail."""
    look = texture(rng, 0.3, ("plain", "planks"))
    yaw, count = float(rng.normal(0, 0.8)), int(rng.integers(4, 9))
    frame, gap, tall = turned(yaw), float(rng.uniform(0.4, 1.2)), float(rng.uniform(0.6, 1.4))
    along = frame[0] * gap
    parts: list[Solid] = [
        Post(look, _at(x, tall / 2, z) + along * (n - count / 2), size=0.05, half_height=tall / 2)
        for n in range(count)
    ]
    rail = np.array([gap * count / 2, 0.04, 0.03], np.float32)
    parts.append(Box(look, _at(x, tall * 0.8, z) - along / 2, frame, half=rail))
    return parts


def table(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a table top, four legs, and things on the table."""
    wide, deep, tall = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.9)
    frame, look = turned(float(rng.uniform(0, np.pi))), texture(rng, 0.3, ("planks", "plain"))
    top = np.array([wide, 0.03, deep], np.float32)
    parts: list[Solid] = [Box(look, _at(x, tall, z), frame, _gloss(rng), half=top)]
    for corner in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        off = frame[0] * corner[0] * wide * 0.9 + frame[2] * corner[1] * deep * 0.9
        leg = np.array([0.03, tall / 2, 0.03], np.float32)
        parts.append(Box(look, _at(x, tall / 2, z) + off, frame, half=leg))
    for _ in range(int(rng.integers(0, 4))):
        off = frame[0] * rng.uniform(-0.8, 0.8) * wide + frame[2] * rng.uniform(-0.8, 0.8) * deep
        size = float(rng.uniform(0.05, 0.15))
        place = _at(x, tall + 0.03 + size, z) + off.astype(np.float32)
        if rng.random() < 0.5:
            parts.append(Ball(texture(rng, size), place, gloss=_gloss(rng), size=size))
        else:
            parts.append(Post(texture(rng, size), place, size=size * 0.6, half_height=size))
    return parts


def chair(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a seat with a back out of two boxes."""
    frame, look = turned(float(rng.uniform(0, 2 * np.pi))), texture(rng, 0.3)
    wide, seat = float(rng.uniform(0.22, 0.9)), float(rng.uniform(0.2, 0.3))
    base = np.array([wide, seat, 0.28], np.float32)
    back = np.array([wide, 0.5, 0.06], np.float32)
    return [
        Box(look, _at(x, seat, z), frame, half=base),
        Box(look, _at(x, 0.5, z) + frame[2] * 0.28, frame, half=back),
    ]


def shelf(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a cupboard."""
    half = np.array([rng.uniform(0.3, 0.9), rng.uniform(0.5, 1.1), rng.uniform(0.15, 0.3)])
    look = texture(rng, 0.4, ("planks", "windows", "plain", "stripes"))
    frame = turned(float(rng.choice([0, np.pi / 2])) + float(rng.normal(0, 0.05)))
    return [Box(look, _at(x, half[1], z), frame, _gloss(rng), half=half.astype(np.float32))]


def pole(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a lamp post."""
    tall = float(rng.uniform(2, 6))
    look = texture(rng, 0.5, ("plain", "stripes"))
    return [
        Post(look, _at(x, tall / 2, z), size=float(rng.uniform(0.03, 0.12)), half_height=tall / 2),
        Ball(look, _at(x, tall, z), size=float(rng.uniform(0.1, 0.25))),
    ]


def car(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a low box, a smaller box on it, and wheels."""
    frame = turned(float(rng.uniform(0, np.pi)))
    paint = Texture("plain", colour(rng), colour(rng), 1.0, 0.1, 0.0)
    glass = Texture("plain", colour(rng, 0.02, 0.2), colour(rng), 1.0, 0.0, 0.0)
    tyre = Texture("plain", colour(rng, 0.01, 0.05), colour(rng), 1.0, 0.0, 0.0)
    body, cabin = np.array([2.1, 0.32, 0.85], np.float32), np.array([1.1, 0.28, 0.75], np.float32)
    parts: list[Solid] = [
        Box(paint, _at(x, 0.62, z), frame, 0.6, half=body),
        Box(glass, _at(x, 1.2, z), frame, 0.6, half=cabin),
    ]
    for along, across in ((-1.3, -0.8), (-1.3, 0.8), (1.3, -0.8), (1.3, 0.8)):
        place = _at(x, 0.33, z) + frame[0] * along + frame[2] * across
        parts.append(Post(tyre, place, turned(0, np.pi / 2) @ frame, size=0.33, half_height=0.12))
    return parts


#: Each thing has a smallest distance in metres, because a large thing that is nearer would fill the
#: picture.
OUTSIDE: tuple[tuple[Maker, float], ...] = (
    (person, 1.4), (person, 1.4), (person, 2), (tree, 4), (tree, 7), (bush, 2), (house, 9),
    (wall, 4), (fence, 1.5), (pole, 2), (car, 4), (crate, 1.6), (ball, 1.2), (barrel, 1.5),
    (chair, 2),
)  # fmt: skip
INSIDE: tuple[tuple[Maker, float], ...] = (
    (person, 1.4), (table, 1.4), (table, 1.4), (chair, 1.6), (chair, 1.6), (shelf, 2), (shelf, 2),
    (crate, 1.6), (ball, 1.2), (barrel, 1.4), (bush, 2),
)  # fmt: skip
CLOSE: tuple[tuple[Maker, float], ...] = ((ball, 0.8), (barrel, 1), (crate, 1.1))
