# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Gives real photographs with facts about their depth, to measure depth models on.

They come with the dev dependencies scikit-image, scikit-learn and matplotlib and are read from the
installed packages. One has measured disparity (Middlebury 2014, "Motorcycle"). In the others, pairs
of points were marked by hand in which a person sees which one is nearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import skimage
import sklearn
from numpy.typing import NDArray
from PIL import Image

_SKIMAGE = Path(skimage.__file__).parent / "data"
_SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"
_MATPLOTLIB = Path(matplotlib.get_data_path()) / "sample_data"

#: a place in a photograph as shares of its width and height, from the upper left corner
Point = tuple[float, float]


@dataclass(frozen=True)
class Photograph:
    """Names a photograph and says what is nearer in it."""

    file: Path
    #: Whether nothing was chosen by this photograph: no scene, no setting and no checkpoint.
    kept_back: bool
    #: pairs of a nearer and a farther point
    pairs: tuple[tuple[Point, Point], ...]

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.file.stem

    def read(self) -> Image.Image:
        """Return the picture in RGB."""
        with Image.open(self.file) as image:
            return image.convert("RGB")

    def order(self, disparity: NDArray[Any]) -> list[bool]:
        """Return for each pair whether a map [h, w], in which larger is nearer, has it right."""
        return [
            float(value_at(disparity, near)) > float(value_at(disparity, far))
            for near, far in self.pairs
        ]

    def lower_order(self) -> list[bool]:
        """Return the same for a map that calls lower pixels nearer."""
        return [near[1] > far[1] for near, far in self.pairs]


def value_at(disparity: NDArray[Any], point: Point) -> float:
    """Return the median of a map around a point, within 1 % of the map's height and width."""
    rows, columns = disparity.shape
    row, column = int(point[1] * rows), int(point[0] * columns)
    down, across = max(1, rows // 100), max(1, columns // 100)
    part = disparity[
        max(0, row - down) : row + down + 1, max(0, column - across) : column + across + 1
    ]
    return float(np.median(part))


def motorcycle() -> tuple[Image.Image, NDArray[np.float32]]:
    """Return the photograph with measured disparity, and the disparity [500, 741] in pixels.

    Larger means nearer; NaN where it was not measured. It counts as kept back.
    """
    with Image.open(_SKIMAGE / "motorcycle_left.png") as image:
        picture = image.convert("RGB")
    with np.load(_SKIMAGE / "motorcycle_disp.npz") as arrays:
        disparity: NDArray[np.float32] = arrays["arr_0"].astype(np.float32)
    disparity[~np.isfinite(disparity)] = np.nan
    return picture, disparity


def photographs(kept_back: bool) -> list[Photograph]:
    """Return the photographs with marked pairs: those kept back, or those for development."""
    return [each for each in _PHOTOGRAPHS if each.kept_back is kept_back]


def _marked(file: Path, kept_back: bool, places: dict[str, Point], nearer: str) -> Photograph:
    """Make a photograph from named places and from pairs such as ``face > wall``."""
    pairs = [pair.split(" > ") for pair in nearer.replace("\n", " ").split(", ")]
    named = [(places[near.strip()], places[far.strip()]) for near, far in pairs]
    return Photograph(file, kept_back, tuple(named))


_PHOTOGRAPHS = (
    _marked(
        _SKIMAGE / "astronaut.png",  # a woman in a space suit, flag and model behind her
        False,
        {
            "face": (0.43, 0.25), "hair": (0.43, 0.08), "chest": (0.3, 0.6), "sleeve": (0.1, 0.75),
            "helmet": (0.75, 0.8), "wall": (0.62, 0.12), "lower wall": (0.65, 0.4),
            "flag": (0.05, 0.2), "stripes": (0.03, 0.6), "model": (0.79, 0.42),
            "stand": (0.85, 0.58),
        },
        "face > wall, face > lower wall, face > stripes, face > model, face > stand, "
        "hair > lower wall, chest > stripes, chest > stand, helmet > chest, helmet > stand, "
        "helmet > wall, sleeve > stripes, chest > flag",
    ),
    _marked(
        _SKLEARN / "china.jpg",  # a pagoda above a lake, trees in front
        False,
        {
            "pagoda": (0.33, 0.5), "roof": (0.32, 0.22), "sky": (0.7, 0.15), "lake": (0.62, 0.62),
            "far lake": (0.75, 0.57), "shore": (0.6, 0.48), "tree": (0.94, 0.55),
            "crown": (0.95, 0.38), "bush": (0.15, 0.92), "right bush": (0.65, 0.78),
            "branch": (0.03, 0.52),
        },
        "pagoda > sky, pagoda > lake, pagoda > shore, roof > lake, roof > shore, roof > sky, "
        "bush > lake, bush > pagoda, right bush > lake, tree > far lake, tree > sky, "
        "crown > lake, branch > lake, lake > sky",
    ),
    _marked(
        _SKLEARN / "flower.jpg",  # a dahlia before blurred leaves, and the top of a second one
        False,
        {
            "blossom": (0.48, 0.5), "top": (0.48, 0.26), "side": (0.31, 0.5),
            "second": (0.58, 0.95), "left": (0.1, 0.5), "right": (0.85, 0.5), "above": (0.48, 0.08),
            "lower left": (0.15, 0.85), "lower right": (0.78, 0.85),
        },
        "blossom > left, blossom > right, blossom > above, blossom > lower left, "
        "blossom > lower right, top > left, top > lower right, side > left, second > right, "
        "second > lower left",
    ),
    _marked(
        _SKIMAGE / "camera.png",  # a man with a camera on a tripod on a meadow, in grey
        False,
        {
            "head": (0.42, 0.28), "coat": (0.2, 0.5), "camera": (0.57, 0.32), "joint": (0.57, 0.65),
            "sky": (0.8, 0.1), "tower": (0.825, 0.33), "building": (0.05, 0.37),
            "far grass": (0.85, 0.5), "grass": (0.8, 0.66), "near grass": (0.65, 0.9),
        },
        "head > sky, head > tower, head > far grass, coat > far grass, coat > sky, "
        "camera > tower, camera > far grass, joint > far grass, joint > grass, "
        "near grass > far grass, coat > grass, far grass > sky, coat > building",
    ),
    _marked(
        _SKIMAGE / "coffee.png",  # a cup on a saucer on a table, seen from above
        True,
        {
            "rim": (0.47, 0.5), "left rim": (0.305, 0.3), "back rim": (0.45, 0.06),
            "drink": (0.47, 0.38), "body": (0.35, 0.55), "handle": (0.38, 0.67),
            "spoon": (0.61, 0.7), "saucer": (0.18, 0.5), "front saucer": (0.45, 0.92),
            "table": (0.88, 0.3), "far table": (0.88, 0.1), "corner": (0.03, 0.05),
        },
        "rim > drink, left rim > drink, rim > saucer, rim > table, rim > corner, "
        "left rim > table, left rim > corner, back rim > far table, back rim > corner, "
        "handle > drink, handle > saucer, body > saucer, spoon > table, front saucer > table, "
        "table > corner",
    ),
    _marked(
        _SKIMAGE / "chelsea.png",  # a cat's face that fills the picture
        True,
        {
            "nose": (0.58, 0.8), "muzzle": (0.5, 0.68), "brow": (0.5, 0.3), "eye": (0.38, 0.4),
            "right eye": (0.7, 0.45), "ear": (0.82, 0.1), "room": (0.95, 0.35),
            "cloth": (0.95, 0.65), "above": (0.04, 0.2), "upper right": (0.93, 0.12),
        },
        "nose > room, nose > cloth, brow > room, brow > cloth, brow > above, eye > cloth, "
        "right eye > cloth, nose > ear, muzzle > ear, brow > upper right, muzzle > cloth, "
        "eye > above",
    ),
    _marked(
        _SKIMAGE / "rocket.jpg",  # a rocket between masts in the evening
        True,
        {
            "rocket": (0.505, 0.6), "top": (0.505, 0.38), "base": (0.505, 0.9),
            "platform": (0.5, 0.97), "left mast": (0.1, 0.2), "right mast": (0.92, 0.2),
            "sky": (0.4, 0.3), "low sky": (0.4, 0.7), "left sky": (0.25, 0.4),
            "right sky": (0.8, 0.4), "lowest sky": (0.62, 0.75),
        },
        "rocket > sky, rocket > low sky, top > low sky, top > lowest sky, base > low sky, "
        "platform > sky, left mast > left sky, right mast > right sky, rocket > lowest sky",
    ),
    _marked(
        _MATPLOTLIB / "grace_hopper.jpg",  # a woman in uniform before a flag
        True,
        {
            "cap": (0.5, 0.12), "cheek": (0.42, 0.42), "chest": (0.35, 0.72),
            "shoulder": (0.15, 0.75), "flag": (0.1, 0.25), "stripes": (0.02, 0.8),
            "tassel": (0.28, 0.52), "blue": (0.85, 0.25), "lower blue": (0.85, 0.5),
        },
        "cap > blue, cap > flag, cap > stripes, cap > lower blue, cheek > blue, cheek > flag, "
        "cheek > lower blue, cheek > stripes, cheek > tassel, chest > flag, chest > lower blue, "
        "shoulder > stripes",
    ),
)  # fmt: skip
