# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""DPT, ZoeDepth and Depth Pro against transformers' own processors and networks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from numpy.typing import NDArray
from transformers import (
    DepthProImageProcessor,
    DPTImageProcessorPil,
    ZoeDepthImageProcessorPil,
)

from app.models.base import NetworkId, describe_checkpoint
from app.models.distance import NEAREST_METRES, inverse
from app.models.transformers_depth import TransformersDepth
from app.pictures.canvas import HostImages
from benchmarks.models import DepthModel, checkpoint_of, cpu_loader, with_work
from config.values import EngineSetting
from tests import tiny_depth
from tests.conftest import convert_all
from tests.pictures import picture, upright

Map = NDArray[np.float32]
PROCESSORS = {
    "DPTForDepthEstimation": DPTImageProcessorPil,
    "ZoeDepthForDepthEstimation": ZoeDepthImageProcessorPil,
    "DepthProForDepthEstimation": DepthProImageProcessor,
}
# A photo, a portrait, odd ones and tiny ones; strips of 20:1 only where transformers does not give
# these small networks an input of no height.
SIZES = [(200, 150), (150, 200), (131, 77), (29, 16)]
STRIPS = [(400, 20), (24, 480)]
CASES = [
    (kind, size)
    for kind in tiny_depth.KINDS
    for size in (SIZES if kind.startswith(("beit", "zoe")) else SIZES + STRIPS)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tiny checkpoints."""
    folder = tmp_path_factory.mktemp("depth")
    for kind in tiny_depth.KINDS:
        tiny_depth.write(folder, kind)
    return folder


@cache
def model_of(folder: Path, kind: str, engine: EngineSetting) -> DepthModel:
    spec = tiny_depth.row(folder, kind)
    if engine == "openvino":
        convert_all([spec], folder, half=False)
    loader = cpu_loader(engine, "fp32")
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
    """transformers' processor and network."""
    name, *_ = tiny_depth.KINDS[kind]
    network = getattr(transformers, name).from_pretrained(folder / kind).eval()
    return PROCESSORS[name].from_pretrained(folder / kind), network


@cache
def expected(folder: Path, kind: str, size: tuple[int, int]) -> tuple[Map, Map | None]:
    """What transformers gives at the photo's size: nearness, and metres of metric models."""
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
        return nearness[0, 0].numpy(), depth
    return (inverse(depth, NEAREST_METRES), depth) if kind.startswith("zoe") else (depth, None)


def levels(nearness: Map) -> NDArray[np.float64]:
    return 255 * (nearness.astype(float) - nearness.min()) / (nearness.max() - nearness.min())


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
    assert np.std(levels(nearness)) > 14, "a flat map would prove nothing"
    assert off.mean() <= 1
    assert off.max() <= 3
    assert model.family.is_metric == (metres is not None)
    if metres is not None:
        found = model.family.metres(model.family.crop(output, size), None)
        resized = F.interpolate(torch.from_numpy(found)[None, None], size[::-1], mode="bicubic")
        np.testing.assert_allclose(resized[0, 0].numpy(), metres, rtol=0.02, atol=0.01)
