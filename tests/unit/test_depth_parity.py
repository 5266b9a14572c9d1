# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares our maps with those of transformers' pipeline for the same checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from app.engines.base import LoadError
from app.errors import TooLarge
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.store import find_checkpoint
from app.models.depth_anything import MAX_TOKENS, PATCH, DepthAnything, input_size
from benchmarks.models import DepthModel, load
from config.models import ModelSpec
from config.settings import Settings
from tests.pictures import picture, upright

_SIZE = '{{"size": {{"height": {}, "width": {}}}}}'


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return Settings().table().model[0]


@pytest.fixture(scope="module")
def model(hub: Path, spec: ModelSpec) -> DepthModel:
    model = load(hub, spec.key)
    assert isinstance(model, DepthModel)
    return model


@pytest.fixture(scope="module")
def reference(hub: Path, spec: ModelSpec) -> Any:
    checkpoint = find_checkpoint(spec, CheckpointFiles(DepthAnything.FILES), hub)
    assert checkpoint is not None
    return reference_of(checkpoint.path)


def reference_of(checkpoint: Path) -> Any:
    return pipeline("depth-estimation", model=str(checkpoint), dtype=torch.float32)


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (1200, 900),
        (900, 1200),
        (640, 480),
        (1920, 1080),
        (518, 518),
        (300, 200),
        (1000, 250),
        (90, 400),
    ],
)
def test_at_most_one_level_apart(
    model: DepthModel, reference: Any, width: int, height: int
) -> None:
    photo = picture(width, height, seed=width)
    expected = np.asarray(reference(photo)["depth"]).astype(int)
    ours = model.finish(model.infer(model.prepare(upright(photo))[None])[0], width, height)
    assert ours.shape == (height, width)
    assert ours.min() == 0
    assert ours.max() == 255
    assert np.std(expected) > 20, "a flat map would prove nothing"
    assert np.abs(ours.astype(int) - expected).max() <= 1


def test_a_checkpoint_says_at_what_size_it_works(tmp_path: Path) -> None:
    """The network works at the size that its checkpoint states, as in transformers.

    builtin-depth states another size than the published models.
    """
    model = load(tmp_path, "builtin-depth")
    assert isinstance(model, DepthModel)
    assert model.input_size(640, 480) == (336, 252)
    photo = picture(640, 480, seed=4)
    expected = reference_of(model.checkpoint.path)(photo)["depth"]
    ours = model.finish(model.infer(model.prepare(upright(photo))[None])[0], 640, 480)
    assert np.abs(ours.astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    "size", ["{", "[]", '{"size": 518}', _SIZE.format(518, 392), _SIZE.format(0, 0)]
)
def test_a_size_that_makes_no_sense_is_refused(hub: Path, tmp_path: Path, size: str) -> None:
    shutil.copytree(hub, tmp_path / "hub", symlinks=True)
    checkpoint = find_checkpoint(
        Settings().table().model[0], CheckpointFiles(DepthAnything.FILES), tmp_path / "hub"
    )
    assert checkpoint is not None
    file = checkpoint.path / "preprocessor_config.json"
    file.unlink()
    file.write_text(size)
    with pytest.raises(LoadError, match="preprocessor_config"):
        load(tmp_path / "hub", "small")


def test_a_constant_map_is_all_128(model: DepthModel) -> None:
    assert (model.finish(np.full((7, 9), 3.0, np.float32), 50, 40) == 128).all()


def test_a_map_that_is_none_is_refused(model: DepthModel) -> None:
    with pytest.raises(ArithmeticError):
        model.finish(np.array([[1, np.nan]], np.float32), 50, 40)


def test_an_odd_picture_still_has_a_patch_to_show() -> None:
    assert min(input_size(400, 20)) >= 14
    assert min(input_size(1, 1)) >= 14


@pytest.mark.parametrize("size", [(12000, 1000), (1000, 12000), (5000, 400), (8000, 400)])
def test_a_panorama_is_scaled_down_to_the_token_cap(size: tuple[int, int]) -> None:
    width, height = input_size(*size)
    assert width * height <= MAX_TOKENS * PATCH**2
    assert width * height >= 0.9 * MAX_TOKENS * PATCH**2
    assert width / height == pytest.approx(size[0] / size[1], rel=0.1)


def test_beyond_twenty_to_one_is_refused() -> None:
    with pytest.raises(TooLarge, match="at most 20:1"):
        input_size(2001, 100)


def test_a_batch_gives_what_each_gives_alone(model: DepthModel) -> None:
    inputs = [model.prepare(upright(picture(320, 240, seed))) for seed in (1, 2)]
    together = model.infer(np.stack(inputs))
    for one, input_array in zip(together, inputs, strict=True):
        np.testing.assert_allclose(one, model.infer(input_array[None])[0], rtol=1e-4, atol=1e-4)


def test_prepare_keeps_the_picture(model: DepthModel) -> None:
    photo = picture(64, 48)
    before = photo.copy()
    model.prepare(upright(photo))
    assert np.array_equal(np.asarray(photo), np.asarray(before))
    assert isinstance(photo, Image.Image)
