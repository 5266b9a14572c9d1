# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Computes the colours of surfaces at places on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]  # mostly float32; float64 after arithmetic with Python's numbers

_TILE = 512  # texels along the edge of a noise tile, which repeats without a seam
_PERIODS = 8.0  # how many periods of the coarsest octave one tile has


def noise_tile(seed: int, roughness: float = 0.6) -> Floats:
    """Make a periodic tile of "value noise": octaves of smooth random numbers.

    The result is [512, 512] float32 in 0..1.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((_TILE, _TILE), np.float32)
    weight, cells = 1.0, int(_PERIODS)
    while cells <= _TILE // 2:
        grid = np.pad(rng.random((cells, cells), np.float32), 2, mode="wrap")
        # Two cells of margin on each side make the seam as smooth as the rest.
        edge = _TILE * (cells + 4) // cells
        margin = 2 * _TILE // cells
        fine = cv2.resize(grid, (edge, edge), interpolation=cv2.INTER_CUBIC)
        total += weight * fine[margin : margin + _TILE, margin : margin + _TILE]
        weight *= roughness
        cells *= 2
    total -= total.min()
    return total / total.max()


_TILES = [noise_tile(seed, roughness) for seed, roughness in enumerate((0.4, 0.55, 0.7, 0.85))]


def noise(u: Floats, v: Floats, kind: int = 1) -> Floats:
    """Return fractal noise in 0..1 at any place; its coarsest features are about 1 wide."""
    tile = _TILES[kind % len(_TILES)]
    x, y = (u * (_TILE / _PERIODS)), (v * (_TILE / _PERIODS))
    column, row = np.floor(x), np.floor(y)
    along, down = x - column, y - row
    left, top = column.astype(np.int64) % _TILE, row.astype(np.int64) % _TILE
    right, bottom = (left + 1) % _TILE, (top + 1) % _TILE
    upper = tile[top, left] * (1 - along) + tile[top, right] * along
    lower = tile[bottom, left] * (1 - along) + tile[bottom, right] * along
    return (upper * (1 - down) + lower * down).astype(np.float32)


def _checker(u: Floats, v: Floats) -> Floats:
    return ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)


def _stripes(u: Floats, v: Floats) -> Floats:  # noqa: ARG001
    return (u % 1 < 0.5).astype(np.float32)


def _bricks(u: Floats, v: Floats) -> Floats:
    row = np.floor(v * 2)
    joint = ((u + 0.5 * (row % 2)) % 1 < 0.06) | ((v * 2) % 1 < 0.12)
    return joint.astype(np.float32)


def _spots(u: Floats, v: Floats) -> Floats:
    return ((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.09).astype(np.float32)


def _windows(u: Floats, v: Floats) -> Floats:
    return ((np.abs(u % 1 - 0.5) < 0.28) & (np.abs(v % 1 - 0.5) < 0.33)).astype(np.float32)


def _planks(u: Floats, v: Floats) -> Floats:
    grain = noise(np.floor(u * 3) * 7.3 + u, v * 0.3, 2)
    return np.where((u * 3) % 1 < 0.05, 1.0, 0.6 * grain).astype(np.float32)


def _clouds(u: Floats, v: Floats) -> Floats:
    return noise(u, v, 1)


def _gravel(u: Floats, v: Floats) -> Floats:
    return noise(u * 2, v * 2, 3)


def _plain(u: Floats, v: Floats) -> Floats:  # noqa: ARG001
    return np.zeros_like(u)


#: Functions that map a place to the share of the second colour, 0..1; features are about 1 wide.
PATTERNS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "plain": _plain,
    "checker": _checker,
    "stripes": _stripes,
    "bricks": _bricks,
    "spots": _spots,
    "windows": _windows,
    "planks": _planks,
    "clouds": _clouds,
    "gravel": _gravel,
}


@dataclass(frozen=True)
class Texture:
    """A pattern of two colours with some dirt on it."""

    pattern: str
    #: linear RGB in 0..1, [3]
    first: Floats
    second: Floats
    #: size of one feature in metres
    size: float
    #: share of light that the dirt may take
    dirt: float
    offset: float

    def colours(self, u: Floats, v: Floats, footprint: Floats) -> Floats:
        """Return linear RGB [3, n] at places [n] in metres.

        ``footprint`` [n] is a pixel's width there.
        """
        along, up = u / self.size + self.offset, v / self.size + self.offset
        # A pattern that is finer than a pixel would alias, so it fades to its mean.
        visible = np.clip(1.5 - 2 * footprint / self.size, 0, 1)
        share = PATTERNS[self.pattern](along, up)
        mean = float(share.mean()) if share.size else 0.0
        share = mean + (share - mean) * visible
        mixed = self.first[:, None] * (1 - share) + self.second[:, None] * share
        dirt = noise(u * 0.7 + self.offset, v * 0.7 - self.offset, 2)
        return (mixed * (1 - self.dirt * dirt)).astype(np.float32)
