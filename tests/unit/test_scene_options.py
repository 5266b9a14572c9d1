# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests which options of 3D scenes are accepted, and the geometry that they mean."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from app.errors import BadRequest
from app.rendering import scenes
from app.rendering.scene_options import (
    METRES,
    RELATIVE,
    SceneOptions,
    default_focal_length,
)


def test_the_defaults_are_accepted_with_every_format() -> None:
    """Forms send every field, also those that do not matter."""
    filled = {"max_splats": "1200000", "max_vertices": "400000", "fov": "", "depth_range": ""}
    for kind in ("ply", "splat", "spz", "glb", ""):
        options = SceneOptions.parse({"format": kind, **filled})
        assert options.format == (kind or "ply")
        assert options.distances(in_metres=True) == METRES
        assert options.distances(in_metres=False) == RELATIVE


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"format": "PLY "}, "'ply', 'splat', 'spz' or 'glb'"),
        ({"max_splats": "12.5"}, "max_splats"),
        ({"max_splats": "9" * 100_000}, "max_splats"),
        ({"max_vertices": "10", "format": "glb"}, "1000"),
        ({"fov": "wide"}, "fov"),
        ({"fov": "1e400"}, "fov"),
        ({"depth_range": ","}, "near,far"),
        ({"depth_range": "1,1"}, "near,far"),
        ({"depth_range": "0,1"}, "near,far"),
        ({"depth_range": "1,1e9"}, "near,far"),
        ({"depth_range": "1;2"}, "near,far"),
        ({"depth_range": "1," + "2" * 100_000}, "near,far"),
        ({"x" * 10_000: "1"}, "no option here"),
    ],
)
def test_what_is_refused_is_named_in_few_words(given: dict[str, str], named: str) -> None:
    with pytest.raises(BadRequest) as caught:
        SceneOptions.parse(given)
    assert named in caught.value.message
    assert len(caught.value.message) < 300


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(BadRequest, match=r"fov.*depth_range"):
        SceneOptions.parse({"fov": "-1", "depth_range": "2,1"})


@pytest.mark.parametrize("photo", [(4000, 3000), (3000, 4000), (1, 1), (30_000, 1500), (60, 1200)])
@pytest.mark.parametrize("limit", [1000, 1_200_000, 2_000_000])
def test_a_photo_is_decoded_no_larger_than_its_scene_needs(
    photo: tuple[int, int], limit: int
) -> None:
    width, height = scenes.photo_size(photo, SceneOptions(max_splats=limit))
    assert 1 <= width * height <= limit
    assert width <= photo[0]
    assert height <= photo[1]
    if photo[0] * photo[1] <= 0.8 * limit:
        assert (width, height) == photo
    else:
        assert width * height > 0.7 * limit
    mesh = scenes.photo_size(photo, SceneOptions(format="glb", max_vertices=limit))
    assert max(mesh) <= 4096
    assert mesh[0] * mesh[1] <= 4_000_000


def test_an_unknown_camera_sees_60_degrees_across_the_longer_side() -> None:
    for photo in ((400, 300), (300, 400)):
        half = math.atan(max(photo) / 2 / default_focal_length(photo))
        assert math.degrees(2 * half) == pytest.approx(60)


def test_a_relative_map_is_spread_over_the_range() -> None:
    map_ = np.array([[3, 5], [4, 7]], np.float32)
    depth = 1 / scenes.from_relative(map_, (2, 10))
    assert depth[0, 0] == pytest.approx(10)
    assert depth[1, 1] == pytest.approx(2)
    # Disparity grows evenly from the farthest to the nearest point.
    assert 1 / depth[0, 1] == pytest.approx((1 / 10 + 1 / 2) / 2)
    assert map_[0, 0] == 3, "the caller's map is left as it is"


def test_a_constant_map_lies_between() -> None:
    depth = 1 / scenes.from_relative(np.full((3, 4), 7, np.float32), (2, 10))
    assert ((depth > 2) & (depth < 10)).all()


def test_a_broken_map_makes_no_scene() -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(ArithmeticError):
            scenes.from_relative(np.array([[1, value]], np.float32), (1, 2))


def test_metres_stay_and_what_is_beyond_the_range_is_put_at_its_ends() -> None:
    metres = np.array([[0.01, 3, 500, np.inf, np.nan, -1, 0]], np.float32)
    depth = 1 / scenes.from_metres(metres, (0.1, 200))
    assert depth[0] == pytest.approx([0.1, 3, 200, 200, 200, 0.1, 0.1], rel=1e-5)


def test_a_scene_reaches_from_near_to_far_without_overshooting_at_edges() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    map_ = np.zeros((14, 14), np.float32)
    map_[4:9, 4:9] = 1
    for near, far in product((0.5, 1), (5, 1000)):
        disparity = scenes.from_relative(map_, (near, far))
        made = scenes.render(photo, disparity, 70, SceneOptions())
        assert not isinstance(made, bytes)
        depth = made.centres[:, 2]
        assert near * 0.95 < depth.min() < near * 1.05
        assert far * 0.9 < depth.max() < far * 1.05
