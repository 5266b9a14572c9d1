# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests splats of the project's own scenes, whose true views from aside are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.rendering.splats import Splats, lift
from tests.reference_splats import View, aside, draw, draw_mesh, in_photo, matrices, psnr
from training.scenes import imagine, render

WIDTH, HEIGHT = 240, 180
#: a scene's sky is so many metres away
SKY = 200
MANY = 10**6


def lifted(disparity: NDArray[np.float32], max_splats: int = MANY, softness: int = 0) -> Splats:
    """Lift a photo of random colours."""
    photo = np.random.default_rng(0).integers(0, 256, (*disparity.shape, 3), np.uint8)
    return lift(photo, disparity, 0.9 * disparity.shape[1], softness, max_splats)


def assert_sound(splats: Splats) -> None:
    for array in (splats.centres, splats.colours, splats.deviations, splats.rotations):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    assert (splats.deviations > 0).all()
    assert (splats.centres[:, 2] > 0).all()
    assert np.abs(np.linalg.norm(splats.rotations, axis=1) - 1).max() < 1e-5
    assert splats.colours.min() >= 0
    assert splats.colours.max() <= 1


def step(near: float = 1.0, far: float = 0.2) -> NDArray[np.float32]:
    """Make the disparity of a near square before a far wall."""
    disparity = np.full((90, 120), far, np.float32)
    disparity[20:70, 40:80] = near
    return disparity


def test_views_of_scenes() -> None:
    """The front view is the photo, and views from aside have no holes and beat a plain mesh."""
    gains = []
    for seed in (1, 4):
        scene = imagine(seed)
        truth = render(scene, WIDTH, HEIGHT)
        focal = scene.camera.focal * WIDTH
        disparity = np.maximum(truth.disparity, 1 / SKY).astype(np.float32)
        splats = lift(truth.pixels, disparity, focal, 0, MANY)
        assert_sound(splats)
        front = View.front(WIDTH, HEIGHT, focal)
        picture, coverage = draw(splats, front)
        assert psnr(picture, truth.pixels / 255) >= 30
        assert coverage.min() > 0.8
        for degrees in (5, -15):
            other, view = aside(scene, degrees, 1 / float(disparity.mean()), front)
            true = render(other, WIDTH, HEIGHT, truth.exposure)
            seen = in_photo(np.maximum(true.disparity, 1 / SKY), view, front)
            picture, coverage = draw(splats, view)
            assert (coverage[seen] < 0.5).mean() < 0.005
            mesh = draw_mesh(truth.pixels, disparity, front, view)
            pixels = true.pixels[seen] / 255
            gains.append(psnr(picture[seen], pixels) - psnr(mesh[seen], pixels))
    assert np.mean(gains) >= 2


def test_viewers_that_compensate_for_their_filter_see_no_holes() -> None:
    """Spark makes small splats fainter."""
    splats = lifted(np.full((60, 80), 0.5, np.float32))
    _, coverage = draw(splats, View.front(80, 60, 72), compensated=True)
    assert coverage[3:-3, 3:-3].min() > 0.97


def test_nothing_floats_between_a_thing_and_its_background() -> None:
    depth = lifted(step()).centres[:, 2]
    assert ((np.abs(depth - 1) < 0.05) | (np.abs(depth - 5) < 0.25)).all()


@pytest.mark.parametrize("softness", [2, 4])
def test_nothing_floats_at_an_edge_that_a_network_blurred(softness: int) -> None:
    blurred = cv2.blur(step(), (2 * softness + 1, 2 * softness + 1))
    depth = lifted(np.asarray(blurred, np.float32), softness=softness).centres[:, 2]
    between = (depth > 1.3) & (depth < 4)
    assert between.mean() < 0.01


def test_the_background_continues_behind_a_near_thing() -> None:
    disparity = step()
    photo = np.full((*disparity.shape, 3), (0, 0, 255), np.uint8)
    photo[disparity == 1] = (255, 0, 0)
    splats = lift(photo, disparity, 108, 0, MANY)
    x, y, z = splats.centres.T
    column = np.rint(108 * x / z + disparity.shape[1] / 2 - 0.5).astype(int)
    row = np.rint(108 * y / z + disparity.shape[0] / 2 - 0.5).astype(int)
    thing = cv2.erode(disparity, np.ones((5, 5), np.uint8)) == 1
    inside = np.zeros(len(z), bool)
    on_photo = (column >= 0) & (row >= 0) & (column < thing.shape[1]) & (row < thing.shape[0])
    inside[on_photo] = thing[row[on_photo], column[on_photo]]
    hidden = inside & (z > 1.2)
    assert (z[hidden] > 4).all()
    assert np.count_nonzero(hidden) > 100
    colours = splats.colours[hidden]
    assert (colours[:, 0] < 0.1).all(), "it has no colour of the thing in front"
    assert (colours[:, 2] > 0.9).all()


def test_splats_lie_along_their_surface() -> None:
    """A slanted plane: the thin axis of each splat is the plane's normal."""
    focal, width, height = 100.0, 80, 60
    normal = np.array([0.5, -0.6, 0.6])
    x, y = np.arange(width) + 0.5 - width / 2, np.arange(height)[:, None] + 0.5 - height / 2
    disparity = (normal[0] * x / focal + normal[1] * y / focal + normal[2]).astype(np.float32)
    photo = np.zeros((height, width, 3), np.uint8)
    splats = lift(photo, disparity, focal, 0, MANY)
    assert len(splats) > width * height
    thin = matrices(splats.rotations.astype(float))[:, :, 2]
    cosines = np.abs(thin @ (normal / np.linalg.norm(normal)))
    assert cosines[: width * height].min() > 0.999
    places = splats.centres @ normal - 1
    assert np.abs(places[: width * height]).max() < 1e-3, "the centres lie in the plane"
    backdrop = places[width * height :]
    assert (backdrop > 0).all(), "the backdrop lies behind it"
    assert backdrop.max() < 0.2


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (2, 1), (1, 50), (50, 1), (2, 2), (3, 3), (2, 400), (400, 2)]
)
@pytest.mark.parametrize("softness", [0, 3])
@pytest.mark.parametrize("max_splats", [1, 7, MANY])
def test_any_shape_is_lifted(shape: tuple[int, int], softness: int, max_splats: int) -> None:
    random = np.random.default_rng(1).uniform(0.001, 5, shape).astype(np.float32)
    for disparity in (random, np.full(shape, 1e-3, np.float32)):
        splats = lifted(disparity, max_splats, softness)
        assert_sound(splats)
        assert 1 <= len(splats) <= max_splats


def test_a_constant_map_needs_no_background() -> None:
    splats = lifted(np.full((30, 40), 1e-3, np.float32))
    assert_sound(splats)
    assert 30 * 40 < len(splats) < 1.2 * 30 * 40, "there is a backdrop, and nothing else"
    np.testing.assert_allclose(splats.centres[: 30 * 40, 2], 1000, rtol=1e-5)
    assert (splats.centres[30 * 40 :, 2] > 1000).all()


@pytest.mark.parametrize("max_splats", [200, 1000, 5000])
def test_the_number_of_splats_is_bounded(max_splats: int) -> None:
    disparity = step()
    splats = lifted(disparity, max_splats)
    assert_sound(splats)
    assert 0.6 * max_splats < len(splats) <= max_splats
    # The near square is still where it was, to two pixels.
    pixel = (disparity.size / len(splats)) ** 0.5 / 108
    near = splats.centres[splats.centres[:, 2] < 2]
    assert np.abs(near[:, :2].min(0) - np.array([-20 / 108, -25 / 108])).max() < 2 * pixel


def test_noise_is_lifted_to_sound_splats() -> None:
    noise = np.exp(np.random.default_rng(2).normal(0, 2, (60, 80))).astype(np.float32)
    assert_sound(lifted(noise))
    assert_sound(lifted(noise, softness=2))
