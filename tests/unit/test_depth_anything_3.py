# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares Depth Anything 3 with stored results of its published implementation.

The results in tests/data/depth_anything_3.npz were computed by the code of
github.com/ByteDance-Seed/Depth-Anything-3 at commit 2c21ea849ceec7b469a3e62ea0c0e270afc3281a, on a
CPU in float32. Its DinoVisionTransformer (with the tests' width and number of blocks) and its
DualDPT or DPT were loaded with the tensors of ``tests.depth3``, and got each of the inputs there as
a single view. Names with "-depth" have the logarithm of the depth, those with "-sky" the sky map,
and those with "-filled" the logarithm of the depth after the published compute_sky_mask and
set_sky_regions_to_max_depth. Every third row and column of each map is stored.
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

from app.engines.base import LoadError, Network, Unsupported
from app.engines.openvino.conversions import Conversions
from app.engines.openvino.runner import OpenVinoNetwork
from app.errors import BadRequest, TooLarge
from app.hub.store import Checkpoint
from app.models.base import NetworkId, describe_checkpoint
from app.models.depth_anything_3 import EDGE, DepthAnything3
from app.pictures.canvas import HostImages
from benchmarks.checkpoints import depth3 as checkpoints
from benchmarks.models import checkpoint_of, cpu_loader
from config.values import EngineSetting
from tests import depth3
from tests.conftest import convert_all
from tests.pictures import picture, upright

NUMBERS = np.load(Path(__file__).parents[1] / "data" / "depth_anything_3.npz")
KINDS = ("views", "mono")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoints, converted for OpenVINO."""
    folder = tmp_path_factory.mktemp("depth3")
    convert_all([depth3.write(folder / kind, kind) for kind in KINDS], folder, half=False)
    return folder


@cache
def loaded(folder: Path, kind: str, engine: EngineSetting) -> Network:
    id = NetworkId(depth3.row(folder / kind, kind), "image")
    checkpoint = checkpoint_of(id.spec, folder)
    network = cpu_loader(engine, "fp32").load(id, checkpoint, "cpu").network
    network.to_device("cpu")
    return network


def family_of(folder: Path) -> DepthAnything3:
    checkpoint = Checkpoint(folder, "main", folder)
    family = describe_checkpoint(depth3.row(folder, "views"), checkpoint)
    assert isinstance(family, DepthAnything3)
    return family


def metric_family(folder: Path) -> DepthAnything3:
    """The family of the metric checkpoint, whose network is the same as that of "mono"."""
    folder.mkdir(exist_ok=True)
    config = checkpoints.config_json(depth3.SHAPES["metric"])
    (folder / "config.json").write_text(json.dumps(config))
    return family_of(folder)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("size", depth3.SIZES)
@pytest.mark.parametrize("kind", ["views", "mono"])
def test_the_published_implementation_gives_the_same(
    folder: Path, kind: str, size: tuple[int, int], engine: EngineSetting
) -> None:
    (output,) = loaded(folder, kind, engine).infer(depth3.pixels(size))
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
    network = loaded(folder, kind, "openvino")
    batch = np.concatenate([depth3.pixels((70, 98)), 0.5 * depth3.pixels((70, 98))])
    alone = np.concatenate([network.infer(each[None]) for each in batch])
    np.testing.assert_allclose(network.infer(batch), alone, rtol=1e-4, atol=1e-4)


def test_bf16_does_not_leave_steps_in_the_map(folder: Path) -> None:
    spec = depth3.row(folder / "views", "views")
    source = describe_checkpoint(spec, checkpoint_of(spec, folder)).source("image")
    converted = Conversions(half=False, life=0).find_converted(source)
    assert converted is not None
    network = OpenVinoNetwork(converted, "bf16", threads=1, streams=1)
    network.to_device("cpu")
    (depth,) = network.infer(depth3.pixels((126, 168)))
    expected = NUMBERS["views-126x168-depth"]
    assert np.abs(np.log(depth)[::3, ::3] - expected).mean() < 0.05 * np.std(expected)
    assert len(np.unique(depth)) > 0.9 * depth.size


@pytest.mark.parametrize("size", depth3.SIZES[1:])
def test_sky_gets_the_published_distance_in_metres_and_no_disparity(
    folder: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    family = metric_family(tmp_path)
    (output,) = loaded(folder, "mono", "torch").infer(depth3.pixels(size))
    metres = family.metres(output, 600.0)
    name = f"mono-{size[0]}x{size[1]}"
    np.testing.assert_allclose(
        np.log(metres)[::3, ::3], NUMBERS[f"{name}-filled"] + np.log(2), atol=1e-4
    )
    disparity = family.disparity(output)
    sky = output[1] >= 0.3
    assert not disparity[sky].any()
    assert disparity[~sky].min() > 0
    assert np.isfinite(disparity).all()
    assert disparity.dtype == metres.dtype == np.float32


def test_a_few_pixels_are_no_sky(tmp_path: Path) -> None:
    family = metric_family(tmp_path)
    output = np.ones((2, 20, 20), np.float32)
    output[1] = 0
    output[1, 0, :10] = 1
    assert (family.disparity(output) == 1).all()
    output[1] = 1 - output[1]  # nearly all is sky, as with a blank picture
    assert (family.disparity(output) == 1).all()


def test_near_is_large(folder: Path) -> None:
    family = family_of(folder / "views")
    distance = np.array([[1, 2, 4]], np.float32)
    np.testing.assert_allclose(family.disparity(distance), [[1, 0.5, 0.25]])


def test_metres_need_a_metric_model_and_a_focal_length(folder: Path, tmp_path: Path) -> None:
    metric, views, mono = metric_family(tmp_path), *(family_of(folder / kind) for kind in KINDS)
    assert metric.is_metric
    assert not views.is_metric
    assert not mono.is_metric
    with pytest.raises(BadRequest, match="focal length"):
        metric.metres(np.ones((2, 14, 14), np.float32), None)
    with pytest.raises(NotImplementedError):
        views.metres(np.ones((14, 14), np.float32), 500.0)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (90, 400), (1000, 50)])
def test_focal_lengths_are_scaled_by_the_mean_of_both_directions(
    folder: Path, width: int, height: int
) -> None:
    """A photo must get the same focal length and metres when it is turned by 90 degrees."""
    family = family_of(folder / "mono")
    columns, rows = family.input_size(width, height)
    scale = family.input_scale(width, height)
    assert scale == pytest.approx((columns / width + rows / height) / 2)
    assert scale == pytest.approx(family.input_scale(height, width))


# The sizes that the published input processor computes for its process_res of 504.
@pytest.mark.parametrize(
    ("photo", "size"),
    [
        ((1600, 1200), (504, 378)),
        ((1200, 1600), (378, 504)),
        ((1920, 1080), (504, 280)),
        ((504, 371), (504, 378)),  # halfway between two multiples of 14: the larger one
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


def published(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize like the published input processor: to 504 pixels, then to multiples of 14."""
    for patch in (1, 14):
        height, width = photo.shape[:2]
        scale = EDGE / max(width, height)
        to = tuple(int(round(edge * scale) / patch + 0.5) * patch for edge in (width, height))
        is_larger = to[0] > width or to[1] > height
        if to != (width, height):
            way = cv2.INTER_CUBIC if is_larger else cv2.INTER_AREA
            photo = cv2.resize(photo, to, interpolation=way).astype(np.uint8)
    return photo


@pytest.mark.parametrize(
    "photo",
    [(800, 600), (600, 800), (641, 479), (505, 333), (300, 200), (1000, 50), (90, 400), (13, 17)],
)
def test_a_photo_is_prepared_nearly_as_published(folder: Path, photo: tuple[int, int]) -> None:
    """The published code shrinks with OpenCV's INTER_AREA, for which Pillow has no equal filter."""
    family, image = family_of(folder / "views"), picture(*photo, seed=photo[0])
    expected = published(np.asarray(image))
    inputs = family.prepare(upright(image), HostImages())
    levels = (inputs * family.deviation[:, None, None] + family.mean[:, None, None]) * 255
    assert inputs.shape == (3, *expected.shape[:2])
    assert np.abs(levels - expected.transpose(2, 0, 1)).mean() < 1.5
    assert np.std(expected) > 20


Change = Callable[[dict[str, Any]], object]
NOT_SUPPORTED: list[tuple[Change, str]] = [
    (lambda c: c.update(model_name="da3nested-giant-large"), "da3nested-giant-large"),
    (lambda c: c.update(model_name="da3-giant"), "da3-giant"),
    (lambda c: c.pop("model_name"), 'lacks "model_name"'),
    (lambda c: c["config"]["__object__"].update(name="NestedDepthAnything3Net"), "Nested"),
    (lambda c: c["config"]["net"].update(name="vitg"), "vitg"),
    (lambda c: c["config"]["net"]["__object__"].update(name="DinoV3"), "DinoV3"),
    (lambda c: c["config"]["net"].update(cat_token=1), "cat_token"),
    (lambda c: c["config"]["net"].update(out_layers=[1, 3]), "out_layers"),
    (lambda c: c["config"]["net"].update(out_layers=[3, 1, 4, 5]), "out_layers"),
    (lambda c: c["config"]["head"]["__object__"].update(name="GSDPT"), "GSDPT"),
    (lambda c: c["config"]["head"].pop("__object__"), "lacks"),
    (lambda c: c["config"]["head"].update(output_dim=3), "output_dim"),
    (lambda c: c["config"]["head"].update(activation="linear"), "activation"),
    (lambda c: c["config"]["head"].update(pos_embed=False), "pos_embed"),
    (lambda c: c["config"]["head"].update(down_ratio=2), "down_ratio"),
    (lambda c: c["config"]["head"].update(patch_size=16), "patch_size"),
]
NOT_SUPPORTED_OF_ONE_VIEW: list[tuple[Change, str]] = [
    (lambda c: c["config"]["head"].update(pos_embed=True), "pos_embed"),
    (lambda c: c["config"]["head"].update(output_dim=2), "output_dim"),
    (lambda c: c["config"]["head"].update(sky_activation="sigmoid"), "sky_activation"),
    (lambda c: c["config"]["head"].update(norm_type="layer"), "norm_type"),
    (lambda c: c["config"]["head"].update(use_ln_for_heads=True), "use_ln_for_heads"),
]


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [("views", *each) for each in NOT_SUPPORTED]
    + [("mono", *each) for each in NOT_SUPPORTED_OF_ONE_VIEW],
)
def test_what_is_not_supported_is_refused_by_name(
    folder: Path, kind: str, change: Change, named: str, tmp_path: Path
) -> None:
    config = json.loads((folder / kind / "config.json").read_text())
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Unsupported) as error:
        family_of(tmp_path)
    assert named in str(error.value)
    assert "config.json" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"model_name": "da3-small", "config": 5}',
        '{"model_name": "da3-small", "config": {"net": [], "head": {}}}',
        '{"model_name": "da3-small", "config": {"net": {"name": "vits", "out_layers": 5}, '
        '"head": {"__object__": {"name": "DualDPT"}}}}',
    ],
)
def test_a_damaged_description(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(LoadError, match="damaged"):
        family_of(tmp_path)


@pytest.mark.parametrize("key", list(checkpoints.SHAPES))
def test_settings_that_the_file_leaves_out_are_those_of_its_name(tmp_path: Path, key: str) -> None:
    shape = checkpoints.SHAPES[key]
    for left_out in (False, True):
        config = checkpoints.config_json(shape)
        if left_out:
            del config["config"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        family = family_of(tmp_path)
        assert family._plan == shape.plan
        assert family.is_metric == (key == "da3-metric-large")


TENSORS: list[tuple[Change, str]] = [
    (lambda t: t.pop("model.backbone.pretrained.camera_token"), "damaged"),
    (lambda t: t.pop("model.backbone.pretrained.blocks.3.attn.q_norm.bias"), "damaged"),
    (lambda t: t.pop("model.head.scratch.refinenet2.resConfUnit1.conv1.weight"), "damaged"),
    (lambda t: t.update({"model.head.norm.weight": torch.ones(128)}), "damaged"),
    (
        lambda t: t.update({"model.backbone.pretrained.register_tokens": torch.ones(1, 4, 128)}),
        "register tokens",
    ),
]


@pytest.mark.parametrize(("change", "named"), TENSORS)
def test_tensors_that_do_not_fit_are_refused_at_loading(
    folder: Path, change: Change, named: str, tmp_path: Path
) -> None:
    tensors: dict[str, Any] = load_file(folder / "views" / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "views" / "config.json").read_bytes())
    with pytest.raises(LoadError, match=named):
        family_of(tmp_path).source("image").module()


def test_weights_stay_mapped_from_the_file(folder: Path) -> None:
    """All processes share the memory of mapped weights."""
    module = family_of(folder / "views").source("image").module()
    weight = module.backbone.pretrained.pos_embed
    maps = Path("/proc/self/maps").read_text().splitlines()
    ranges = [
        tuple(int(part, 16) for part in line.split()[0].split("-"))
        for line in maps
        if line.endswith(str(folder / "views" / "model.safetensors"))
    ]
    assert any(low <= weight.data_ptr() < high for low, high in ranges)
