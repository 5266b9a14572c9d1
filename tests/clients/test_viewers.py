# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests files of splats and meshes with the programs that people open them with.

gaussian-splats-3d is what ImmichVR's backend converts with, Spark is its viewer; three.js is what
most pages open glTF with.
"""

from __future__ import annotations

import base64
import io
import json
import math
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.rendering.mesh import glb
from app.rendering.splat_files import SplatFormat, encode
from app.rendering.splats import Splats, lift
from tests.clients.conftest import HERE, Viewers
from training.scenes import imagine, render

FORMATS = get_args(SplatFormat)
WIDTH, HEIGHT = 160, 120
CONVERSION_SECONDS = 200


@dataclass(frozen=True)
class Photo:
    """A photo whose depth is known."""

    pixels: NDArray[np.uint8]
    disparity: NDArray[np.float32]
    focal_length: float

    @property
    def camera(self) -> dict[str, float]:
        height, width = self.disparity.shape
        return {"width": width, "height": height, "focalLength": self.focal_length}


@cache
def photo(seed: int = 9017) -> Photo:
    scene = imagine(seed)
    rendering = render(scene, WIDTH, HEIGHT)
    far = np.float32(1 / 200)  # the sky's
    disparity = np.maximum(rendering.disparity, far)
    return Photo(rendering.pixels, disparity, scene.camera.focal * WIDTH)


def cloud(count: int) -> Splats:
    """Make splats of all shapes in front of the camera; each can be known by its colour."""
    random = np.random.default_rng(7)
    splats = Splats.empty(count)
    splats.centres[:] = random.uniform((-4, -3, 2), (4, 3, 9), (count, 3))
    splats.deviations[:] = np.exp(random.uniform(-5, -1, (count, 3)))
    rotations = random.normal(size=(count, 4))
    splats.rotations[:] = rotations / np.linalg.norm(rotations, axis=1, keepdims=True)
    places = np.stack(np.unravel_index(random.permutation(1000)[:count], (10, 10, 10)), 1)
    splats.colours[:] = (places * 25 + 12) / 255
    return splats


def lifted(taken: Photo) -> Splats:
    return lift(taken.pixels, taken.disparity, taken.focal_length, 0, 1_200_000)


def psnr(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Return how much a picture looks like another, in dB."""
    error = (picture.astype(float) - reference) ** 2
    return 10 * math.log10(255**2 / float(error.mean()))


def covariances(deviations: NDArray[Any], rotations: NDArray[Any]) -> NDArray[Any]:
    """Compute shapes and directions of Gaussians, [n, 3, 3]; quaternions are w, x, y, z."""
    w, x, y, z = (rotations / np.linalg.norm(rotations, axis=1, keepdims=True)).T
    axes = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    scaled = axes * deviations[:, None, :]
    shapes: NDArray[Any] = scaled @ scaled.transpose(0, 2, 1)
    return shapes


def opened(picture: str) -> NDArray[np.uint8]:
    data = base64.b64decode(picture.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def converted(splats: Splats, format: SplatFormat, folder: Path) -> dict[str, Any]:
    """Convert a file of splats as ImmichVR's backend does, and read what came out."""
    file = folder / f"splats.{format}"
    file.write_bytes(encode(splats, format))
    command = ["node", "--no-deprecation", str(HERE / "convert.mjs"), str(file)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=CONVERSION_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def by_colour(colours: NDArray[Any]) -> NDArray[Any]:
    """Return the order of the splats of ``cloud`` by colour, whichever format rounded it."""
    places = np.rint((colours[:, :3] - 12) / 25).astype(int)
    return np.argsort(places @ [100, 10, 1])


def in_spark(
    viewers: Viewers, file: bytes, format: SplatFormat, taken: Photo, options: Any = None
) -> dict[str, Any]:
    """Show a file in Spark, from the photo's camera and from beside it."""
    viewers.files[f"photo.{format}"] = file
    beside = [0.3, 0.1, 0], [0, 0, -3]  # a place, and where one looks from there
    arguments = [f"photo.{format}", format != "spz", taken.camera, *beside, options or {}]
    shown: dict[str, Any] = viewers.page.evaluate("(all) => showSplats(...all)", arguments)
    return shown


@pytest.mark.parametrize("format", FORMATS)
def test_immichvr_converts_every_splat(format: SplatFormat, tmp_path: Path) -> None:
    splats = cloud(500)
    answer = converted(splats, format, tmp_path)
    assert answer["count"] == len(splats)
    found = {name: np.array(values) for name, values in answer.items() if name != "count"}
    order, expected = by_colour(found["colours"]), by_colour(splats.colours * 255)
    # In spz x is right, y up and z backward.
    turn = np.diag([1, -1, -1] if format == "spz" else [1, 1, 1])
    centres = found["centres"][order] @ turn
    np.testing.assert_allclose(centres, splats.centres[expected], atol=2e-3)
    colours = found["colours"][order]
    rounded = {"ply": 0.1, "splat": 0.1, "spz": 2.5}[format]
    np.testing.assert_allclose(colours[:, :3], splats.colours[expected] * 255, atol=rounded)
    np.testing.assert_allclose(colours[:, 3], splats.opacity * 255, atol=1.5)
    shapes = covariances(found["deviations"][order], found["rotations"][order])
    difference = turn @ shapes @ turn - covariances(
        splats.deviations[expected], splats.rotations[expected]
    )
    size = (splats.deviations[expected] ** 2).max(axis=1)
    error = np.abs(difference).max(axis=(1, 2)) / size
    assert error.max() < {"ply": 0.01, "splat": 0.05, "spz": 0.1}[format]


def test_immichvr_keeps_every_splat_of_a_photo(tmp_path: Path) -> None:
    splats = lifted(photo())
    assert converted(splats, "ply", tmp_path)["count"] == len(splats)


def test_spark_shows_the_photo(viewers: Viewers) -> None:
    taken = photo()
    splats = lifted(taken)
    shown = {}
    for format in FORMATS:
        shown[format] = in_spark(viewers, encode(splats, format), format, taken)
        assert shown[format]["count"] == len(splats)
        assert psnr(opened(shown[format]["front"]), taken.pixels) > 30
    # The files also have the same shapes, which are seen better from aside.
    exact = opened(shown["ply"]["beside"])
    assert psnr(exact, taken.pixels) < 28
    assert psnr(opened(shown["splat"]["beside"]), exact) > 35
    assert psnr(opened(shown["spz"]["beside"]), exact) > 30


def test_renderers_that_blur_show_the_photo(viewers: Viewers) -> None:
    """The first viewers and gaussian-splats-3d widen small splats without making them fainter."""
    taken = photo()
    options = {"preBlurAmount": 0.3, "blurAmount": 0}
    shown = in_spark(viewers, encode(lifted(taken), "ply"), "ply", taken, options)
    assert psnr(opened(shown["front"]), taken.pixels) > 29


@pytest.mark.parametrize("max_vertices", [100_000, 5_000])
def test_three_shows_the_mesh(max_vertices: int, viewers: Viewers) -> None:
    taken = photo()
    file = glb(taken.pixels, taken.disparity, taken.focal_length, max_vertices)
    viewers.files["photo.glb"] = file
    shown = viewers.page.evaluate("(all) => showMesh(...all)", ["photo.glb", taken.camera])
    assert shown["materials"] == ["MeshBasicMaterial"]  # which no light changes
    assert 0.8 * min(max_vertices, WIDTH * HEIGHT) < shown["vertices"][0] <= max_vertices
    assert psnr(opened(shown["front"]), taken.pixels) > 35
