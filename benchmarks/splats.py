# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares splats and a plain displaced mesh with true views of the project's own scenes.

``python -m benchmarks.splats --seeds 0-9`` prints a table: for each scene the number of splats a
pixel and the PSNR, in dB, of the view from the camera's own place; for views from aside the share
of holes, in percent, and the PSNR of splats and of the mesh. ``--blurred`` lifts a disparity
as soft as that of a network.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from app.rendering.background import Floats
from app.rendering.splats import lift
from tests.reference_splats import View, aside, draw, draw_mesh, in_photo, psnr
from training.scenes import imagine, render

ANGLES = (5, -15, 15)
SKY = 200  # metres
#: of a disparity of half the photo's size that is enlarged
SOFTNESS = 3


def blurred(disparity: Floats) -> Floats:
    """Make a disparity as soft as one of half the size."""
    height, width = disparity.shape
    small = cv2.resize(disparity, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 0.7)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(large, small.min(), small.max()).astype(np.float32)


def measure(seed: int, width: int, is_blurred: bool) -> list[float]:
    """Return a row of the table."""
    height = width * 3 // 4
    scene = imagine(seed)
    photo = render(scene, width, height)
    disparity: Floats = np.maximum(photo.disparity, np.float32(1 / SKY))
    if is_blurred:
        disparity = blurred(disparity)
    focal = scene.camera.focal * width
    front = View.front(width, height, focal)
    softness = SOFTNESS if is_blurred else 0
    splats = lift(photo.pixels, disparity, focal, softness, 2 * width * height)
    row = [len(splats) / disparity.size, psnr(draw(splats, front)[0], photo.pixels / 255)]
    for degrees in ANGLES:
        other, view = aside(scene, degrees, 1 / float(disparity.mean()), front)
        true = render(other, width, height, photo.exposure)
        seen = in_photo(np.maximum(true.disparity, 1 / SKY), view, front)
        picture, coverage = draw(splats, view)
        mesh = draw_mesh(photo.pixels, disparity, front, view, finer=2)
        pixels = true.pixels[seen] / 255
        row.append(100 * float((coverage[seen] < 0.5).mean()))
        row += [psnr(picture[seen], pixels), psnr(mesh[seen], pixels)]
    return row


def main() -> None:
    """Print the table and its mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-9", help="first and last scene")
    parser.add_argument("--width", type=int, default=240)
    parser.add_argument("--blurred", action="store_true")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split("-"))
    names = ["size", "front"]
    names += [f"{kind}{angle:+d}" for angle in ANGLES for kind in ("holes", "splats", "mesh")]
    print("scene", *(f"{name:>9}" for name in names))
    rows = []
    for seed in range(first, last + 1):
        rows.append(measure(seed, options.width, options.blurred))
        print(f"{seed:5}", *(f"{value:9.2f}" for value in rows[-1]), flush=True)
    print(" mean", *(f"{value:9.2f}" for value in np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
