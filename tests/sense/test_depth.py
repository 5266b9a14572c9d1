# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that in maps of scenes whose depth is known, near things are brighter."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.pictures.decode import decode, in_full
from benchmarks import models
from benchmarks.models import DepthModel
from benchmarks.service import Service
from tests.pictures import encoded
from training.metrics import ordinal
from training.photographs import motorcycle, photographs
from training.scenes import Rendering, imagine, render
from training.scenes.dataset import HELD_OUT

SCENES = 100
#: Shares of pairs in the right order in photographs, a little below those of the model's card; of
#: the marked ones also by how much they exceed those of a map that calls lower pixels nearer.
MOTORCYCLE = 0.75
DEVELOPMENT, KEPT_BACK = (0.64, 0.15), (0.56, 0.02)


@cache
def scene(number: int, width: int = 480, height: int = 360) -> Rendering:
    return render(imagine(HELD_OUT + number), width, height)


def depth_map(service: Service, photo: bytes, query: str = "") -> tuple[NDArray[np.uint8], Any]:
    response = service.post(f"/api/depth{query}", files={"image": ("photo", photo)})
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content))), response


def test_what_is_nearer_is_brighter(demo: Service) -> None:
    """In held-out scenes, at least 90 % of pixel pairs that differ by 10 % keep their order."""
    shares = []
    for number in range(SCENES):
        rendering = scene(number, 320, 240)
        photo = encoded(Image.fromarray(rendering.pixels), "JPEG", quality=90)
        levels, response = depth_map(demo, photo)
        assert response.headers["X-Model-Weights"] == "built-in"
        shares.append(ordinal(levels, rendering.disparity))
    assert np.nanmean(shares) >= 0.9, shares


def test_what_is_nearer_is_brighter_in_a_photograph_with_measured_depth(demo: Service) -> None:
    """The order of pairs 10 % apart must not get worse than it is with today's weights."""
    picture, measured = motorcycle()
    levels, response = depth_map(demo, encoded(picture, "JPEG", quality=92))
    assert response.headers["X-Model-Weights"] == "built-in"
    assert ordinal(levels, measured) >= MOTORCYCLE


@pytest.mark.parametrize(
    ("kept_back", "least", "above_rows"), [(False, *DEVELOPMENT), (True, *KEPT_BACK)]
)
def test_a_map_agrees_with_what_people_see_in_photographs(
    demo: Service, kept_back: bool, least: float, above_rows: float
) -> None:
    """Pairs of points were marked by hand; a map that calls lower pixels nearer has fewer right."""
    found: list[bool] = []
    lower: list[bool] = []
    for photograph in photographs(kept_back):
        levels, _ = depth_map(demo, encoded(photograph.read(), "JPEG", quality=92))
        found += photograph.order(levels)
        lower += photograph.lower_order()
    assert len(found) >= 40
    assert np.mean(found) >= least
    assert np.mean(found) >= np.mean(lower) + above_rows


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_photo_gives_the_map_of_the_upright_one(demo: Service, orientation: int) -> None:
    upright = Image.fromarray(scene(0).pixels)
    # This is how a camera that is held in each of these ways stores the picture.
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90,
            8: Image.Transpose.ROTATE_270}[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(upright.transpose(turn), "PNG", exif=exif.tobytes())
    expected, _ = depth_map(demo, encoded(upright))
    found, _ = depth_map(demo, stored)
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


def test_engines_and_precisions_agree_on_trained_weights(conversions: Path) -> None:
    """Maps differ by at most 1 level of 255 on average, and by at most 8 in 99.9 % of pixels."""
    exact = models.load(conversions, "builtin-depth", "torch", "fp32")
    assert isinstance(exact, DepthModel)
    inputs = [exact.prepare(decode(_jpeg(scene(number)), 10**9)) for number in range(2)]
    expected = [_levels(exact, each) for each in inputs]
    for engine, precision in (
        *(("openvino", "fp32"), ("openvino", "auto"), ("openvino", "int8")),
        *(("torch", "auto"), ("torch", "bf16")),  # bf16 even where "auto" would not choose it
    ):
        model = models.load(conversions, "builtin-depth", engine, precision)  # type: ignore[arg-type]
        for each, levels in zip(inputs, expected, strict=True):
            found = _levels(model, each)
            difference = np.abs(found.astype(int) - levels)
            assert difference.mean() <= 1.0, (engine, precision)
            assert np.quantile(difference, 0.999) <= 8, (engine, precision)
            assert ordinal(found, levels + 1.0) >= 0.99, (engine, precision)


def test_scaled_decode_keeps_the_order(conversions: Path) -> None:
    model = models.load(conversions, "builtin-depth", "openvino", "auto")
    assert isinstance(model, DepthModel)
    large = scene(1, 2000, 1500)
    maps = []
    for decode_size in (in_full, model.decode_size):
        picture = decode(_jpeg(large), 10**9, decode_size)
        maps.append(_levels(model, model.prepare(picture)).astype(int))
    assert np.abs(maps[0] - maps[1]).mean() <= 1.0
    orders = [ordinal(each, maps[0]) for each in maps]
    assert orders[1] >= 0.99


def test_real_names_never_fall_back_to_it(demo: Service) -> None:
    """A model that is missing gives 503 instead of the built-in model's answer."""
    photo = {"image": ("a.png", encoded(Image.fromarray(scene(0).pixels)))}
    response = demo.post("/api/depth?model=small", files=photo)
    assert response.status_code == 503
    refused = demo.delete("/api/models/builtin-depth")
    assert (refused.status_code, refused.json()["success"]) == (500, False)
    _, response = depth_map(demo, photo["image"][1])
    assert response.headers["X-Model-Weights"] == "built-in"


def _jpeg(rendering: Rendering) -> io.BytesIO:
    return io.BytesIO(encoded(Image.fromarray(rendering.pixels), "JPEG", quality=92))


def _levels(model: Any, inputs: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the map at the network's own resolution."""
    disparity = model.infer(inputs[None])[0]
    levels: NDArray[np.uint8] = model.finish(disparity, disparity.shape[1], disparity.shape[0])
    return levels
