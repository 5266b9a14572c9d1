# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures stereo pairs against the true views of rendered scenes.

``python -m benchmarks.stereo`` renders scenes of ``training.scenes`` from the photo's place and
from both eyes' places, makes the eyes' views from the photo and its disparity, and compares. It
prints a table as Markdown: for each map and divergence, the service's own method beside the plain
remap of the service that Twinlens replaces, which takes the colour of each point from where its own
disparity points to.

The maps are the exact disparity at the photo's size ("exact"); the same shrunk to a quarter, as
networks give them ("coarse"); and this enlarged to the photo's size again, as clients send back
what the service gave them ("enlarged"). What the photo does not show because it lies outside of its
frame is not compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from app.rendering import maps, stereo
from app.rendering.maps import FloatArray, Levels
from training.scenes import imagine, render
from training.scenes.render import camera_axes, camera_place

#: A pixel is bad if one of its channels is off by more than this many levels of 255.
BAD_LEVELS = 25
#: By how much the coarse maps are smaller than the photo.
COARSE = 4

Mask = NDArray[np.bool_]
#: Makes the view of an eye: from the photo, its disparity, the divergence in percent of the width
#: between the eyes, the disparity (0..1) at the distance of the screen, and -1 (left) or 1.
Method = Callable[[Levels, FloatArray, float, float, int], Levels]


@dataclass(frozen=True)
class Case:
    """A photo and what an eye truly sees."""

    photo: Levels
    disparity: FloatArray
    #: disparity, 0..1, at which points have the same place in both views
    screen: float
    #: -1: left, 1: right
    eye: int
    truth: Levels
    #: which pixels of the eye's view lie within the photo's frame
    inside: Mask
    #: which of these the photo does not show, because something hides them there; without the
    #: outermost column of each gap, where half a pixel decides what is seen
    hidden: Mask


def cases(seed: int, width: int, height: int, divergence: float) -> Iterator[Case]:
    """Yield both eyes' cases of a scene."""
    scene = imagine(seed)
    photo = render(scene, width, height)
    low, high = float(photo.disparity.min()), float(photo.disparity.max())
    focal = scene.camera.focal * max(width, height)
    # The distance between the eyes that gives the nearest point this much more parallax than the
    # farthest one. Parallel eyes see infinity at the same place, which is the screen here.
    between = divergence / 100 * width / focal / (high - low)
    columns = np.arange(width)
    for eye in (-1, 1):
        x, up, z = camera_place(scene.camera) + eye * between / 2 * camera_axes(scene.camera)[0]
        camera = replace(scene.camera, x=float(x), height=float(up), z=float(z))
        seen = render(replace(scene, camera=camera), width, height, photo.exposure)
        moved = -eye * focal * between / 2 * seen.disparity
        source = columns - moved
        inside = (source >= 0) & (source <= width - 1)
        rows = np.broadcast_to(np.arange(height)[:, None], source.shape)
        there = photo.disparity[rows, np.clip(np.rint(source), 0, width - 1).astype(int)]
        behind = inside & (there - seen.disparity > 0.05 * (high - low))
        hidden = cv2.erode(behind.astype(np.uint8), np.ones((1, 3), np.uint8)) > 0
        screen = -low / (high - low)
        yield Case(photo.pixels, photo.disparity, screen, eye, seen.pixels, inside, hidden)


def own(photo: Levels, disparity: FloatArray, divergence: float, screen: float, eye: int) -> Levels:
    """The service's method."""
    return stereo.view(photo, disparity, divergence, screen, "left" if eye < 0 else "right")


def remap(
    photo: Levels, disparity: FloatArray, divergence: float, screen: float, eye: int
) -> Levels:
    """The replaced service's method: each point looks up the photo by its own disparity."""
    height, width = photo.shape[:2]
    nearness = maps.normalised(maps.enlarged(disparity, (width, height)))
    moved = -eye * (nearness - screen) * divergence / 100 * width / 2
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    looked_up = cv2.remap(
        photo, (x - moved).astype(np.float32), y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(looked_up, np.uint8)


METHODS: dict[str, Method] = {"remap": remap, "own": own}


def kinds(disparity: FloatArray) -> dict[str, FloatArray]:
    """The maps of a scene, from the exact one."""
    height, width = disparity.shape
    coarse = maps.shrunk(disparity, (width // COARSE, height // COARSE))
    enlarged = maps.enlarged(coarse, (width, height))
    return {"exact": disparity, "coarse": coarse, "enlarged": enlarged}


@dataclass
class Score:
    """Sums over all cases."""

    squares: float = 0
    pixels: int = 0
    bad: int = 0
    hidden_squares: float = 0
    hidden_pixels: int = 0

    def add(self, case: Case, view: Levels) -> None:
        """Compare a view with what the eye sees."""
        off = np.abs(view.astype(np.int32) - case.truth)
        squares = (off**2).mean(2)
        self.squares += float(squares[case.inside].sum())
        self.pixels += int(case.inside.sum())
        self.bad += int((off.max(2) > BAD_LEVELS)[case.inside].sum())
        self.hidden_squares += float(squares[case.hidden].sum())
        self.hidden_pixels += int(case.hidden.sum())

    def cells(self) -> tuple[str, ...]:
        """PSNR, share of bad pixels, PSNR of what the photo does not show, and its share."""
        return (
            f"{_psnr(self.squares, self.pixels):.2f}",
            f"{100 * self.bad / self.pixels:.2f}",
            f"{_psnr(self.hidden_squares, self.hidden_pixels):.2f}",
            f"{100 * self.hidden_pixels / self.pixels:.2f}",
        )


def _psnr(squares: float, pixels: int) -> float:
    return float(10 * np.log10(255**2 * max(pixels, 1) / max(squares, 1e-9)))


def table(seeds: range, width: int, height: int, divergences: list[float]) -> Iterator[str]:
    """Yield the lines of the table."""
    head = ("divergence", "map", "method", "PSNR, dB", "bad, %", "PSNR of gaps, dB", "gaps, %")
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for divergence in divergences:
        scores: dict[tuple[str, str], Score] = {}
        for seed in seeds:
            for case in cases(seed, width, height, divergence):
                given = kinds(case.disparity)
                for kind, disparity in given.items():
                    for name, method in METHODS.items():
                        view = method(case.photo, disparity, divergence, case.screen, case.eye)
                        scores.setdefault((kind, name), Score()).add(case, view)
        for (kind, name), score in sorted(scores.items()):
            yield f"| {divergence:g} | {kind} | {name} | {' | '.join(score.cells())} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--size", default="640x480", help="of the photos, pixels")
    parser.add_argument("--divergence", type=float, nargs="+", default=[2.0, 5.0])
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    for line in table(range(arguments.scenes), width, height, arguments.divergence):
        print(line, flush=True)


if __name__ == "__main__":
    main()
