# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the data, the losses and the measures with which the built-in models are trained."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from app.hub.store import BUILTIN
from app.lending.registry import files_of
from config.settings import Settings
from training import drawings, losses, scenes
from training.metrics import depth_quality
from training.photographs import motorcycle, photographs, value_at
from training.scenes.blur import defocused
from training.scenes.closeups import closeup
from training.scenes.compose import Camera, Light, Scene, Sky
from training.scenes.prints import FILES
from training.scenes.solids import Ball, Box, Ground, Post, Solid, turned
from training.scenes.textures import Texture

LOOK = Texture("plain", np.full(3, 0.5), np.full(3, 0.5), 1.0, 0.0, 0.0)


def seen(*solids: Solid) -> np.ndarray:
    """Return depths [101, 101] in metres along the axis of a level camera 1 m above the ground."""
    white = np.ones(3, np.float32)
    light = Light(np.array([0, 1e4, 0], np.float32), white, white)
    scene = Scene(Camera(1.0, 1.0, 0.0, 0.0), solids, light, Sky(white, white, 0.0, 0.0, 1e6))
    return 1 / np.maximum(scenes.render(scene, 101, 101).disparity, 1e-9)


def test_depth_is_exact() -> None:
    centre = np.array([0, 1, 5], np.float32)
    ground = Ground(LOOK, np.zeros(3, np.float32))
    assert seen(ground, Ball(LOOK, centre, size=2))[50, 50] == pytest.approx(3, abs=1e-3)
    box = Box(LOOK, centre, half=np.array([1, 1, 0.5], np.float32))
    assert seen(ground, box)[50, 45] == pytest.approx(4.5, abs=1e-3)
    post = Post(LOOK, centre, size=1, half_height=3)
    assert seen(ground, post)[50, 50] == pytest.approx(4, abs=1e-3)
    # The ground lies 1 m below the camera, so at 40 of 101 pixels below the axis it is 101 / 40 m
    # away.
    assert seen(ground)[90, 50] == pytest.approx(101 / 40, abs=1e-3)
    assert seen(ground)[10, 50] > 1e8  # the sky


def test_a_scene_is_the_same_each_time() -> None:
    one, other = (scenes.render(scenes.imagine(11), 80, 60) for _ in range(2))
    assert np.array_equal(one.pixels, other.pixels)
    assert np.array_equal(one.disparity, other.disparity)
    assert not np.array_equal(one.pixels, scenes.render(scenes.imagine(12), 80, 60).pixels)


def test_a_closeup_is_the_same_each_time() -> None:
    one, other = (scenes.render(closeup(5), 60, 45) for _ in range(2))
    assert np.array_equal(one.pixels, other.pixels)
    assert np.isfinite(one.disparity).all()
    assert not np.array_equal(one.pixels, scenes.render(closeup(6), 60, 45).pixels)


def test_a_wide_open_lens_blurs_what_is_out_of_focus_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    picture = rng.random((60, 80, 3), np.float32)
    depth = np.where(np.arange(80) < 40, 1.0, np.inf) * np.ones((60, 1))
    camera = Camera(1.0, 1.0, 0.0, 0.0, blur=0.1, focus=1.0)
    blurred = defocused(picture, depth, camera)
    assert np.allclose(blurred[:, :40], picture[:, :40], atol=1e-4)
    assert blurred[:, 45:].std() < 0.3 * picture[:, 45:].std()
    even = defocused(np.full((60, 80, 3), 0.5, np.float32), depth, camera)
    assert np.allclose(even, 0.5, atol=1e-3), "an even picture stays as it is"


def test_a_tube_shows_its_inside() -> None:
    """Through the open end of a tube that lies along the axis, a ball inside it is seen."""
    middle = np.array([0, 1, 5], np.float32)
    along = turned(0, np.pi / 2)
    ball = Ball(LOOK, middle, size=0.3)
    for open_ends, depth in ((True, 4.7), (False, 4)):
        tube = Post(LOOK, middle, along, size=0.5, half_height=1, open_ends=open_ends)
        assert seen(tube, ball)[50, 50] == pytest.approx(depth, abs=1e-2)


def test_marked_points_lie_in_their_photographs() -> None:
    development, kept_back = photographs(False), photographs(True)
    for split in (development, kept_back):
        assert sum(len(each.pairs) for each in split) >= 40
        for each in split:
            places = np.array([point for pair in each.pairs for point in pair])
            assert ((places > 0) & (places < 1)).all()
            width, height = each.read().size
            # A perfect map of one pair has it right, and its opposite has not.
            near, far = each.pairs[0]
            ramp = np.zeros((height, width))
            ramp[int(near[1] * height), int(near[0] * width)] = 1
            spread = cv2.dilate(ramp, np.ones((21, 21)))
            assert value_at(spread, near) > value_at(spread, far)
    # What is kept back is not on the surfaces of scenes either.
    assert not {each.file.name for each in kept_back} & set(FILES)


def test_measured_disparity_is_that_of_its_photograph() -> None:
    picture, disparity = motorcycle()
    assert disparity.shape == (picture.height, picture.width)
    wheel, wall = disparity[430, 620], disparity[60, 230]
    assert wheel > 1.5 * wall


def test_the_loss_ignores_scale_and_shift_and_nothing_else() -> None:
    target = torch.rand(2, 24, 32, generator=torch.Generator().manual_seed(1))
    moved = 3 * target + 5
    for loss in (losses.scale_and_shift_invariant, losses.gradients):
        assert float(loss(moved, target)) == pytest.approx(0, abs=1e-4)
        assert float(loss(target.flip(2), target)) > 0.1


def test_a_wrong_order_costs_more() -> None:
    target = torch.rand(2, 24, 32, generator=torch.Generator().manual_seed(1))
    for loss in (losses.ranking, losses.ratios):
        assert 3 * float(loss(target, target)) < float(loss(1 - target, target))


def test_the_measures_know_a_perfect_map() -> None:
    target = np.random.default_rng(1).uniform(0.05, 1, (30, 40))
    perfect = depth_quality(2 * target + 1, target)
    assert perfect.abs_rel == pytest.approx(0, abs=1e-6)
    assert perfect.delta_1 == perfect.ordinal == perfect.ordinal_twice == 1
    assert depth_quality(-target, target).ordinal == 0


def test_an_idea_has_many_captions_and_drawings() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        idea = drawings.imagine(rng)
        assert len({idea.caption(rng) for _ in range(20)}) > 1
        first, second = idea.draw(64, rng), idea.draw(64, rng)
        assert first.shape == (64, 64, 3)
        assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("key", "most"), [("builtin-depth", 6_000_000), ("builtin-clip", 12_000_000)]
)
def test_a_built_in_checkpoint_is_small_and_says_what_it_is(key: str, most: int) -> None:
    (spec,) = [spec for spec in Settings().table().model if spec.key == key]
    files = [BUILTIN / key / name for name in files_of(spec).required]
    assert files[-1].stat().st_size <= most
    assert json.loads(files[0].read_text())
    with safe_open(files[-1], framework="numpy") as tensors:
        assert tensors.metadata()["weights"] == "built-in"
        names = list(tensors.keys())
        assert {tensors.get_tensor(name).dtype for name in names} == {np.dtype(np.float16)}
    card = Path(BUILTIN / key / "README.md").read_text()
    assert "$" not in card
