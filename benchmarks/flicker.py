# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures how steady the depth of films is: ``python -m benchmarks.flicker``.

Shots of ``training.scenes.films``, whose depth is known, are looked at by a network: the built-in
one, or an imitation of one, which blurs the true disparity and gives each frame another scale,
shift and noise. Its maps are spread frame by frame, each over its own range, and by the service's
``Steady``. The figures, in levels of 255, lower is better:

- **flicker**: of places that stand still in the world, how much the error of their depth changes
  from a frame to the next (root mean square), away from the edges of things. It is the temporal
  alignment error of Video Depth Anything (Chen et al., 2025), with the true depth in place of a
  reprojected one.
- **drift**: the deviation of that error over the whole shot.
- **order**: the share of pairs of pixels, of which one is 10 % nearer, in the right order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pictures.decode import Picture
from app.video.steady import Steady
from benchmarks import models
from benchmarks.models import DepthModel
from training.metrics import ordinal
from training.scenes.films import View, film, is_inside, places, seen

FloatArray = NDArray[np.float32]
#: makes the maps of a shot
Network = Callable[[Sequence[View]], list[FloatArray]]
RATE = Fraction(25)
_LEVELS = 255


@dataclass(frozen=True)
class Figures:
    """Of one shot."""

    flicker: float
    drift: float
    order: float


def imitated(views: Sequence[View]) -> list[FloatArray]:
    """Maps as a network gives them: soft, and of another scale, shift and noise in each frame."""
    rng = np.random.default_rng(len(views))
    made = []
    for view in views:
        true = np.minimum(view.rendering.disparity, 2)
        height, width = true.shape
        soft = cv2.GaussianBlur(true, (0, 0), max(width, height) / 150)
        coarse = rng.normal(0, 1, (height // 8 + 1, width // 8 + 1)).astype(np.float32)
        noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        noisy = soft + 0.015 * float(np.ptp(soft)) * noise
        made.append((rng.uniform(0.85, 1.15) * noisy + rng.uniform(-0.1, 0.1)).astype(np.float32))
    return made


def built_in(views: Sequence[View]) -> list[FloatArray]:
    """Maps of the service's built-in network, in the size of the frames."""
    model: DepthModel = models.load(Path(), "builtin-depth")
    made = []
    for view in views:
        rows, columns = view.rendering.disparity.shape
        picture = Picture(Image.fromarray(view.rendering.pixels), (columns, rows))
        output = model.infer(model.prepare(picture)[None])[0]
        map_ = model.family.disparity(output)
        made.append(cv2.resize(map_, (columns, rows), interpolation=cv2.INTER_AREA))
    return made


def alone(maps: Sequence[FloatArray]) -> list[FloatArray]:
    """Each map spread over its own range."""
    return [(each - each.min()) / max(float(np.ptp(each)), 1e-6) for each in maps]


def steadied(maps: Sequence[FloatArray], pictures: Sequence[NDArray[np.uint8]]) -> list[FloatArray]:
    """The maps as a film shows them."""
    steady = Steady(RATE)
    done: list[FloatArray] = []
    for each, picture in zip(maps, pictures, strict=True):
        done += steady.push(each, picture)
    return done + steady.flush()


def figures(views: Sequence[View], maps: Sequence[FloatArray]) -> Figures:
    """Measure the maps, 0 to 1, of a shot."""
    known = places(views[0])
    truth, shown = np.full((2, len(views), known.shape[1]), np.nan)
    for number, (view, map_) in enumerate(zip(views, maps, strict=True)):
        rows, columns, is_seen = seen(view, known)
        is_seen &= is_inside(view)[rows, columns]
        truth[number] = np.where(is_seen, view.rendering.disparity[rows, columns], np.nan)
        shown[number] = np.where(is_seen, map_[rows, columns], np.nan)
    there = np.isfinite(truth)
    slope, offset = np.polyfit(truth[there], shown[there], 1)
    error = _LEVELS * (shown - slope * truth - offset)
    steps = np.diff(error, axis=0)
    mean = np.nanmean(error[:, there.all(0)], axis=0)
    return Figures(
        float(np.sqrt(np.nanmean(np.square(steps)))),
        float(np.sqrt(np.mean(np.square(error[:, there.all(0)] - mean)))),
        float(
            np.nanmean(
                [
                    ordinal(map_, view.rendering.disparity)
                    for view, map_ in zip(views, maps, strict=True)
                ]
            )
        ),
    )


def grainy(view: View, rng: np.random.Generator, deviation: float = 4) -> View:
    """A frame with a sensor's noise."""
    clean = view.rendering.pixels
    pixels = np.clip(np.rint(clean + rng.normal(0, deviation, clean.shape)), 0, 255)
    return replace(view, rendering=replace(view.rendering, pixels=pixels.astype(np.uint8)))


def rows(
    network: Network, seeds: Sequence[int], frames: int, size: tuple[int, int], *, is_still: bool
) -> Iterator[tuple[Figures, Figures, float]]:
    """For each seed the figures frame by frame and steadied, and milliseconds a frame."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        views = [grainy(view, rng) for view in film(seed, frames, *size, is_still=is_still)]
        pictures = [view.rendering.pixels for view in views]
        maps = network(views)
        began = time.process_time()
        steady = steadied(maps, pictures)
        took = 1000 * (time.process_time() - began) / frames
        yield figures(views, alone(maps)), figures(views, steady), took


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="How steady the depth of films is.")
    parser.add_argument("--seeds", default="900001-900006")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--network", choices=("imitated", "built-in"), default="imitated")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split("-"))
    width, height = map(int, options.size.split("x"))
    network = imitated if options.network == "imitated" else built_in
    print("| shot | flicker | steadied | ratio | drift | steadied | order | steadied | ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for is_still in (False, True):
        table = []
        seeds = range(first, last + 1)
        for before, after, took in rows(
            network, seeds, options.frames, (width, height), is_still=is_still
        ):
            table.append(
                [
                    *(before.flicker, after.flicker, before.flicker / after.flicker),
                    *(before.drift, after.drift, before.order, after.order, took),
                ]
            )
            print(f"| {_cells(table[-1])} |", flush=True)
        name = "nothing moves" if is_still else "camera and a thing move"
        print(f"| {name} (mean) | {_cells(np.mean(table, axis=0))} |", flush=True)


def _cells(values: Sequence[float]) -> str:
    return " | ".join(f"{value:.3f}" if value < 1 else f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()
