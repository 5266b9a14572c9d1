# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares DPT, ZoeDepth and Depth Pro with transformers' own processors and networks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    DepthProImageProcessor,
    DPTImageProcessorPil,
    ZoeDepthImageProcessorPil,
)

from app.engines.base import LoadError, Unsupported
from app.errors import BadRequest, TooLarge
from app.hub.store import Checkpoint
from app.lending.loader import Loader
from app.models.base import NetworkId, describe_checkpoint
from app.models.distance import NEAREST_METRES, inverse
from app.models.transformers_depth import TransformersDepth
from app.pictures.canvas import HostImages
from benchmarks.models import DepthModel, checkpoint_of, with_work
from config.values import EngineSetting
from tests import tiny_depth
from tests.conftest import convert_all
from tests.pictures import picture, upright

Map = NDArray[np.float32]
PROCESSORS: dict[str, Any] = {
    "DPTForDepthEstimation": DPTImageProcessorPil,
    "ZoeDepthForDepthEstimation": ZoeDepthImageProcessorPil,
    "DepthProForDepthEstimation": DepthProImageProcessor,
}
# A photo, a portrait with odd sides, and a tiny picture. Strips of 20:1 are tested only with the
# networks for which transformers does not round the shorter side of the input to zero.
SIZES = [(200, 150), (77, 131), (29, 16)]
STRIPS = [(400, 20), (24, 480)]
CASES = [
    (kind, size)
    for kind in tiny_depth.KINDS
    for size in (SIZES + STRIPS if kind in ("vit", "dinov2") else SIZES)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all tiny checkpoints."""
    torch.set_num_threads(1)  # ``model_of`` says why
    folder = tmp_path_factory.mktemp("depth")
    for kind in tiny_depth.KINDS:
        tiny_depth.write(folder, kind)
    return folder


@cache
def model_of(folder: Path, kind: str, engine: EngineSetting) -> DepthModel:
    spec = tiny_depth.row(folder, kind)
    if engine == "openvino":
        convert_all([spec], folder, half=False)
    # One thread, because in networks this small, several would mostly wait for each other.
    loader = Loader.make(engine, "fp32", "cpu", threads=1, life=0)
    loaded = loader.load(NetworkId(spec, "image"), checkpoint_of(spec, folder), "cpu")
    loaded.network.to_device("cpu")
    model = with_work(loaded)
    assert isinstance(model, DepthModel)
    return model


@cache
def family_of(folder: Path, kind: str) -> TransformersDepth:
    spec = tiny_depth.row(folder, kind)
    family = describe_checkpoint(spec, checkpoint_of(spec, folder))
    assert isinstance(family, TransformersDepth)
    return family


@cache
def reference(folder: Path, kind: str) -> tuple[Any, Any]:
    """transformers' own processor and network for a checkpoint."""
    name, *_ = tiny_depth.KINDS[kind]
    network = getattr(transformers, name).from_pretrained(folder / kind).eval()
    return PROCESSORS[name].from_pretrained(folder / kind), network


@cache
def expected(folder: Path, kind: str, size: tuple[int, int]) -> tuple[Map, Map | None]:
    """transformers' maps at the photo's size: nearness, and metres if the model is metric."""
    processor, network = reference(folder, kind)
    width, height = size
    photo = picture(*size, seed=width)
    inputs = processor(images=photo, return_tensors="pt")["pixel_values"].float()
    with torch.no_grad():
        outputs = network(inputs)
    if kind == "dinov2":  # transformers would leave the border in the map
        found = F.interpolate(outputs.predicted_depth[None], inputs.shape[2:], mode="bicubic")
        rows, columns = inputs.shape[2:]
        left, top = (columns - width) // 2, (rows - height) // 2
        metres = found[0, 0, top : top + height, left : left + width].numpy()
        return inverse(metres, NEAREST_METRES), metres
    (found,) = processor.post_process_depth_estimation(outputs, [(height, width)])
    depth = found["predicted_depth"].numpy()
    if kind == "depth-pro":
        nearness = F.interpolate(outputs.predicted_depth[None], (height, width), mode="bilinear")
        focal_length = float(found["focal_length"]) / width  # as a multiple of the photo's width
        return np.minimum(nearness[0, 0].numpy() / focal_length, 1 / NEAREST_METRES), depth
    return (inverse(depth, NEAREST_METRES), depth) if kind.startswith("zoe") else (depth, None)


def levels(nearness: Map) -> NDArray[np.float64]:
    low, high = float(nearness.min()), float(nearness.max())
    shown: NDArray[np.float64] = 255 * (nearness.astype(np.float64) - low) / (high - low)
    return shown


@pytest.mark.parametrize(("kind", "size"), CASES)
def test_pictures_are_prepared_as_by_the_reference(
    folder: Path, kind: str, size: tuple[int, int]
) -> None:
    family = family_of(folder, kind)
    photo = picture(*size, seed=size[0])
    ours = family.prepare(upright(photo), HostImages())
    processor, _ = reference(folder, kind)
    (theirs,) = processor(images=photo, return_tensors="pt")["pixel_values"].float().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize(("kind", "size"), CASES)
def test_maps_are_those_of_the_reference(
    folder: Path, kind: str, size: tuple[int, int], engine: EngineSetting
) -> None:
    model = model_of(folder, kind, engine)
    output = model.infer(model.prepare(upright(picture(*size, seed=size[0])))[None])[0]
    ours = model.finish(output, *size)
    nearness, metres = expected(folder, kind, size)
    off = np.abs(ours - levels(nearness))
    assert np.std(levels(nearness)) > 12, "a flat map would prove nothing"
    assert off.mean() <= 1
    assert off.max() <= 3
    assert model.family.is_metric == (metres is not None)
    if metres is not None:
        found = model.family.metres(model.family.crop(output, size), None)
        resized = F.interpolate(torch.from_numpy(found)[None, None], size[::-1], mode="bicubic")
        wanted = np.maximum(metres, 0)
        error = np.abs(resized[0, 0].numpy() - wanted) / (1 + wanted)
        # ZoeDepth's bins jump with rounding errors at a few pixels of random weights.
        assert np.quantile(error, 0.99) < 0.01
        assert error.max() < 0.1


@pytest.mark.parametrize("size", [(200, 150), (150, 201), (61, 37), (1000, 700)])
@pytest.mark.parametrize("kind", ["zoe-nyu", "dinov2", "beit", "depth-pro"])
def test_a_map_lies_exactly_on_its_photo(folder: Path, kind: str, size: tuple[int, int]) -> None:
    """The network's output is replaced by its input, so that the map must show the photo."""
    width, height = size
    family = family_of(folder, kind)
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    photo = Image.fromarray(np.stack((across, down, down), 2).round().astype(np.uint8))
    inputs = family.prepare(upright(photo), HostImages())
    colours = 255 * (inputs * family.deviation[:, None, None] + family.mean[:, None, None])
    for seen, true in ((colours[0], across), (colours[1], down)):
        output = np.stack((seen, seen)) if kind == "depth-pro" else seen
        found = family.crop(output.astype(np.float32), size)
        flat = found[0] if kind == "depth-pro" else found
        shown = cv2.resize(flat, size, interpolation=cv2.INTER_CUBIC)
        # The photo's 255 levels are spread over the input, so ``steps`` is the difference between
        # neighbouring pixels. ZoeDepth may be half a pixel off: transformers' resize puts the
        # first pixel of its input on the centre of the photo's first pixel.
        steps = 255 / max(inputs.shape[1:]) if kind == "zoe-nyu" else 0
        assert np.abs(shown - true)[1:-1, 1:-1].max() <= 2.5 + 0.5 * steps


def test_without_a_crop_the_border_would_show(folder: Path) -> None:
    family = family_of(folder, "zoe-nyu")
    photo = Image.fromarray(np.full((150, 200, 3), 255, np.uint8))
    inputs = family.prepare(upright(photo), HostImages())
    left = family.crop(np.cumsum(np.ones_like(inputs[0]), 1) - 1, (200, 150))
    border = int((200 / 2) ** 0.5 * 3) / (200 + 2 * int((200 / 2) ** 0.5 * 3))
    assert left[0, 0] == pytest.approx(border * inputs.shape[2], abs=0.6)


def test_depth_pro_uses_a_known_focal_length(folder: Path) -> None:
    family = family_of(folder, "depth-pro")
    nearness = np.full((4, 4), 0.5, np.float32)
    seen = np.stack((nearness, np.full_like(nearness, 90)))
    assert family.focal_length(seen) == pytest.approx(128)
    assert family.metres(seen, None) == pytest.approx(1)
    assert family.metres(seen, 256) == pytest.approx(2)
    assert family.disparity(seen) == pytest.approx(1), "1 / metres"
    close = np.stack((100 * nearness, np.full_like(nearness, 90)))
    assert family.disparity(close) == pytest.approx(10), "0.1 m at least"
    unseen = np.stack((nearness, np.zeros_like(nearness)))
    assert family.focal_length(unseen) is None
    assert family.metres(unseen, 256) == pytest.approx(2)
    with pytest.raises(BadRequest, match="focal length"):
        family.metres(unseen, None)


def test_pictures_of_a_batch_go_to_their_own_head(folder: Path) -> None:
    """In transformers, the classifier chooses one head for the whole batch."""
    model = model_of(folder, "zoe-both", "torch")
    inputs = [model.prepare(upright(picture(60, 40, seed))) for seed in (1, 2, 3)]
    together = model.infer(np.stack(inputs))
    for one, alone in zip(together, inputs, strict=True):
        np.testing.assert_allclose(one, model.infer(alone[None])[0], rtol=1e-3)


@pytest.mark.parametrize("kind", ["beit", "zoe-nyu", "dinov2", "depth-pro", "vit"])
def test_beyond_twenty_to_one_is_refused(folder: Path, kind: str) -> None:
    family = family_of(folder, kind)
    for size in ((2001, 100), (100, 2001)):
        with pytest.raises(TooLarge, match="at most 20:1"):
            family.input_size(*size)
    columns, rows = family.input_size(12000, 600)
    assert columns * rows <= 4096 * 16**2


Change = Callable[[dict[str, Any]], object]
REFUSED: list[tuple[str, str, Change, str]] = [
    ("vit", "config", lambda c: c.update(model_type="depth_anything"), "model_type"),
    ("vit", "config", lambda c: c.update(model_type="glpn"), "model_type"),
    (
        "vit",
        "config",
        lambda c: c.update(architectures=["DPTForSemanticSegmentation"]),
        "DPTForSemanticSegmentation",
    ),
    ("vit", "config", lambda c: c.update(quantization_config={"bits": 8}), "quantization_config"),
    ("vit", "config", lambda c: c.update(backbone="resnet50"), "backbone"),
    ("vit", "preprocessor_config", lambda c: c.update(keep_aspect_ratio=True), "multiple_of"),
    (
        "vit",
        "preprocessor_config",
        lambda c: c.update(keep_aspect_ratio=True, ensure_multiple_of=32),
        "keep_aspect_ratio",
    ),
    ("vit", "preprocessor_config", lambda c: c.update(do_pad=True), "do_pad"),
    ("vit", "preprocessor_config", lambda c: c.update(resample=1), "resample"),
    ("vit", "preprocessor_config", lambda c: c.update(image_mean="0.5"), "image_mean"),
    ("vit", "preprocessor_config", lambda c: c.update(image_std=[0.5, 0, 1]), "image_std"),
    ("vit", "preprocessor_config", lambda c: c.update(size={"shortest_edge": 64}), "size"),
    ("vit", "preprocessor_config", lambda c: c.update(size={"height": 64, "width": 96}), "64"),
    ("hybrid", "config", lambda c: c["backbone_config"].update(model_type="resnet"), "resnet"),
    ("hybrid", "preprocessor_config", lambda c: c.update(size=128), "64x64"),
    ("swinv2", "preprocessor_config", lambda c: c.update(size=128), "64x64"),
    ("beit", "config", lambda c: c["backbone_config"].update(model_type="swin"), '"swin"'),
    (
        "beit",
        "config",
        lambda c: c["backbone_config"].update(reshape_hidden_states=True),
        "reshape_hidden_states",
    ),
    ("beit", "preprocessor_config", lambda c: c.update(ensure_multiple_of=14), "multiple_of"),
    ("dinov2", "preprocessor_config", lambda c: c.update(do_resize=True), "do_resize"),
    ("dinov2", "preprocessor_config", lambda c: c.update(size_divisor=16), "size_divisor"),
    ("zoe-nyu", "config", lambda c: c.update(bin_centers_type="hybrid2"), "bin_centers_type"),
    ("zoe-nyu", "config", lambda c: c.update(bin_configurations=[{}] * 3), "bin_configurations"),
    ("zoe-nyu", "preprocessor_config", lambda c: c.pop("ensure_multiple_of"), "multiple_of"),
    ("zoe-nyu", "preprocessor_config", lambda c: c.update(keep_aspect_ratio=False), "aspect"),
    (
        "zoe-both",
        "config",
        lambda c: c.update(num_patch_transformer_layers=2),
        "num_patch_transformer_layers",
    ),
    ("depth-pro", "config", lambda c: c["fov_model_config"].update(model_type="vit"), "vit"),
    ("depth-pro", "preprocessor_config", lambda c: c.update(size=512), "512"),
]


@pytest.mark.parametrize(("kind", "file", "change", "named"), REFUSED)
def test_what_is_not_supported_is_refused_by_name(
    folder: Path, tmp_path: Path, kind: str, file: str, change: Change, named: str
) -> None:
    for source in (folder / kind).glob("*.json"):
        found = json.loads(source.read_text())
        if source.stem == file:
            change(found)
        (tmp_path / source.name).write_text(json.dumps(found))
    with pytest.raises(Unsupported) as error:
        describe_checkpoint(tiny_depth.row(folder, kind), Checkpoint(tmp_path, "main", tmp_path))
    assert named in str(error.value)
    assert "supported" in str(error.value)


def test_a_missing_tensor_is_an_error(folder: Path, tmp_path: Path) -> None:
    for source in (folder / "vit").iterdir():
        shutil.copy(source, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("head.head.4.bias")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    spec = tiny_depth.row(folder, "vit")
    family = describe_checkpoint(spec, Checkpoint(tmp_path, "main", tmp_path))
    with pytest.raises(LoadError, match="lacks tensors"):
        family.module("image")
