# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests stereo pairs of scenes whose depth is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.rendering import stereo
from app.rendering.maps import enlarged
from app.rendering.stereo import Eye

WIDTH, HEIGHT = 200, 12
#: in percent of the width; in each view, near points move by 5 columns in one direction, and far
#: points by 5 in the other
DIVERGENCE = 10.0
RED = (255, 0, 0)
EYES: tuple[Eye, Eye] = ("left", "right")


def background() -> NDArray[np.uint8]:
    """Make a photo without red, so that all red in a view belongs to the object in front."""
    columns = np.arange(WIDTH, dtype=np.uint8)
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    photo[..., 1], photo[..., 2] = columns, 255 - columns
    return photo


def scene(first: int, last: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Make a photo of a near, red object before a far background, and its disparity.

    The object covers the columns from ``first`` to ``last``.
    """
    photo = background()
    photo[:, first : last + 1] = RED
    disparity = np.zeros((HEIGHT, WIDTH), np.float32)
    disparity[:, first : last + 1] = 1
    return photo, disparity


def views(
    photo: NDArray[np.uint8], disparity: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    left, right = (seen_by(eye, photo, disparity) for eye in EYES)
    assert left.shape == right.shape == (HEIGHT, WIDTH, 3)
    return left, right


def seen_by(
    eye: Eye,
    photo: NDArray[np.uint8],
    disparity: NDArray[np.float32],
    convergence: float = 0.5,
    divergence: float = DIVERGENCE,
) -> NDArray[np.uint8]:
    return stereo.view(photo, disparity, divergence, convergence, eye)


def red_columns(view: NDArray[np.uint8]) -> list[int]:
    is_red = (view == RED).all(axis=2)
    assert (is_red == is_red[0]).all()
    mixed = (view[..., 0] > 0) & ~is_red
    assert not mixed.any(), "nothing of the thing in front is smeared over what lies behind"
    return [int(column) for column in np.flatnonzero(is_red[0])]


@pytest.mark.parametrize(("first", "last"), [(80, 120), (100, 102), (100, 100)])
def test_a_near_thing_moves_and_hides_what_lies_behind(first: int, last: int) -> None:
    left, right = views(*scene(first, last))
    assert red_columns(left) == list(range(first + 5, last + 6))
    assert red_columns(right) == list(range(first - 5, last - 4))


def test_the_background_moves_the_other_way() -> None:
    left, right = views(*scene(80, 120))
    expected = background()
    assert (left[:, 10:70] == expected[:, 15:75]).all()
    assert (right[:, 130:190] == expected[:, 125:185]).all()


def test_gaps_show_the_background_beside_them() -> None:
    """Gaps are filled with the mirrored background next to them.

    The left eye sees a gap to the left of the object, at columns 75 to 84.
    """
    left, right = views(*scene(80, 120))
    greens = left[0, 75:85, 1].astype(int)
    assert (np.diff(greens) == -1).all()
    assert 65 <= greens.min() <= greens.max() <= 79
    greens = right[0, 116:126, 1].astype(int)
    assert (np.diff(greens) == -1).all()
    assert 121 <= greens.min() <= greens.max() <= 135


def test_between_a_thin_thing_and_its_old_place_the_background_is_seen() -> None:
    """The background is seen next to a thin object.

    A renderer that keeps only points to the right of all earlier ones would lose it.
    """
    left, _ = views(*scene(100, 101))
    assert (left[:, 107:190] == background()[:, 112:195]).all()


def test_without_depth_both_eyes_see_the_photo() -> None:
    photo = background()
    for view in views(photo, np.full((HEIGHT, WIDTH), 7, np.float32)):
        assert (view == photo).all()


def test_a_slope_has_no_gaps_and_keeps_its_order() -> None:
    slope = np.tile(np.linspace(0, 1, WIDTH, dtype=np.float32), (HEIGHT, 1))
    for view in views(background(), slope):
        steps = np.diff(view[0, 12:-12, 1].astype(int))
        assert set(steps.tolist()) <= {0, 1, 2}


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    disparity = random.random((HEIGHT, WIDTH), np.float32)
    whole = [seen_by(eye, photo, disparity, divergence=3) for eye in EYES]
    monkeypatch.setattr(stereo, "_STRIP_PIXELS", 5 * WIDTH)
    assert np.array_equal([seen_by(eye, photo, disparity, divergence=3) for eye in EYES], whole)


def test_a_soft_edge_of_an_enlarged_map_is_one_edge() -> None:
    """A soft edge is rendered as one edge.

    If it were rendered as a slope from near to far, it would stretch the photo.
    """
    photo, _ = scene(80, 119)
    small = np.zeros((3, 50), np.float32)
    small[:, 20:30] = 1
    left, right = views(photo, small)
    for view, moved in ((left, 5), (right, -5)):
        is_red = (view[..., 0] > 127).all(axis=0)
        columns = np.flatnonzero(is_red)
        assert abs(len(columns) - 40) <= 4
        assert abs(columns.mean() - (99.5 + moved)) <= 2


def test_the_maps_own_blur_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of the photo's size that was enlarged before gives the same pair as the small one.

    People send the maps that this service gave them, which have the photo's size.
    """
    photo, _ = scene(80, 119)
    small = np.zeros((3, 50), np.float32)
    small[:, 20:30] = 1
    large = enlarged(small, (WIDTH, HEIGHT))
    assert np.array_equal(views(photo, large), views(photo, small))
    monkeypatch.setattr(stereo, "_softness", lambda _: 0)
    assert not np.array_equal(views(photo, large), views(photo, small))


@pytest.mark.parametrize("width", [1, 2, 3, 6])
def test_a_hair_keeps_one_depth(width: int) -> None:
    """A thin thing moves as a whole, also where its depth in the map is blurred."""
    photo, _ = scene(100, 100 + width - 1)
    sharp = np.zeros((HEIGHT, WIDTH), np.float32)
    sharp[:, 100 : 100 + width] = 1
    small = sharp.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean((1, 3))
    for eye in EYES:
        for disparity in (sharp, small):
            reds = (seen_by(eye, photo, disparity)[..., 0] > 127).all(axis=0)
            columns = np.flatnonzero(reds)
            assert len(columns) == width
            assert (np.diff(columns) == 1).all(), "it is in one piece"
            move = columns[0] - 100
            assert 4 <= (move if eye == "left" else -move) <= 6


def test_a_gap_beside_a_fence_shows_no_fence() -> None:
    """Where the background beside a gap is narrower than the gap, no other post is mirrored in."""
    photo, disparity = background(), np.zeros((HEIGHT, WIDTH), np.float32)
    for first in range(60, 140, 8):
        photo[:, first : first + 3] = RED
        disparity[:, first : first + 3] = 1
    for eye in EYES:
        is_red = (seen_by(eye, photo, disparity)[..., 0] > 0).all(axis=0)
        assert is_red.sum() == 30


@pytest.mark.parametrize(
    ("convergence", "near", "far"), [(0, 10, 0), (1, 0, -10), (0.25, 7.5, -2.5)]
)
def test_convergence_chooses_what_is_on_the_screen(
    convergence: float, near: float, far: float
) -> None:
    """Points on the screen have the same place in both views, nearer ones cross over."""
    photo, disparity = scene(80, 119)
    left = seen_by("left", photo, disparity, convergence)
    right = seen_by("right", photo, disparity, convergence)
    for seen, sign in ((left, 1), (right, -1)):
        columns = np.flatnonzero((seen[..., 0] > 127).all(axis=0))
        assert abs(columns.mean() - (99.5 + sign * near)) <= 0.5
        shown = seen[0, 20:60, 1].astype(float)
        assert np.abs(shown - (np.arange(20, 60) - sign * far)).max() <= 0.5


@pytest.mark.parametrize("convergence", [0, 1])
def test_without_depth_convergence_moves_nothing(convergence: float) -> None:
    flat = np.full((HEIGHT, WIDTH), 7, np.float32)
    for eye in EYES:
        assert np.array_equal(seen_by(eye, background(), flat, convergence), background())


def test_undefined_numbers_are_refused() -> None:
    with pytest.raises(ArithmeticError):
        views(background(), np.full((4, 4), np.nan, np.float32))


@pytest.mark.parametrize("height", [40, 41, 47, 300])
@pytest.mark.parametrize("eye", EYES)
def test_rows_of_a_frame_share_shifts_where_the_map_has_fewer(eye: Eye, height: int) -> None:
    """The view is that of a map with as many rows as the frame, in all its rows."""
    rng = np.random.default_rng(height)
    photo = rng.integers(0, 256, (height, WIDTH, 3), np.uint8)
    few = np.zeros((10, 50), np.float32)
    few[:, 20:30] = 1
    many = np.repeat(few, 10 * height // 10, axis=0)
    view, expected = (
        np.concatenate(
            [
                views[0]
                for _, views in stereo.strips(photo, map_, DIVERGENCE, 0.5, (eye,), is_spread=True)
            ]
        )
        for map_ in (few, many)
    )
    assert view.shape == photo.shape
    assert (view == expected).all()


def test_the_range_of_a_frame_is_that_of_its_film() -> None:
    """A frame that shows only far things moves as far things do."""
    photo, _ = scene(90, 110)
    far = np.full((HEIGHT, WIDTH), 0.2, np.float32)
    (_, (view,)), *_ = stereo.strips(photo, far, DIVERGENCE, 0.0, ("left",), is_spread=True)
    moved = np.nonzero((view == RED).all(axis=2)[0])[0]
    assert (moved[0], moved[-1]) == (92, 112), "a fifth of the divergence, half of it in each view"
