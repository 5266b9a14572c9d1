# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes the picture in README.md: a rendered scene and its depth maps by builtin-depth.

``python -m training.picture`` takes half a minute. It starts a service and sends it requests as any
client would.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.service import PROJECT, Service
from training import scenes
from training.scenes.dataset import HELD_OUT

OUT = PROJECT / "docs" / "images" / "depth.jpg"
#: This scene was not used in training, and it has near things in front of far ones.
SCENE = 88
_WIDTH, _HEIGHT = 480, 360
_GAP = 8
_QUALITY = 88


def strip(service: Service, photo: Image.Image) -> Image.Image:
    """Put the photo, its depth map, and the map in colours side by side."""
    file = io.BytesIO()
    photo.save(file, "jpeg", quality=95)
    maps = [_map(service, file.getvalue(), colormap) for colormap in ("gray", "inferno")]
    together = Image.new("RGB", (3 * _WIDTH + 2 * _GAP, _HEIGHT), "white")
    for place, image in enumerate([photo, *maps]):
        together.paste(image, (place * (_WIDTH + _GAP), 0))
    return together


def _map(service: Service, photo: bytes, colormap: str) -> Image.Image:
    answer = service.post(
        "/api/depth", files={"image": ("scene.jpg", photo)}, data={"colormap": colormap}
    )
    answer.raise_for_status()
    return Image.open(io.BytesIO(answer.content))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=int, default=SCENE, help="number of the held-out scene")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    scene = scenes.imagine(HELD_OUT + arguments.scene)
    photo = Image.fromarray(scenes.render(scene, _WIDTH, _HEIGHT).pixels)
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
