# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Draws colours and shapes.

A canvas is [h, w, 3] float32, sRGB in 0..255; places are fractions of its edge.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.float32]
Mask = NDArray[np.float32]
Rng = np.random.Generator

#: hue, saturation and value of each colour, and how far each of them may deviate
COLOURS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "red": ((0.0, 0.9, 0.85), (0.02, 0.1, 0.12)),
    "orange": ((0.08, 0.95, 0.97), (0.015, 0.05, 0.04)),
    "yellow": ((0.155, 0.9, 0.97), (0.015, 0.1, 0.04)),
    "green": ((0.34, 0.8, 0.65), (0.05, 0.18, 0.18)),
    "cyan": ((0.5, 0.8, 0.9), (0.02, 0.18, 0.1)),
    "blue": ((0.62, 0.85, 0.8), (0.035, 0.14, 0.15)),
    "purple": ((0.77, 0.75, 0.65), (0.025, 0.15, 0.12)),
    "pink": ((0.92, 0.4, 0.98), (0.03, 0.1, 0.02)),
    "brown": ((0.07, 0.7, 0.42), (0.015, 0.12, 0.08)),
    "grey": ((0.0, 0.0, 0.52), (0.5, 0.04, 0.1)),
    "black": ((0.0, 0.0, 0.06), (0.5, 0.1, 0.06)),
    "white": ((0.0, 0.0, 0.97), (0.5, 0.03, 0.03)),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
TEXTURES = ("striped", "dotted", "checkered")

_ROUND = np.linspace(0, 2 * np.pi, 64, endpoint=False)


def paint(name: str, rng: Rng) -> NDArray[np.float32]:
    """Return a random tone of a named colour, [3] in 0..255."""
    middle, spread = COLOURS[name]
    hue, saturation, value = (
        m + s * rng.uniform(-1, 1) for m, s in zip(middle, spread, strict=True)
    )
    rgb = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return np.array(rgb, np.float32) * 255


def blank(edge: int, colour: NDArray[np.float32], rng: Rng) -> Canvas:
    """Make a background that is even, shaded from one side to the other, or a little uneven."""
    canvas = np.broadcast_to(colour, (edge, edge, 3)).astype(np.float32)
    kind = rng.random()
    if kind < 0.35:
        turned = rng.uniform(0, 2 * np.pi)
        y, x = np.indices((edge, edge), np.float32) / edge - 0.5
        slope = (np.cos(turned) * x + np.sin(turned) * y)[..., None]
        canvas = canvas * (1 + rng.uniform(-0.35, 0.35) * slope)
    elif kind < 0.6:
        coarse = rng.normal(0, rng.uniform(2, 12), (8, 8)).astype(np.float32)
        canvas = canvas + cv2.resize(coarse, (edge, edge), interpolation=cv2.INTER_CUBIC)[..., None]
    return canvas


def outline(shape: str) -> list[NDArray[np.float64]]:
    """Return closed lines [n, 2] at about 1 from the origin; a line inside the first is a hole."""
    circle = np.stack([np.cos(_ROUND), np.sin(_ROUND)], 1)
    if shape == "circle":
        return [circle]
    if shape == "ring":
        return [circle, circle * 0.58]
    if shape == "square":
        return [np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.85]
    if shape == "diamond":
        return [np.array([[0, -1.1], [0.75, 0], [0, 1.1], [-0.75, 0]])]
    if shape == "triangle":
        return [np.array([[0, -1.0], [0.95, 0.75], [-0.95, 0.75]])]
    if shape == "cross":
        third = 0.36
        arm = [[-third, -1], [third, -1], [third, -third], [1, -third], [1, third], [third, third]]
        return [np.array(arm + [[-x, -y] for x, y in arm])]
    if shape == "star":
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        reach = np.where(np.arange(10) % 2 == 0, 1.1, 0.48)
        return [np.stack([reach * np.cos(angles), reach * np.sin(angles)], 1)]
    assert shape == "heart", shape
    x = 16 * np.sin(_ROUND) ** 3
    y = 13 * np.cos(_ROUND) - 5 * np.cos(2 * _ROUND) - 2 * np.cos(3 * _ROUND) - np.cos(4 * _ROUND)
    return [np.stack([x, -y - 2], 1) / 16]


def put(
    canvas: Canvas, shape: str, colour: str, texture: str | None,
    place: tuple[float, float], size: float, rng: Rng,
) -> None:  # fmt: skip
    """Draw a shape; its place (x, y) and its radius ``size`` are fractions of the canvas' edge."""
    edge = canvas.shape[0]
    turned = rng.normal(0, 0.12)
    cos, sin = np.cos(turned), np.sin(turned)
    squeeze = rng.uniform(0.92, 1.08, 2)
    # The shape can change only this part of the canvas; a shadow lies a little outside the shape.
    reach = 1.5 * size
    left, top = (max(0, int((each - reach) * edge)) for each in place)
    right, bottom = (min(edge, int((each + reach) * edge) + 1) for each in place)
    window = canvas[top:bottom, left:right]
    if window.size == 0:
        return
    lines = [
        ((line * squeeze) @ np.array([[cos, sin], [-sin, cos]]) * size + place) * edge - (left, top)
        for line in outline(shape)
    ]
    mask = np.zeros(window.shape[:2], np.uint8)
    # The coordinates have four fractional bits. fillPoly's even-odd rule makes holes.
    cv2.fillPoly(
        mask, [np.round(line * 16).astype(np.int32) for line in lines], 255, cv2.LINE_AA, shift=4
    )
    share = mask.astype(np.float32)[..., None] / 255
    tone = paint(colour, rng)
    filling = np.broadcast_to(tone, window.shape)
    if texture is not None:
        other = np.full(3, 245, np.float32) if tone.mean() < 150 else np.full(3, 25, np.float32)
        marks = _marks(texture, window.shape[:2], max(size * edge, 1), rng)[..., None]
        filling = filling * (1 - marks) + other * marks
    if rng.random() < 0.3:  # adds a shadow behind the shape
        off = int(edge * size * 0.15)
        behind = np.roll(share, (off, off), (0, 1))
        window *= 1 - 0.4 * cv2.GaussianBlur(behind, (0, 0), edge * 0.01)[..., None]
    window += (filling - window) * share


def _marks(texture: str, shape: tuple[int, ...], size: float, rng: Rng) -> Mask:
    """Return where a texture has its second colour, [h, w] of 0 and 1; ``size`` is in pixels."""
    period = size * rng.uniform(0.4, 0.6)
    y, x = np.indices(shape, np.float32) / period + rng.random()
    if texture == "striped":
        slant = rng.choice([0, np.pi / 2, np.pi / 4])
        return ((np.cos(slant) * x + np.sin(slant) * y) % 1 < 0.42).astype(np.float32)
    if texture == "dotted":
        return ((x % 1 - 0.5) ** 2 + (y % 1 - 0.5) ** 2 < 0.075).astype(np.float32)
    return ((np.floor(x * 1.6) + np.floor(y * 1.6)) % 2).astype(np.float32)
