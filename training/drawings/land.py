# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Draws landscapes in the flat style of a picture book.

Of all our drawings they look most like photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from training.drawings.canvas import Canvas, Rng, put

#: colours of the top and the bottom of the sky, sRGB
_SKIES = {
    "a blue sky": ((70, 130, 220), (190, 220, 245)),
    "a cloudy sky": ((130, 140, 150), (200, 205, 210)),
    "a sunset": ((90, 60, 120), (250, 150, 70)),
    "a night sky": ((8, 10, 30), (30, 35, 70)),
}
#: colours of the ground, far and near, sRGB
_GROUNDS = {
    "a meadow": ((120, 170, 90), (60, 130, 50)),
    "the sea": ((50, 100, 150), (20, 60, 110)),
    "a desert": ((225, 195, 140), (200, 150, 90)),
    "snow": ((235, 240, 250), (215, 225, 240)),
}
_THINGS = ("a house", "trees", "mountains", "a road", None)


@dataclass(frozen=True)
class Land:
    """A landscape: sky, ground, and perhaps something on the ground."""

    sky: str
    ground: str
    thing: str | None

    @classmethod
    def imagine(cls, rng: Rng) -> Self:
        """Return a random landscape; at sea there are no houses, trees or roads."""
        ground = str(rng.choice(list(_GROUNDS)))
        things = (None, "mountains") if ground == "the sea" else _THINGS
        return cls(str(rng.choice(list(_SKIES))), ground, things[int(rng.integers(len(things)))])

    def caption(self, rng: Rng) -> str:
        """Describe it in English, in a random way."""
        place = {"a meadow": "in a meadow", "the sea": "by the sea", "a desert": "in a desert",
                 "snow": "in the snow"}[self.ground]  # fmt: skip
        words = f"{self.thing} {place}" if self.thing else self.ground
        joint = " at " if self.sky == "a sunset" and rng.random() < 0.3 else " under "
        prefix = ("", "", "a landscape: ", "a photo of ")[int(rng.integers(4))]
        return f"{prefix}{words}{joint}{self.sky}"

    def paint(self, edge: int, rng: Rng) -> Canvas:
        """Draw it as [edge, edge, 3] float32, sRGB in 0..255."""
        horizon = int(edge * rng.uniform(0.4, 0.7))
        canvas = np.empty((edge, edge, 3), np.float32)
        canvas[:horizon] = _shaded(_SKIES[self.sky], horizon, rng)
        canvas[horizon:] = _shaded(_GROUNDS[self.ground], edge - horizon, rng)
        self._paint_sky(canvas, horizon, rng)
        rough = rng.normal(0, rng.uniform(2, 9), (edge - horizon, edge // 4)).astype(np.float32)
        canvas[horizon:] += cv2.resize(rough, (edge, edge - horizon))[..., None]
        if self.thing == "mountains":
            _mountains(canvas, horizon, rng)
        elif self.thing == "a road":
            _road(canvas, horizon, rng)
        elif self.thing == "trees":
            for _ in range(int(rng.integers(2, 7))):
                _tree(canvas, horizon, rng)
        elif self.thing == "a house":
            _house(canvas, horizon, rng)
        if self.sky == "a night sky":
            canvas[horizon:] *= 0.35
        return canvas

    def _paint_sky(self, canvas: Canvas, horizon: int, rng: Rng) -> None:
        edge = canvas.shape[0]
        x, y = float(rng.uniform(0.15, 0.85)), horizon / edge
        if self.sky == "a night sky":
            for _ in range(int(rng.integers(15, 50))):
                star = rng.integers(0, edge), rng.integers(0, horizon)
                cv2.circle(canvas, (int(star[0]), int(star[1])), 1, (230, 230, 220), -1)
            if rng.random() < 0.6:
                put(canvas, "circle", "white", None, (x, y * 0.35), 0.06, rng)
        elif self.sky == "a sunset":
            put(canvas, "circle", "orange", None, (x, y * 0.85), 0.09, rng)
        elif self.sky == "a blue sky" and rng.random() < 0.5:
            put(canvas, "circle", "yellow", None, (x, y * 0.3), 0.06, rng)
        if self.sky == "a cloudy sky":
            coarse = rng.normal(0, 28, (5, 7)).astype(np.float32)
            canvas[:horizon] += cv2.resize(coarse, (edge, horizon), interpolation=cv2.INTER_CUBIC)[
                ..., None
            ]


def _shaded(ends: tuple[tuple[int, int, int], ...], rows: int, rng: Rng) -> NDArray[np.float32]:
    """Return [rows, 1, 3]: a gradient from one colour to the other."""
    first, last = (np.array(end) * rng.uniform(0.88, 1.12) + rng.normal(0, 5, 3) for end in ends)
    share = np.linspace(0, 1, rows)[:, None, None]
    return (first * (1 - share) + last * share).astype(np.float32)


def _fill(canvas: Canvas, points: list[tuple[float, float]], colour: NDArray[np.floating]) -> None:
    line = np.round(np.array(points) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [line], colour.tolist(), cv2.LINE_8, shift=4)


def _mountains(canvas: Canvas, horizon: int, rng: Rng) -> None:
    edge = canvas.shape[0]
    for _ in range(int(rng.integers(2, 5))):
        x, wide = rng.uniform(0, edge), rng.uniform(0.2, 0.4) * edge
        top = horizon - rng.uniform(0.15, 0.35) * edge
        colour = np.array([90, 95, 110]) * rng.uniform(0.7, 1.2)
        _fill(canvas, [(x - wide, horizon), (x, top), (x + wide, horizon)], colour)
        cap = 0.25
        snow = [(x - wide * cap, top + (horizon - top) * cap), (x, top),
                (x + wide * cap, top + (horizon - top) * cap)]  # fmt: skip
        _fill(canvas, snow, np.array([235.0, 238, 245]))


def _road(canvas: Canvas, horizon: int, rng: Rng) -> None:
    edge = canvas.shape[0]
    end, x, wide = (
        rng.uniform(0.2, 0.8) * edge,
        rng.uniform(0.3, 0.7) * edge,
        rng.uniform(0.15, 0.3) * edge,
    )
    _fill(canvas, [(end - 2, horizon), (end + 2, horizon), (x + wide, edge), (x - wide, edge)],
          np.array([85.0, 85, 90]))  # fmt: skip
    _fill(canvas, [(end, horizon), (x + wide * 0.06, edge), (x - wide * 0.06, edge)],
          np.array([235.0, 235, 225]))  # fmt: skip


def _tree(canvas: Canvas, horizon: int, rng: Rng) -> None:
    edge = canvas.shape[0]
    near = rng.uniform(0.05, 0.7)
    x, foot = rng.uniform(0, edge), horizon + near * (edge - horizon)
    tall = edge * (0.12 + 0.3 * near)
    _fill(canvas, _upright(x, foot, tall * 0.05, tall / 2), np.array([90.0, 60, 35]))
    green = np.array([35, 105, 40]) * rng.uniform(0.7, 1.3)
    if rng.random() < 0.5:
        low, half = foot - tall / 4, tall / 4
        _fill(canvas, [(x - half, low), (x, foot - tall), (x + half, low)], green)
    else:
        centre = int(x), int(foot - tall * 0.7)
        cv2.circle(canvas, centre, int(tall * 0.28), green.tolist(), -1)


def _house(canvas: Canvas, horizon: int, rng: Rng) -> None:
    edge = canvas.shape[0]
    x, foot = rng.uniform(0.25, 0.75) * edge, horizon + rng.uniform(0.1, 0.6) * (edge - horizon)
    half, tall = rng.uniform(0.1, 0.2) * edge, rng.uniform(0.12, 0.22) * edge
    walls = np.array([225, 205, 180]) * rng.uniform(0.7, 1.1)
    _fill(canvas, _upright(x, foot, half, tall), walls)
    roof = np.array([160, 60, 45]) * rng.uniform(0.6, 1.2)
    eaves, over = foot - tall, half * 1.15
    _fill(canvas, [(x - over, eaves), (x, foot - tall * 1.7), (x + over, eaves)], roof)
    for side in (-0.5, 0.5):
        size = half * 0.36
        window = _upright(x + side * half, foot - tall * 0.75 + size, size / 2, size)
        _fill(canvas, window, np.array([70.0, 90, 120]))


def _upright(x: float, foot: float, half: float, tall: float) -> list[tuple[float, float]]:
    """Return the corners of a rectangle that stands on ``foot`` with its middle at x."""
    return [(x - half, foot), (x - half, foot - tall), (x + half, foot - tall), (x + half, foot)]
