# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checks that the depth of what does not move stays the same from frame to frame of a film."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.rendering import maps
from app.video.steady import Steady
from training.metrics import ordinal

FloatArray = NDArray[np.float32]
Levels = NDArray[np.uint8]
Film = list[tuple[FloatArray, Levels]]

WIDTH, HEIGHT, FRAMES = 96, 64, 20
RATE = Fraction(25)


def soft(rng: np.random.Generator, width: int, cell: int, channels: int = 1) -> FloatArray:
    """Smooth random values around 0, of deviation about 1."""
    coarse = rng.normal(0, 1, (HEIGHT // cell + 2, width // cell + 2, channels))
    size = (width, HEIGHT)
    return np.asarray(cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC))


def world(seed: int, width: int = WIDTH) -> tuple[FloatArray, Levels]:
    """A wide view: disparities from 0.1 to 1, and its picture."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None]
    depth = 0.1 + 0.9 * maps.normalised(slope + 0.15 * soft(rng, width, 16))
    picture = 60.0 * seed % 130 + 60 + 30 * soft(rng, width, 4, 3)
    return depth, np.clip(picture, 0, 255).astype(np.uint8)


def network(depth: FloatArray, rng: np.random.Generator, noise: float = 2 / 255) -> FloatArray:
    """A map as a network gives it: of unknown scale and shift, with noise."""
    noisy = depth + noise * soft(rng, WIDTH, 3)
    return (rng.uniform(0.8, 1.25) * noisy + rng.uniform(-0.2, 0.2)).astype(np.float32)


def seen(picture: Levels, rng: np.random.Generator) -> Levels:
    """A picture with the noise of a sensor."""
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def still(seed: int, frames: int = FRAMES) -> Film:
    """A shot in which nothing moves."""
    rng = np.random.default_rng([seed, 1])
    depth, picture = world(seed)
    return [(network(depth, rng), seen(picture, rng)) for _ in range(frames)]


def steadied(film: Film, rate: Fraction = RATE) -> list[FloatArray]:
    steady = Steady(rate)
    done = [each for map_, picture in film for each in steady.push(map_, picture)]
    return done + steady.flush()


def alone(film: Film) -> list[FloatArray]:
    return [maps.normalised(map_.copy()) for map_, _ in film]


def test_noise_of_a_still_shot_stays_below_one_level() -> None:
    film = still(1)
    before, after = (
        255 * np.stack(each).std(axis=0).mean() for each in (alone(film), steadied(film))
    )
    assert before > 2
    assert after < 1


def test_what_a_turning_camera_sees_keeps_its_depth() -> None:
    rng = np.random.default_rng(2)
    depth, picture = world(2, WIDTH + 2 * FRAMES)
    views = [slice(2 * number, 2 * number + WIDTH) for number in range(FRAMES)]
    truth = [depth[:, view] for view in views]
    film = [(network(depth[:, view], rng), seen(picture[:, view], rng)) for view in views]

    def flicker(shown: list[FloatArray]) -> float:
        """How much the columns that all frames show change from a frame to the next."""
        first = 2 * FRAMES
        columns = [each[:, first - view.start :] for each, view in zip(shown, views, strict=True)]
        width = min(each.shape[1] for each in columns)
        steps = np.diff(np.stack([each[:, :width] for each in columns]), axis=0)
        return float(np.sqrt(np.square(steps).mean()))

    def order(shown: list[FloatArray]) -> float:
        return float(np.mean([ordinal(a, b) for a, b in zip(shown, truth, strict=True)]))

    steady = steadied(film)
    assert flicker(steady) < flicker(alone(film)) / 3
    assert order(steady) >= order(alone(film))


def approaching(speed: float, frames: int) -> tuple[Film, FloatArray]:
    """A box whose disparity grows by so many levels a frame, and its true disparities."""
    rng = np.random.default_rng(3)
    depth, picture = world(3)
    depth *= 0.3
    depth[-1, -1], box = 1, np.asarray(world(4)[1])
    film, truth = [], []
    for number in range(frames):
        near = 0.3 + number * speed / 255
        half = round(25 * near)
        part = np.s_[32 - half : 32 + half, 48 - half : 48 + half]
        map_, shown = depth.copy(), picture.copy()
        map_[part] = near
        shown[part] = cv2.resize(box[:, :64], (2 * half, 2 * half))
        film.append((network(map_, rng, 1 / 255), seen(shown, rng)))
        truth.append(near)
    return film, np.array(truth, np.float32)


def lag(film: Film, truth: FloatArray) -> FloatArray:
    """By how many levels the box of each frame is shown too far away."""
    middle = [float(np.median(each[27:37, 43:53])) for each in steadied(film)]
    return np.asarray(255 * (truth - middle), np.float32)


def test_what_quickly_comes_nearer_does_not_lag_behind_more_than_two_frames() -> None:
    speed = 8
    levels = lag(*approaching(speed, FRAMES // 2))
    assert levels[4:].max() < 2 * speed + 3  # 3 levels: the noise of the map


@pytest.mark.parametrize("speed", [2, 4])
def test_what_slowly_comes_nearer_does_not_lag_behind_while_frames_follow(speed: int) -> None:
    levels = lag(*approaching(speed, 30))
    assert levels[8:22].max() < 2 * speed + 3


def test_a_cut_begins_anew_with_the_first_frame_after_it() -> None:
    one, other = still(1), still(2)
    after = steadied(one + other)[FRAMES:]
    for map_, expected in zip(after, steadied(other), strict=True):
        np.testing.assert_array_equal(map_, expected)


def test_a_film_of_one_frame_is_spread_like_a_photo() -> None:
    film = still(1, 1)
    (map_,) = steadied(film)
    np.testing.assert_allclose(map_, alone(film)[0], atol=1e-5)


def test_a_film_of_two_frames_has_two_maps_from_0_to_1() -> None:
    shown = steadied(still(1, 2))
    assert len(shown) == 2
    for map_ in shown:
        assert map_.dtype == np.float32
        assert map_.min() >= 0
        assert map_.max() <= 1
    assert 255 * np.abs(shown[0] - shown[1]).mean() < 2


def test_maps_without_depth_are_grey() -> None:
    _, picture = world(1)
    film = [(np.full((HEIGHT, WIDTH), value, np.float32), picture) for value in (0, 3, -1, 3)]
    for map_ in steadied(film):
        np.testing.assert_array_equal(map_, np.float32(0.5))


def test_a_map_without_depth_amid_others_harms_no_other() -> None:
    film = still(1)
    film[10] = np.full((HEIGHT, WIDTH), 7, np.float32), film[10][1]
    shown = steadied(film)
    truth = maps.normalised(world(1)[0].copy())
    assert len(shown) == FRAMES
    assert all(np.isfinite(each).all() for each in shown)
    for map_ in (shown[5], shown[15]):
        assert ordinal(map_, truth) > 0.97


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_undefined_map_is_an_error_and_harms_no_other_frame(value: float) -> None:
    film = still(1)
    steady, done = Steady(RATE), []
    for number, (map_, picture) in enumerate(film):
        if number == 10:
            broken = map_.copy()
            broken[3, 4] = value
            with pytest.raises(ArithmeticError):
                steady.push(broken, picture)
        done += steady.push(map_, picture)
    for map_, expected in zip(done + steady.flush(), steadied(film), strict=True):
        np.testing.assert_array_equal(map_, expected)


def test_maps_of_another_size_are_an_error() -> None:
    (map_, picture), *_ = still(1, 1)
    steady = Steady(RATE)
    with pytest.raises(ValueError, match="differ in size"):
        steady.push(map_, picture[:-1])
    steady.push(map_, picture)
    with pytest.raises(ValueError, match="has changed"):
        steady.push(map_[:-1], picture[:-1])


@pytest.mark.parametrize("rate", ["1/10", "1", "24000/1001", "25", "60", "240"])
def test_few_frames_wait_at_any_frame_rate(rate: str) -> None:
    steady = Steady(Fraction(rate))
    waiting = 0
    for map_, picture in still(1):
        waiting += 1 - len(steady.push(map_, picture))
        assert 0 <= waiting <= 8
    assert len(steady.flush()) == waiting
    assert steady.flush() == []
