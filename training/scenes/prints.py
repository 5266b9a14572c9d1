# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Puts parts of real photographs on surfaces.

Only photographs without conditions are used (public domain or CC0), and none of those on which the
model is measured as kept back (``training/photographs.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import skimage

from training.scenes.textures import Floats, Texture

#: files of scikit-image: materials from above, and two photographs of the development split
FILES = ("brick.png", "grass.png", "gravel.png", "astronaut.png", "camera.png")
_LEVELS = 5


@cache
def _pyramid(name: str) -> tuple[Floats, ...]:
    """Return a photograph in linear RGB [h, w, 3], and smaller and smaller copies of it."""
    file = Path(skimage.__file__).parent / "data" / name
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if pixels is None:
        raise FileNotFoundError(file)
    levels: list[Floats] = [(pixels[..., ::-1].astype(np.float32) / 255) ** 2.2]
    while len(levels) < _LEVELS:
        levels.append(np.asarray(cv2.pyrDown(levels[-1]), np.float32))
    return tuple(levels)


@dataclass(frozen=True)
class Print(Texture):
    """A part of a photograph, repeated in mirror images, as it is or tinted with two colours."""

    #: side of the part, as a share of the photograph's shorter edge
    part: float = 0.3
    tinted: bool = True

    def colours(self, u: Floats, v: Floats, footprint: Floats) -> Floats:
        """See ``Texture.colours``; ``size`` is the side of one copy in metres."""
        levels = _pyramid(self.pattern)
        edge = min(levels[0].shape[:2])
        # A copy that is finer than the pixels would alias, so a smaller photograph is read.
        texels = float(np.median(footprint)) / self.size * self.part * edge if u.size else 1.0
        picture = levels[int(np.clip(np.log2(max(texels, 1.0)), 0, _LEVELS - 1))]
        rows, columns = picture.shape[:2]
        corner = self.offset % 1 * (1 - self.part)
        places = []
        for along, length in ((v, rows), (u, columns)):
            mirrored = 1 - np.abs((along / self.size + self.offset) % 2 - 1)
            place = (corner + mirrored * self.part) * min(rows, columns)
            places.append(np.clip(place, 0, length - 1).astype(np.int64))
        found = picture[places[0], places[1]].T
        if self.tinted:
            share = np.clip(found.mean(0) * 1.4, 0, 1)
            found = self.first[:, None] * (1 - share) + self.second[:, None] * share
        return found.astype(np.float32)


def print_of(first: Floats, second: Floats, size: float, rng: np.random.Generator) -> Print:
    """Return a random part of a random photograph, ``size`` metres wide."""
    return Print(
        pattern=str(rng.choice(FILES)),
        first=first,
        second=second,
        size=size,
        dirt=0.0,
        offset=float(rng.uniform(0, 50)),
        part=float(rng.uniform(0.15, 0.9)),
        tinted=bool(rng.random() < 0.7),
    )
