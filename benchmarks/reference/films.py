# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes a 3D film as the replaced video service does: with a PNG file for each step of each frame.

``python -m benchmarks.reference.films CACHE MODEL FILM FRAMES`` prints the frames a second.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.reference.folders import folder
from benchmarks.reference.networks import Depth

Picture = NDArray[np.uint8]
_RATE = 25


def loop(depth: Depth, film: Path, frames: int) -> float:
    """Work on the first frames of a film, which has more; return frames a second."""
    with av.open(str(film)) as container, tempfile.TemporaryDirectory() as scratch:
        pictures = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        depth(Image.fromarray(next(pictures)))  # a warm-up
        place, began = Path(scratch), time.monotonic()
        names = [f"{number:04}.png" for number in range(frames)]
        for name in names:
            cv2.imwrite(str(place / f"frame_{name}"), next(pictures)[..., ::-1])
        for name in names:
            image = Image.open(place / f"frame_{name}").convert("RGB")
            pair = _remapped(np.asarray(image), np.asarray(depth(image)))
            cv2.imwrite(str(place / f"pair_{name}"), pair[..., ::-1])
        _encode([place / f"pair_{name}" for name in names], place / "pair.mp4")
        return frames / (time.monotonic() - began)


def _remapped(picture: Picture, depth: Picture, divergence: float = 2.0) -> Picture:
    """Both eyes' views side by side: each pixel's colour from where its own depth points to."""
    height, width = depth.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height))
    moved = depth.astype(np.float32) / 255 * (divergence / 100 * width) / 2
    views = [
        cv2.remap(picture, columns + eye * moved, rows.astype(np.float32), cv2.INTER_LINEAR)
        for eye in (1, -1)
    ]
    return np.hstack(views).astype(np.uint8)


def _encode(files: Sequence[Path], out: Path) -> None:
    with av.open(str(out), "w") as container:
        options = {"preset": "medium", "crf": "18"}
        stream = container.add_stream("libx264", Fraction(_RATE), options=options)
        stream.pix_fmt = "yuv420p"
        for number, path in enumerate(files):
            pixels = np.asarray(cv2.imread(str(path)), np.uint8)
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "bgr24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    cache, model, film, frames = sys.argv[1:]
    print(loop(Depth(folder(Path(cache), model)), Path(film), int(frames)))
