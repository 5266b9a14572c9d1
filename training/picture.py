# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes the picture in README.md: a photo, its depth map, and its 3D scene seen from aside.

``python -m training.picture`` takes a minute. It starts a service on the built-in model and sends
it requests as any client would. The photo comes with scikit-learn (see REUSE.toml for its licence).
"""

from __future__ import annotations

import argparse
import io
import math
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from app.rendering.splats import Splats
from benchmarks.service import PROJECT, Service
from tests import ply
from tests.reference_splats import View, draw

OUT = PROJECT / "docs" / "images" / "depth.jpg"
PHOTO = "china.jpg"
#: The scene is seen from so many degrees to the side of the camera, around its middle.
ASIDE = 8
_NEAR, _FAR = 1, 2.5
_FOV = 60
_WIDTH, _HEIGHT = 480, 320
_GAP = 8
_QUALITY = 85
_COLOUR_OF_DC = 0.28209479  # as docs/api.md has it
# The scene is shown so much larger than the photo, which leaves out its rim.
_CLOSER = 1.12


def scene_from_aside(data: bytes) -> Image.Image:
    """Draw a scene in PLY as seen from ``ASIDE`` degrees to the side of the camera."""
    fields = ply.read(data)

    def columns(*names: str) -> NDArray[np.float32]:
        return np.stack([fields[name] for name in names], axis=1)

    splats = Splats(
        centres=columns("x", "y", "z"),
        colours=0.5 + _COLOUR_OF_DC * columns("f_dc_0", "f_dc_1", "f_dc_2"),
        deviations=np.exp(columns("scale_0", "scale_1", "scale_2")),
        rotations=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        opacity=(1 / (1 + np.exp(-fields["opacity"]))).astype(np.float32),
    )
    angle = math.radians(ASIDE)
    cosine, sine = math.cos(angle), math.sin(angle)
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    pivot = np.array([0, 0, float(np.median(splats.centres[:, 2]))])
    focal = _CLOSER * _WIDTH / 2 / math.tan(math.radians(_FOV / 2))
    view = View(_WIDTH, _HEIGHT, focal, rotation, pivot - rotation @ pivot)
    colours, coverage = draw(splats, view)
    colours += 1 - coverage[:, :, None]
    return Image.fromarray((colours.clip(0, 1) * 255).round().astype(np.uint8))


def strip(service: Service, photo: Image.Image) -> Image.Image:
    """Put the photo, its depth map in colours, and its scene from aside next to each other."""
    file = io.BytesIO()
    photo.save(file, "png")
    files = {"image": ("photo.png", file.getvalue())}
    depth = service.post("/api/depth", files=files, data={"colormap": "inferno"})
    depth.raise_for_status()
    scene = service.post(
        "/api/splat", files=files, data={"fov": str(_FOV), "depth_range": f"{_NEAR},{_FAR}"}
    )
    scene.raise_for_status()
    together = Image.new("RGB", (3 * _WIDTH + 2 * _GAP, _HEIGHT), "white")
    pictures = [photo, Image.open(io.BytesIO(depth.content)), scene_from_aside(scene.content)]
    for place, image in enumerate(pictures):
        fitting = image.convert("RGB").resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
        together.paste(fitting, (place * (_WIDTH + _GAP), 0))
    return together


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    photo = Image.fromarray(load_sample_image(PHOTO))
    with tempfile.TemporaryDirectory() as folder:
        service = Service(
            Path(folder) / "log",
            ENABLED_FAMILIES="depth",
            DEPTH_MODEL="builtin-depth",
            HF_HUB_CACHE=Path(folder) / "hub",
            HF_HUB_OFFLINE=1,
        )
        with service.started():
            service.wait_until_ready()
            together = strip(service, photo)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    together.save(arguments.out, quality=_QUALITY, optimize=True)


if __name__ == "__main__":
    main()
