# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes what people photograph from close by: faces, animals, flowers, tableware, machines."""

from __future__ import annotations

import numpy as np

from training.scenes.prints import print_of
from training.scenes.solids import Ball, Box, Post, Solid, turned
from training.scenes.textures import Floats, Texture
from training.scenes.things import Rng, colour, texture


def look(rng: Rng, size: float, real: float = 0.45) -> Texture:
    """Return a pattern, or with the probability ``real`` a part of a photograph."""
    if rng.random() < real:
        first = colour(rng)
        second = np.clip(first * rng.uniform(1.3, 4), 0, 1) if rng.random() < 0.6 else colour(rng)
        return print_of(first, second.astype(np.float32), size * float(rng.uniform(1, 4)), rng)
    return texture(rng, size)


def plain(first: Floats, dirt: float = 0.2) -> Texture:
    """Return an even colour."""
    return Texture("plain", first, first, 0.2, dirt, 0.0)


def green(rng: Rng) -> Texture:
    """Return the look of leaves."""
    light = np.array([rng.uniform(0.02, 0.3), rng.uniform(0.08, 0.4), rng.uniform(0.02, 0.15)])
    first, second = light.astype(np.float32), (light * rng.uniform(0.2, 0.6)).astype(np.float32)
    if rng.random() < 0.4:
        return print_of(first, second, float(rng.uniform(0.1, 0.5)), rng)
    return Texture("gravel", first, second, float(rng.uniform(0.02, 0.1)), 0.5, rng.uniform(0, 50))


def _at(x: float, y: float, z: float) -> Floats:
    return np.array([x, y, z], np.float32)


def _egg(look_: Texture, place: Floats, axes: tuple[float, float, float], yaw: float = 0) -> Ball:
    stretch = np.array(axes, np.float32) / max(axes)
    return Ball(look_, place, turned(yaw), size=max(axes), stretch=stretch)


def bust(rng: Rng, x: float, y: float, z: float) -> list[Solid]:
    """Make a person from the hips upwards, whose face looks about to the camera at x, y, z."""
    grow = float(rng.uniform(0.75, 1.1))
    skin = plain(np.array([0.75, 0.5, 0.38], np.float32) * float(rng.uniform(0.15, 1.0)), 0.15)
    hair, coat = look(rng, 0.05), look(rng, 0.2)
    yaw = float(rng.normal(0, 0.5))
    frame = turned(yaw)
    right, front = frame[0], -frame[2]

    def spot(across: float, up: float, forward: float) -> Floats:
        offset = right * across * grow + front * forward * grow
        return (_at(x, y + up * grow, z) + offset).astype(np.float32)

    head = (0.078 * grow, 0.115 * grow, 0.095 * grow)
    parts: list[Solid] = [
        _egg(skin, spot(0, 0, 0), head, yaw),
        Post(skin, spot(0, -0.14, -0.02), size=0.055 * grow, half_height=0.08 * grow),
        _egg(coat, spot(0, -0.42, -0.03), (0.2 * grow, 0.25 * grow, 0.13 * grow), yaw),
        Post(coat, spot(0, -0.62, -0.03), frame, size=0.16 * grow, half_height=0.25 * grow),
        _egg(skin, spot(0, -0.02, 0.1), (0.014 * grow, 0.03 * grow, 0.02 * grow), yaw),
        _egg(hair, spot(0, 0.035, -0.03), (0.09 * grow, 0.105 * grow, 0.095 * grow), yaw),
    ]
    if rng.random() < 0.4:  # long hair
        parts.append(_egg(hair, spot(0, -0.06, -0.05), (0.1 * grow, 0.16 * grow, 0.07 * grow), yaw))
    if rng.random() < 0.3:  # a hat
        parts.append(Post(look(rng, 0.1), spot(0, 0.1, -0.02), size=0.11 * grow, half_height=0.05))
    dark, white = plain(colour(rng, 0.01, 0.06), 0), plain(np.full(3, 0.8, np.float32), 0)
    for sign in (-1, 1):
        parts += [
            _egg(white, spot(sign * 0.032, 0.02, 0.08), (0.015, 0.009, 0.01), yaw),
            Ball(dark, spot(sign * 0.032, 0.02, 0.088), size=0.006 * grow),
            _egg(hair, spot(sign * 0.033, 0.042, 0.084), (0.022, 0.005, 0.01), yaw),
        ]
        lean = turned(0, float(rng.uniform(-0.6, 0.3)), float(sign * rng.uniform(-0.05, 0.4)))
        arm = spot(sign * 0.22, -0.48, 0.02)
        parts.append(
            Post(coat, arm, lean @ frame, size=0.055 * grow, half_height=0.2 * grow,
                 round_ends=True)
        )  # fmt: skip
    lips = plain(np.array([0.45, 0.12, 0.1], np.float32), 0)
    parts.append(_egg(lips, spot(0, -0.05, 0.085), (0.025, 0.007, 0.01), yaw))
    return parts


def animal(rng: Rng, x: float, y: float, z: float) -> list[Solid]:
    """Make an animal whose head is at x, y, z: a body, legs, ears, a snout and a tail."""
    size = float(rng.uniform(0.05, 0.2))
    fur = look(rng, size * 0.6, 0.6)
    yaw = float(rng.uniform(-1.6, 1.6))
    frame = turned(yaw)
    right, front = frame[0], -frame[2]

    def spot(across: float, up: float, forward: float) -> Floats:
        offset = (right * across + front * forward) * size
        return (_at(x, y + up * size, z) + offset).astype(np.float32)

    long, tall = float(rng.uniform(1.4, 2.6)), float(rng.uniform(0.9, 1.5))
    body = (tall * size, tall * size, long * size)
    snout = float(rng.uniform(0.2, 0.7))
    muzzle = (0.45 * size, 0.35 * size, snout * size)
    parts: list[Solid] = [
        _egg(fur, spot(0, 0, 0), (size, 0.95 * size, size), yaw),
        _egg(fur, spot(0, -0.9, -long), body, yaw),
        _egg(fur if rng.random() < 0.5 else look(rng, size), spot(0, -0.3, 0.75), muzzle, yaw),
        _egg(plain(colour(rng, 0.01, 0.4), 0), spot(0, -0.15, 0.75 + snout), (0.16 * size,) * 3),
    ]
    eye, pupil = plain(colour(rng, 0.05, 0.5), 0), plain(np.full(3, 0.01, np.float32), 0)
    for sign in (-1, 1):
        ear = spot(sign * 0.65, 0.95, -0.1)
        parts += [
            _egg(fur, ear, (0.25 * size, float(rng.uniform(0.3, 0.6)) * size, 0.12 * size), yaw),
            Ball(eye, spot(sign * 0.42, 0.2, 0.78), size=0.2 * size, gloss=0.6),
            Ball(pupil, spot(sign * 0.42, 0.2, 0.93), size=0.09 * size),
        ]
        for along in (-0.4, -2 * long + 0.4):
            leg = spot(sign * tall * 0.5, -0.9 - tall, along)
            parts.append(Post(fur, leg, size=0.28 * size, half_height=tall * size))
    tail = turned(0, float(rng.uniform(-1, 1))) @ frame
    parts.append(
        Post(fur, spot(0, -0.4, -2 * long), tail, size=0.12 * size, half_height=size,
             round_ends=True)
    )  # fmt: skip
    return parts


def flower(rng: Rng, x: float, y: float, z: float) -> list[Solid]:
    """Make a blossom at x, y, z of rings of petals, with a stem and leaves."""
    size = float(rng.uniform(0.03, 0.12))
    petal, heart = plain(colour(rng, 0.1, 0.95), 0.4), look(rng, size / 3)
    tilt = turned(float(rng.normal(0, 0.6)), float(rng.normal(0, 0.5)))
    leaf = green(rng)
    parts: list[Solid] = [
        Post(leaf, _at(x, y - size * 5, z + size), size=size * 0.08, half_height=size * 5)
    ]
    rings = int(rng.integers(1, 5))
    for ring in range(rings):
        count = int(rng.integers(6, 14))
        reach = size * (1 - ring / (rings + 0.5))
        open_ = 0.25 + 0.75 * (1 - ring / rings)
        for n in range(count):
            angle = 2 * np.pi * (n + 0.5 * (ring % 2)) / count
            out = np.array([np.cos(angle), np.sin(angle), 0.0])
            place = out * reach * 0.62 * open_ + np.array([0, 0, -0.35 * size * ring / rings])
            frame = turned(0, 0, -angle) @ turned(float((1 - open_) * 0.8))
            axes = np.array([0.5 * reach, 2 * reach / count + 0.08 * size, 0.08 * size])
            parts.append(
                Ball(petal, (_at(x, y, z) + tilt.T @ place).astype(np.float32),
                     (frame @ tilt).astype(np.float32), size=float(axes.max()),
                     stretch=(axes / axes.max()).astype(np.float32))
            )  # fmt: skip
    middle = _at(x, y, z) + tilt.T @ np.array([0, 0, -0.3 * size])
    parts.append(Ball(heart, middle.astype(np.float32), size=size * float(rng.uniform(0.15, 0.4))))
    for _ in range(int(rng.integers(0, 4))):
        place = _at(x + rng.normal(0, size), y - size * rng.uniform(1.5, 5), z + size)
        parts.append(_egg(leaf, place, (size, 0.15 * size, 0.4 * size), float(rng.uniform(0, 3))))
    return parts


def foliage(rng: Rng, x: float, y: float, z: float, spread: float) -> list[Solid]:
    """Make many leaves around x, y, z."""
    looks = [green(rng) for _ in range(3)]
    parts: list[Solid] = []
    for _ in range(int(rng.integers(8, 24))):
        place = _at(x, y, z) + rng.normal(0, spread, 3) * [1, 0.8, 0.4]
        size = float(rng.uniform(0.1, 0.4)) * spread
        stretch = np.array([1, rng.uniform(0.3, 1), rng.uniform(0.1, 0.5)], np.float32)
        frame = turned(*rng.uniform(-1, 1, 3))
        leaf = looks[int(rng.integers(3))]
        parts.append(Ball(leaf, place.astype(np.float32), frame, size=size, stretch=stretch))
    return parts


def cup(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a cup, often with a drink in it, a handle and a saucer; it stands on y = 0."""
    size, tall = float(rng.uniform(0.03, 0.06)), float(rng.uniform(0.03, 0.06))
    glaze = plain(colour(rng, 0.1, 0.9), 0.1) if rng.random() < 0.7 else look(rng, 0.04)
    foot = 0.0
    parts: list[Solid] = []
    if rng.random() < 0.7:
        foot = 0.012
        saucer = glaze if rng.random() < 0.6 else look(rng, 0.05)
        wide = size * float(rng.uniform(1.6, 2.3))
        parts += [
            Post(saucer, _at(x, 0.004, z), gloss=0.4, size=wide * 0.7, half_height=0.004),
            Post(saucer, _at(x, 0.009, z), gloss=0.4, size=wide, half_height=0.003),
        ]
        if rng.random() < 0.6:
            parts += spoon(rng, x + wide * 0.5, z - wide * 0.5, 0.018)
    middle = _at(x, foot + tall, z)
    side = turned(float(rng.uniform(0, 2 * np.pi)))[0]
    ring = (middle + side * (size + 0.008)).astype(np.float32)
    drink = plain(colour(rng, 0.02, 0.5), 0.3)
    level = float(rng.uniform(0.2, 0.85)) * tall
    parts += [
        Post(glaze, middle, gloss=0.4, size=size, half_height=tall, open_ends=True),
        Post(glaze, middle, gloss=0.4, size=size * 0.93, half_height=tall, open_ends=True),
        Post(drink, _at(x, foot + level, z), gloss=0.3, size=size * 0.94, half_height=level),
        _egg(glaze, ring, (0.012, 0.6 * tall, 0.012)),
    ]
    return parts


def spoon(rng: Rng, x: float, z: float, y: float = 0.006) -> list[Solid]:
    """Make a spoon that lies at height y."""
    metal = plain(np.full(3, rng.uniform(0.3, 0.8), np.float32), 0.3)
    yaw = float(rng.uniform(0, 2 * np.pi))
    frame = turned(yaw)
    handle = (_at(x, y, z) + frame[2] * 0.07).astype(np.float32)
    return [
        _egg(metal, _at(x, y, z), (0.016, 0.006, 0.024), yaw),
        Box(metal, handle, frame, 0.8, half=np.array([0.004, 0.002, 0.06], np.float32)),
    ]


def bottle(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a bottle or a vase that stands on y = 0, sometimes with flowers."""
    size, tall = float(rng.uniform(0.02, 0.05)), float(rng.uniform(0.05, 0.12))
    glass = look(rng, 0.05)
    parts: list[Solid] = [
        Post(glass, _at(x, tall, z), gloss=0.6, size=size, half_height=tall),
        _egg(glass, _at(x, 2 * tall, z), (size, size, size)),
        Post(glass, _at(x, 2.4 * tall, z), gloss=0.6, size=size * 0.4, half_height=tall * 0.5),
    ]
    if rng.random() < 0.3:
        for _ in range(3):
            parts += flower(rng, x + rng.normal(0, 0.05), 3.2 * tall, z + rng.normal(0, 0.05))
    return parts


def dish(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make a plate with some food, or a book, on y = 0."""
    if rng.random() < 0.4:
        half = np.array([rng.uniform(0.05, 0.12), rng.uniform(0.004, 0.03), 0.1], np.float32)
        frame = turned(float(rng.uniform(0, np.pi)))
        return [Box(look(rng, 0.1, 0.7), _at(x, half[1], z), frame, half=half)]
    size = float(rng.uniform(0.06, 0.14))
    parts: list[Solid] = [
        Post(look(rng, 0.1), _at(x, 0.008, z), gloss=0.4, size=size, half_height=0.008)
    ]
    for _ in range(int(rng.integers(1, 6))):
        food = float(rng.uniform(0.15, 0.4)) * size
        off = rng.normal(0, size * 0.35, 2)
        axes = (food, food * float(rng.uniform(0.5, 1)), food)
        parts.append(
            _egg(look(rng, food), _at(x + off[0], 0.016 + axes[1] * 0.8, z + off[1]), axes)
        )
    return parts


def machine(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make something with wheels, tubes and a body, such as a bicycle, a motorcycle or a cart."""
    grow = float(rng.uniform(0.6, 1.3))
    frame = turned(float(rng.uniform(-0.9, 0.9)))
    paint, metal = look(rng, 0.3, 0.2), plain(colour(rng, 0.1, 0.8), 0.3)
    tyre, seat = plain(colour(rng, 0.01, 0.06), 0.4), plain(colour(rng, 0.01, 0.2), 0.3)
    along, across = frame[0], frame[2]
    wheel = float(rng.uniform(0.2, 0.34)) * grow
    base = float(rng.uniform(0.5, 0.8)) * grow
    origin = _at(x, 0, z)
    parts: list[Solid] = []

    def spot(forward: float, up: float, aside: float = 0.0) -> Floats:
        return (origin + along * forward + _at(0, up, 0) + across * aside).astype(np.float32)

    flat = turned(0, np.pi / 2) @ frame
    for end in (-base, base):
        parts += [
            Post(tyre, spot(end, wheel), flat, size=wheel, half_height=0.05 * grow),
            Post(metal, spot(end, wheel), flat, 0.5, size=wheel * 0.68, half_height=0.055 * grow),
            Post(look(rng, 0.05), spot(end, wheel), flat, size=wheel * 0.25, half_height=0.07),
        ]
        tilt = turned(0, 0, float(np.sign(end)) * 0.4) @ frame
        for aside in (-0.08, 0.08):
            fork = spot(end * 0.85, wheel * 1.9, aside * grow)
            parts.append(Post(metal, fork, tilt, 0.5, size=0.02 * grow, half_height=wheel))
    high = wheel * 2.2
    parts += [
        Ball(paint, spot(base * 0.25, high * 1.15), frame, 0.6, size=0.36 * grow,
             stretch=np.array([1, 0.45, 0.4], np.float32)),
        Ball(seat, spot(-base * 0.4, high * 1.05), frame, size=0.4 * grow,
             stretch=np.array([1, 0.25, 0.35], np.float32)),
        Post(metal, spot(base * 0.6, high * 1.6), flat, 0.5, size=0.015, half_height=0.35 * grow),
        Ball(metal, spot(base * 0.8, high * 1.35), gloss=0.7, size=0.09 * grow),
    ]  # fmt: skip
    for _ in range(int(rng.integers(5, 16))):  # the engine and what else is bolted on
        place = spot(
            float(rng.normal(0, base * 0.4)), float(rng.uniform(0.5, 1.1)) * high,
            float(rng.normal(0, 0.08)),
        )  # fmt: skip
        small = (rng.uniform(0.02, 0.13, 3) * grow).astype(np.float32)
        part = metal if rng.random() < 0.6 else look(rng, 0.05)
        pose = turned(*rng.uniform(-0.6, 0.6, 3)) @ frame
        if rng.random() < 0.5:
            parts.append(Box(part, place, pose, 0.4, half=small))
        else:
            size, half = float(small[0]), float(small[1]) * 2
            parts.append(Post(part, place, pose, 0.4, size=size, half_height=half))
    return parts


def full_shelf(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make an open shelf full of things, as wide as a wall."""
    wide, deep = float(rng.uniform(0.6, 1.6)), float(rng.uniform(0.12, 0.3))
    gap, count = float(rng.uniform(0.25, 0.5)), int(rng.integers(4, 8))
    frame = turned(float(rng.normal(0, 0.1)))
    wood = look(rng, 0.2)
    parts: list[Solid] = []
    for side in (-wide, wide):
        post = np.array([0.03, gap * count / 2, deep], np.float32)
        place = _at(x, gap * count / 2, z) + frame[0] * side
        parts.append(Box(wood, place.astype(np.float32), frame, half=post))
    for level in range(count):
        board = np.array([wide, 0.015, deep], np.float32)
        y = 0.08 + gap * level
        parts.append(Box(wood, _at(x, y, z), frame, half=board))
        place = -wide + 0.1
        while place < wide - 0.1:
            half = np.array([rng.uniform(0.03, 0.2), rng.uniform(0.2, 0.45) * gap, deep * 0.7])
            place += half[0]
            if rng.random() < 0.75:
                centre = _at(x, y + 0.015 + half[1], z) + frame[0] * place
                thing = look(rng, 0.2)
                if rng.random() < 0.7:
                    parts.append(Box(thing, centre.astype(np.float32), frame,
                                     half=half.astype(np.float32)))  # fmt: skip
                else:
                    parts.append(Post(thing, centre.astype(np.float32),
                                      size=float(min(half[0], deep)),
                                      half_height=float(half[1])))  # fmt: skip
            place += half[0] + rng.uniform(0, 0.08)
    return parts


def tower(rng: Rng, x: float, z: float) -> list[Solid]:
    """Make something tall: storeys that grow smaller, a mast of tubes, or a column."""
    kind = rng.random()
    if kind < 0.45:
        half, y, storey = float(rng.uniform(2, 7)), 0.0, float(rng.uniform(1, 2.5))
        frame, wall = turned(float(rng.uniform(0, np.pi))), look(rng, 1.5)
        roof = look(rng, 0.4)
        parts: list[Solid] = []
        for _ in range(int(rng.integers(2, 8))):
            parts += [
                Box(wall, _at(x, y + storey, z), frame,
                    half=np.array([half, storey, half], np.float32)),
                Box(roof, _at(x, y + 2 * storey, z), frame,
                    half=np.array([half * 1.25, storey * 0.15, half * 1.25], np.float32)),
            ]  # fmt: skip
            y += 2.1 * storey
            half *= float(rng.uniform(0.75, 0.98))
        parts.append(Ball(roof, _at(x, y, z), size=half))
        return parts
    tall = float(rng.uniform(4, 20))
    if kind < 0.7:
        size = tall * float(rng.uniform(0.03, 0.08))
        body = look(rng, 2)
        return [
            Post(body, _at(x, tall / 2, z), size=size, half_height=tall / 2),
            _egg(look(rng, 1), _at(x, tall, z), (size, size * 3, size)),
        ]
    metal, wide = plain(colour(rng, 0.02, 0.4), 0.3), tall * 0.06
    thin = tall * 0.006
    parts = []
    for sign in (-1, 1):
        leg = _at(x + sign * wide, tall / 2, z)
        parts.append(Post(metal, leg, size=thin, half_height=tall / 2))
    rungs = 12
    for n in range(rungs):
        pose = turned(0, 0, np.pi / 2 + (0.6 if n % 2 else -0.6))
        place = _at(x, tall * (n + 0.5) / rungs, z)
        parts.append(Post(metal, place, pose, size=thin * 0.7, half_height=wide * 1.2))
    return parts
