# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines ideas for pictures, each of which can be described by captions and be drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.drawings.canvas import COLOURS, SHAPES, TEXTURES, Rng, blank, paint, put
from training.drawings.land import Land

_COUNTS = ("", "one", "two", "three", "four", "five", "six")
_LAYOUTS = ("in a row", "in a column", "scattered")
_RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
_SAMPLES = 2  # each pixel is the mean of this many samples in each direction


class Idea(ABC):
    """Something that can be described in many ways and drawn in many ways."""

    @abstractmethod
    def caption(self, rng: Rng) -> str:
        """Describe it in English, in a random way."""

    @abstractmethod
    def _paint(self, edge: int, rng: Rng) -> NDArray[np.float32]:
        """Draw it as [edge, edge, 3], sRGB in 0..255."""

    def draw(self, edge: int, rng: Rng) -> NDArray[np.uint8]:
        """Draw it in a random way: [edge, edge, 3] uint8, sRGB."""
        large = self._paint(edge * _SAMPLES, rng)
        small = cv2.resize(large, (edge, edge), interpolation=cv2.INTER_AREA)
        return (np.clip(small, 0, 255) + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class Group(Idea):
    """One to six shapes that are all alike."""

    count: int
    colour: str
    shape: str
    texture: str | None
    layout: str | None
    background: str

    def caption(self, rng: Rng) -> str:
        look = " ".join(word for word in (self.texture, self.colour) if word)
        if self.count == 1:
            thing = _a(f"{look} {self.shape}")
        else:
            plural = "crosses" if self.shape == "cross" else f"{self.shape}s"
            number = _COUNTS[self.count] if rng.random() < 0.8 else str(self.count)
            thing = f"{number} {look} {plural}"
            if self.layout is not None:
                thing += f" {self.layout}"
        return _framed(thing, self.background, rng)

    def _paint(self, edge: int, rng: Rng) -> NDArray[np.float32]:
        canvas = blank(edge, paint(self.background, rng), rng)
        places, size = self._places(rng)
        for place in places:
            put(canvas, self.shape, self.colour, self.texture, place, size, rng)
        return canvas

    def _places(self, rng: Rng) -> tuple[list[tuple[float, float]], float]:
        if self.count == 1:
            size = float(rng.uniform(0.14, 0.4))
            x, y = rng.uniform(size, 1 - size, 2)
            return [(float(x), float(y))], size
        if self.layout in ("in a row", "in a column"):
            size = float(rng.uniform(0.28, 0.42)) / self.count
            along = (np.arange(self.count) + 0.5) / self.count
            across = float(rng.uniform(0.2, 0.8))
            pairs = [(float(each), across) for each in along]
            return [(y, x) for x, y in pairs] if self.layout == "in a column" else pairs, size
        cells = 2 if self.count <= 4 else 3
        chosen = rng.permutation(cells * cells)[: self.count]
        size = float(rng.uniform(0.26, 0.4)) / cells
        slack = 0.5 / cells - size
        shifts = rng.uniform(-slack, slack, (self.count, 2))
        return [
            (float((cell % cells + 0.5) / cells + dx), float((cell // cells + 0.5) / cells + dy))
            for cell, (dx, dy) in zip(chosen, shifts, strict=True)
        ], size


@dataclass(frozen=True)
class Pair(Idea):
    """Two different shapes, and where the first lies as seen from the second."""

    colours: tuple[str, str]
    shapes: tuple[str, str]
    relation: str
    background: str

    def caption(self, rng: Rng) -> str:
        first, second = (
            _a(f"{colour} {shape}") for colour, shape in zip(self.colours, self.shapes, strict=True)
        )
        word = self.relation
        if word.endswith(" of") and rng.random() < 0.5:
            word = f"to the {word}"
        return _framed(f"{first} {word} {second}", self.background, rng)

    def _paint(self, edge: int, rng: Rng) -> NDArray[np.float32]:
        canvas = blank(edge, paint(self.background, rng), rng)
        across, down = _RELATIONS[self.relation]
        size = float(rng.uniform(0.13, 0.2))
        middle, stray = rng.uniform(-0.05, 0.05, 2) + 0.5, rng.uniform(-0.12, 0.12)
        for sign, colour, shape in zip((1, -1), self.colours, self.shapes, strict=True):
            x = middle[0] + sign * (0.24 * across + stray * abs(down))
            y = middle[1] + sign * (0.24 * down + stray * abs(across))
            put(canvas, shape, colour, None, (float(x), float(y)), size, rng)
        return canvas


@dataclass(frozen=True)
class View(Idea):
    """A landscape, as ``Land`` describes and draws it."""

    land: Land

    def caption(self, rng: Rng) -> str:
        return self.land.caption(rng)

    def _paint(self, edge: int, rng: Rng) -> NDArray[np.float32]:
        return self.land.paint(edge, rng)


def _framed(thing: str, background: str, rng: Rng) -> str:
    kind = rng.random()
    if kind < 0.15:
        return thing
    if kind < 0.3:
        return f"a picture of {thing}"
    if kind < 0.55:
        return f"{thing} on {background}"
    where = "on" if kind < 0.8 else "in front of"
    return f"{thing} {where} {_a(f'{background} background')}"


def _a(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def imagine(rng: Rng) -> Idea:
    """Return a random idea."""
    kind = rng.random()
    colours = [str(each) for each in rng.permutation(list(COLOURS))[:3]]
    if kind < 0.15:
        return View(Land.imagine(rng))
    if kind < 0.45:
        shapes = rng.permutation(SHAPES)[:2]
        return Pair(
            (colours[0], colours[1]),
            (str(shapes[0]), str(shapes[1])),
            str(rng.choice(list(_RELATIONS))),
            colours[2],
        )
    count = int(rng.choice([1, 1, 2, 3, 4, 5, 6]))
    return Group(
        count,
        colours[0],
        str(rng.choice(SHAPES)),
        str(rng.choice(TEXTURES)) if rng.random() < 0.35 else None,
        str(rng.choice(_LAYOUTS)) if count > 1 else None,
        colours[2],
    )
