# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares Depth Anything V1 and V2's metric models with transformers, on both engines.

test_depth_parity.py does the same for the relative models of V2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForDepthEstimation

from app.models.base import NetworkId
from benchmarks.checkpoints import depth
from benchmarks.models import DepthModel, checkpoint_of, cpu_loader, with_work
from config.models import ModelSpec
from tests.conftest import convert_all
from tests.pictures import picture, upright

_EDGE = 182  # pixels, instead of 518, for speed
_TINY = depth.tiny(depth.SHAPES["small"])
_V1 = "LiheYoung/depth-anything-small-hf"
_OUTDOOR = "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf"
#: The head of V1 takes the features of the last four layers, that of V2 of four evenly spaced ones.
SHAPES = {
    "v1": replace(_TINY, repository=_V1, layers=5, stages=(2, 3, 4, 5)),
    "outdoor": replace(_TINY, repository=_OUTDOOR, max_depth=80),
}
# A portrait with odd sides, a tiny picture, and strips of 20:1, whose inputs are one patch high or
# wide.
SIZES = [(231, 317), (8, 5), (1000, 50), (33, 660)]


@dataclass
class Both:
    """A model in Twinlens, and the same checkpoint in transformers."""

    ours: DepthModel
    network: Any
    processor: Any

    @torch.no_grad()
    def reference(self, inputs: Tensor) -> Tensor:
        """The output of transformers' network for one input, [h, w]."""
        found: Tensor = self.network(inputs).predicted_depth[0]
        return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("hub")
    for seed, (key, shape) in enumerate(SHAPES.items(), 21):
        made = depth.made(shape, seed)
        made.files["preprocessor_config.json"] = depth.PREPROCESSOR | {
            "size": {"height": _EDGE, "width": _EDGE}
        }
        if key == "v1":  # the published files are older than this setting
            made.files["config.json"].pop("depth_estimation_type")
        made.write(cache)
    convert_all(map(spec_of, SHAPES), cache, half=False)
    return cache


def spec_of(key: str) -> ModelSpec:
    return ModelSpec(key=key, family="depth_anything", hub_id=SHAPES[key].repository)


@pytest.fixture(scope="module", params=["torch", "openvino"])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module", params=SHAPES)
def both(request: pytest.FixtureRequest, cache: Path, engine: Any) -> Both:
    spec = spec_of(request.param)
    checkpoint = checkpoint_of(spec, cache)
    loaded = cpu_loader(engine, "fp32").load(NetworkId(spec, "image"), checkpoint, "cpu")
    assert loaded.network.engine == engine
    loaded.network.to_device("cpu")
    network = AutoModelForDepthEstimation.from_pretrained(checkpoint.path).eval()
    processor: Any = AutoImageProcessor  # from_pretrained has no type hints
    return Both(with_work(loaded), network, processor.from_pretrained(checkpoint.path))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_numbers_and_map(both: Both, size: tuple[int, int]) -> None:
    photo, model = picture(*size, seed=size[0]), both.ours
    inputs = model.prepare(upright(photo))
    output = model.infer(inputs[None])[0]
    numbers = model.family.metres(output, None) if model.family.is_metric else output
    assert numbers.dtype == np.float32
    np.testing.assert_allclose(numbers, both.reference(torch.from_numpy(inputs[None])), rtol=2e-5)

    # From here on, the photo is prepared by transformers, which may differ by two levels of 255.
    expected = both.reference(both.processor(images=photo, return_tensors="pt")["pixel_values"])
    np.testing.assert_allclose(numbers, expected, rtol=1e-2)
    near = 1 / expected.clamp(min=0.1) if model.family.is_metric else expected
    full = torch.nn.functional.interpolate(near[None, None], size[::-1], mode="bicubic")[0, 0]
    levels = (full - full.min()) / (full.max() - full.min()) * 255
    assert levels.std() > 20, "a flat map would prove nothing"
    off = np.abs(model.finish(output, *size) - levels.numpy())
    assert off.mean() <= 1
    assert off.max() <= 3


def test_metres_fill_the_range(both: Both) -> None:
    """Otherwise a sigmoid that is missing or applied twice would go unnoticed."""
    photo = picture(231, 317, seed=231)
    output = both.ours.infer(both.ours.prepare(upright(photo))[None])[0]
    if both.ours.family.is_metric:
        metres = both.ours.family.metres(output, None)
        assert metres.min() < 5
        assert 40 < metres.max() < 80
