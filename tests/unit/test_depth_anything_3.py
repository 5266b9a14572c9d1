# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Depth Anything 3 against numbers of its published implementation.

tests/data/depth_anything_3.npz has what github.com/ByteDance-Seed/Depth-Anything-3 at commit
2c21ea849ceec7b469a3e62ea0c0e270afc3281a computes on a CPU in float32 from the tensors and inputs of
``tests.depth3``: its DinoVisionTransformer (of their width and depth) and its DualDPT or DPT, loaded
with those tensors, were given each input as one view. "-depth" is the logarithm of the depth, "-sky"
the sky map, and "-filled" the logarithm of the depth after its compute_sky_mask and
set_sky_regions_to_max_depth. Of each map every third row and column is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from app.engines.base import LoadError, Unsupported
from app.errors import BadRequest, TooLarge
from app.hub.store import Checkpoint
from app.models.base import NetworkId, describe_checkpoint
from app.models.depth_anything_3 import EDGE, DepthAnything3
from app.pictures.canvas import HostImages
from benchmarks.models import checkpoint_of, cpu_loader
from config.values import EngineSetting, PrecisionSetting
from tests import depth3
from tests.conftest import convert_all
from tests.pictures import picture, upright

NUMBERS = np.load(Path(__file__).parents[1] / "data" / "depth_anything_3.npz")
KINDS = ("views", "mono", "metric")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoints, two of them converted for OpenVINO."""
    folder = tmp_path_factory.mktemp("depth3")
    specs = [depth3.write(folder / kind, kind) for kind in KINDS]
    convert_all(specs[:2], folder, half=False)
    return folder


@cache
def loaded(folder: Path, kind: str, engine: EngineSetting, precision: PrecisionSetting) -> Any:
    spec = depth3.row(folder / kind, kind)
    id = NetworkId(spec, "image")
    found = cpu_loader(engine, precision).load(id, checkpoint_of(spec, folder), "cpu")
    found.network.to_device("cpu")
    return found


def family_of(folder: Path) -> DepthAnything3:
    spec = depth3.row(folder, "views")
    family = describe_checkpoint(spec, Checkpoint(folder, "main", folder))
    assert isinstance(family, DepthAnything3)
    return family


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("size", depth3.SIZES)
@pytest.mark.parametrize("kind", ["views", "mono"])
def test_the_published_implementation_gives_the_same(
    folder: Path, kind: str, size: tuple[int, int], engine: EngineSetting
) -> None:
    (output,) = loaded(folder, kind, engine, "fp32").infer(depth3.pixels(size))
    name = f"{kind}-{size[0]}x{size[1]}"
    depth = output if kind == "views" else output[0]
    assert depth.shape == size
    expected = NUMBERS[f"{name}-depth"]
    assert np.std(expected) > 0.2, "a flat map would prove nothing"
    np.testing.assert_allclose(np.log(depth)[::3, ::3], expected, atol=1e-4)
    if kind == "mono":
        np.testing.assert_allclose(output[1][::3, ::3], NUMBERS[f"{name}-sky"], atol=1e-4)


@pytest.mark.parametrize("kind", ["views", "mono"])
def test_a_batch_gives_what_each_gives_alone(folder: Path, kind: str) -> None:
    network = loaded(folder, kind, "openvino", "fp32")
    batch = np.concatenate([depth3.pixels((70, 98)), 0.5 * depth3.pixels((70, 98))])
    alone = np.concatenate([network.infer(each[None]) for each in batch])
    np.testing.assert_allclose(network.infer(batch), alone, rtol=1e-4, atol=1e-4)


def test_bf16_does_not_leave_steps_in_the_map(folder: Path) -> None:
    network = loaded(folder, "views", "openvino", "bf16")
    (depth,) = network.infer(depth3.pixels((126, 168)))
    expected = NUMBERS["views-126x168-depth"]
    assert np.abs(np.log(depth)[::3, ::3] - expected).mean() < 0.05 * np.std(expected)
    assert len(np.unique(depth)) > 0.9 * depth.size


@pytest.mark.parametrize("size", depth3.SIZES[1:])
def test_sky_gets_the_published_distance_in_metres_and_no_disparity(
    folder: Path, size: tuple[int, int]
) -> None:
    found = loaded(folder, "metric", "torch", "fp32")
    (output,) = found.infer(depth3.pixels(size))
    metres = found.family.metres(output, 600.0)
    name = f"mono-{size[0]}x{size[1]}"
    np.testing.assert_allclose(
        np.log(metres)[::3, ::3], NUMBERS[f"{name}-filled"] + np.log(2), atol=1e-4
    )
    disparity = found.family.disparity(output)
    sky = output[1] >= 0.3
    assert not disparity[sky].any()
    assert disparity[~sky].min() > 0
    assert np.isfinite(disparity).all()
    assert disparity.dtype == metres.dtype == np.float32


def test_a_few_pixels_are_no_sky(folder: Path) -> None:
    family = loaded(folder, "metric", "torch", "fp32").family
    output = np.ones((2, 20, 20), np.float32)
    output[1] = 0
    output[1, 0, :10] = 1
    assert (family.disparity(output) == 1).all()
    output[1] = 1 - output[1]  # nearly all is sky, as with a blank picture
    assert (family.disparity(output) == 1).all()


def test_near_is_large(folder: Path) -> None:
    family = loaded(folder, "views", "torch", "fp32").family
    distance = np.array([[1, 2, 4]], np.float32)
    np.testing.assert_allclose(family.disparity(distance), [[1, 0.5, 0.25]])


def test_metres_need_a_metric_model_and_a_focal_length(folder: Path) -> None:
    metric, views = (loaded(folder, kind, "torch", "fp32").family for kind in ("metric", "views"))
    assert metric.is_metric
    assert not views.is_metric
    assert not loaded(folder, "mono", "torch", "fp32").family.is_metric
    with pytest.raises(BadRequest, match="focal length"):
        metric.metres(np.ones((2, 14, 14), np.float32), None)
    with pytest.raises(NotImplementedError):
        views.metres(np.ones((14, 14), np.float32), 500.0)


# As the published input processor computes them for its process_res of 504.
@pytest.mark.parametrize(
    ("photo", "size"),
    [
        ((1600, 1200), (504, 378)),
        ((1200, 1600), (378, 504)),
        ((1920, 1080), (504, 280)),
        ((504, 371), (504, 378)),  # of two multiples of 14, the larger one
        ((504, 370), (504, 364)),
        ((641, 479), (504, 378)),
        ((300, 200), (504, 336)),
        ((90, 400), (112, 504)),
        ((1000, 50), (504, 28)),
        ((1, 1), (504, 504)),
    ],
)
def test_input_size(folder: Path, photo: tuple[int, int], size: tuple[int, int]) -> None:
    assert family_of(folder / "views").input_size(*photo) == size


def test_beyond_twenty_to_one_is_refused(folder: Path) -> None:
    with pytest.raises(TooLarge, match="at most 20:1"):
        family_of(folder / "views").input_size(2001, 100)
