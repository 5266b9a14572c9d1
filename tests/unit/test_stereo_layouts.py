# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests how the views of a stereo pair are arranged, and the names that players know."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from app.blueprints.depth import attachment
from app.errors import BadRequest, TooLarge
from app.rendering import formats, stereo, stereo_layouts
from app.rendering.options import DepthOptions, Stereo
from app.rendering.stereo_layouts import anaglyph, arranged, picture_size

WIDTH, HEIGHT = 60, 32
KINDS = [kind for kind in get_args(Stereo) if kind != "none"]

Pixels = NDArray[np.uint8]


def made(kind: str, width: int = WIDTH, height: int = HEIGHT, **options: object) -> Pixels:
    random = np.random.default_rng(5)
    photo = random.integers(0, 256, (height, width, 3), np.uint8)
    disparity = np.zeros((height, width), np.float32)
    disparity[:, width // 3 : width // 2] = 1
    given = {"stereo": kind, "divergence": 8, **options}
    return arranged(photo, disparity, DepthOptions.parse(given))


def pair(width: int = WIDTH, height: int = HEIGHT, **options: object) -> tuple[Pixels, Pixels]:
    """The views of the left and the right eye, from the pair that all others must agree with."""
    both = made("sbs", width, height, **options)
    return both[:, :width], both[:, width:]


def test_the_eyes_of_a_pair_differ() -> None:
    left, right = pair()
    assert left.shape == right.shape == (HEIGHT, WIDTH, 3)
    assert not np.array_equal(left, right)


def test_full_views() -> None:
    left, right = pair()
    assert np.array_equal(made("cross"), np.hstack([right, left]))
    assert np.array_equal(made("tb"), np.vstack([left, right]))
    assert np.array_equal(made("left"), left)
    assert np.array_equal(made("right"), right)


def test_half_views_are_the_mean_of_two_columns_or_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stereo, "_STRIP_PIXELS", 7 * WIDTH)  # several strips, not of equal height
    views = [view.astype(float) for view in pair()]
    narrow = np.hstack([view.reshape(HEIGHT, -1, 2, 3).mean(2) for view in views])
    assert np.abs(made("half-sbs") - narrow).max() <= 0.5
    low = np.vstack([view.reshape(-1, 2, WIDTH, 3).mean(1) for view in views])
    assert np.abs(made("half-tb") - low).max() <= 0.5


def test_half_views_of_odd_sizes_keep_the_last_column_or_row() -> None:
    left, right = pair(61, 33)
    narrow = made("half-sbs", 61, 33)
    assert narrow.shape == (33, 62, 3)
    assert np.array_equal(narrow[:, 30], left[:, 60])
    assert np.array_equal(narrow[:, 61], right[:, 60])
    low = made("half-tb", 61, 33)
    assert low.shape == (34, 61, 3)
    assert np.array_equal(low[16], left[32])
    assert np.array_equal(low[33], right[32])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2), (3, 5)])
def test_tiny_photos(kind: Stereo, size: tuple[int, int]) -> None:
    picture = made(kind, *size)
    assert picture.shape == (*picture_size(kind, size)[::-1], 3)


def test_swap_exchanges_the_eyes() -> None:
    left, right = pair()
    assert np.array_equal(made("sbs", swap=True), made("cross"))
    assert np.array_equal(made("cross", swap=True), np.hstack([left, right]))
    assert np.array_equal(made("tb", swap=True), np.vstack([right, left]))
    half = made("half-sbs")
    assert np.array_equal(
        made("half-sbs", swap=True), np.hstack([half[:, WIDTH // 2 :], half[:, : WIDTH // 2]])
    )
    assert np.array_equal(made("anaglyph"), anaglyph(left, right))
    assert np.array_equal(made("anaglyph", swap=True), anaglyph(right, left))


def linear(level: int) -> float:
    share = level / 255
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)


# Dubois' matrices, rows for red, green and blue of the picture: what the left eye's linear RGB
# contributes, and then the right eye's.
LEFT = [[0.456, 0.500, 0.176], [-0.040, -0.038, -0.016], [-0.015, -0.021, -0.005]]
RIGHT = [[-0.043, -0.088, -0.002], [0.378, 0.734, -0.018], [-0.072, -0.113, 1.226]]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((200, 10, 90), (200, 10, 90)),
        ((255, 255, 255), (0, 0, 0)),
        ((0, 0, 0), (255, 255, 255)),
        ((12, 200, 7), (180, 99, 30)),
        ((1, 2, 3), (3, 2, 1)),
    ],
)
def test_anaglyphs_are_dubois_in_linear_light(
    left: tuple[int, int, int], right: tuple[int, int, int]
) -> None:
    views = [np.full((2, 3, 3), colour, np.uint8) for colour in (left, right)]
    mixed = np.array(LEFT) @ [linear(each) for each in left]
    mixed += np.array(RIGHT) @ [linear(each) for each in right]
    shown = anaglyph(*views)
    assert (shown == shown[0, 0]).all()
    for level, wanted in zip(shown[0, 0].tolist(), np.clip(mixed, 0, 1), strict=True):
        assert linear(max(level - 1, 0)) <= wanted <= linear(min(level + 1, 255))


def test_grey_stays_grey_in_an_anaglyph_without_depth() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    assert np.abs(anaglyph(greys, greys).astype(int) - greys).max() <= 1


NAMES = {
    ("sbs", False): "a_LRF_Full_SBS.png",
    ("sbs", True): "a_RLF_cross.png",
    ("half-sbs", False): "a_LR.png",
    ("half-sbs", True): "a_RL.png",
    ("tb", False): "a_TBF_fulltb.png",
    ("tb", True): "a_BTF_fullbt.png",
    ("half-tb", False): "a_TB.png",
    ("half-tb", True): "a_BT.png",
    ("cross", False): "a_RLF_cross.png",
    ("cross", True): "a_LRF_Full_SBS.png",
    ("anaglyph", False): "a_redcyan.png",
    ("anaglyph", True): "a_cyanred.png",
    ("left", False): "a_L.png",
    ("right", False): "a_R.png",
}


@pytest.mark.parametrize(("kind", "swap"), NAMES)
def test_names_that_players_know(kind: str, swap: bool) -> None:
    options = DepthOptions.parse({"stereo": kind, "swap": swap})
    assert attachment("a.jpg", options) == f'attachment; filename="{NAMES[kind, swap]}"'


def test_every_layout_has_a_name() -> None:
    assert {kind for kind, _ in NAMES} == set(KINDS) == set(stereo_layouts.LAYOUTS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"divergence": 1}, "divergence: only with a stereo pair"),
        ({"convergence": 0}, "convergence: only with a stereo pair"),
        ({"swap": "true"}, "swap: only with a stereo pair"),
        ({"swap": "1", "convergence": 1}, "convergence, swap: only"),
        ({"stereo": "left", "swap": "true"}, "stereo=right instead"),
        ({"stereo": "right", "swap": "true"}, "stereo=left instead"),
        ({"stereo": "tb", "convergence": 1.1}, "less than or equal to 1"),
        ({"stereo": "tb", "convergence": -0.1}, "greater than or equal to 0"),
        ({"stereo": "tb", "convergence": "nan"}, "convergence"),
        ({"stereo": "tb", "divergence": 0}, "greater than 0"),
        ({"stereo": "tb", "format": "npy"}, "stereo=tb needs format=png, webp or jpeg"),
        ({"stereo": "anaglyph", "colormap": "turbo"}, "stereo=anaglyph shows the photo"),
        ({"stereo": "sbs", "format": "heic"}, "does not write them"),
        ({"format": "heic"}, "format: a spatial photo (heic) cannot be written here"),
    ],
)
def test_options_without_meaning(options: dict[str, object], expected: str) -> None:
    with pytest.raises(BadRequest) as refused:
        DepthOptions.parse(options)
    assert expected in refused.value.message


def test_defaults_may_always_be_sent() -> None:
    given = {"stereo": "none", "divergence": "2.0", "convergence": "0.5", "swap": "false"}
    assert DepthOptions.parse(given) == DepthOptions()


@pytest.mark.parametrize(
    ("kind", "view", "fits"),
    [
        ("sbs", (1000, 500), False),
        ("tb", (1000, 500), False),
        ("half-sbs", (1000, 500), True),
        ("half-tb", (1000, 500), True),
        ("anaglyph", (1000, 500), True),
        ("left", (1000, 500), True),
        ("left", (1000, 501), False),
        ("half-tb", (32767, 2), False),
    ],
)
def test_limits_hold_for_the_picture(kind: Stereo, view: tuple[int, int], fits: bool) -> None:
    options = DepthOptions(stereo=kind)
    if fits:
        formats.check(options, view, 500_000)
        return
    with pytest.raises(TooLarge, match="smaller size="):
        formats.check(options, view, 500_000)


def test_the_longest_edge_of_a_format_holds_for_the_picture() -> None:
    view = (1000, 9000)
    formats.check(DepthOptions(stereo="sbs", format="webp"), view, 10**9)
    with pytest.raises(TooLarge, match="at most 16383"):
        formats.check(DepthOptions(stereo="tb", format="webp"), view, 10**9)
