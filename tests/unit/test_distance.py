# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the conversion of distance to disparity: no odd value may spoil the rest of the map."""

import warnings

import numpy as np
import pytest

from app.models import distance


def test_the_nearer_the_larger() -> None:
    given = np.array([[0.5, 1, 2], [4, 8, 80]], np.float32)
    assert distance.inverse(given, 0.1) == pytest.approx(1 / given)
    assert distance.inverse(given, 0.1).dtype == np.float32


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.05, 10), (0, 10), (-3, 10), (-0.0, 10), (np.inf, 0), (-np.inf, 0), (np.nan, 0)],
)
def test_odd_values(value: float, expected: float) -> None:
    given = np.array([[value, 2]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = distance.inverse(given, 0.1)
    assert found == pytest.approx(np.array([[expected, 0.5]]))


def test_denormal_numbers() -> None:
    tiny = np.full((2, 2), 1e-42, np.float32)
    assert np.isfinite(distance.inverse(tiny, distance.nearest_of(tiny))).all()


def test_the_limit_without_a_unit_lets_a_few_pixels_lie_nearer() -> None:
    given = np.linspace(3, 9, 10_000, dtype=np.float32)
    given[:5] = 1e-6
    given[5:9] = [0, -1, np.nan, np.inf]
    limit = distance.nearest_of(given.reshape(100, 100))
    assert 3 < limit < 3.01
    assert distance.nearest_of(7 * given) == pytest.approx(7 * limit)  # the unit does not matter


def test_the_limit_of_a_map_without_any_distance() -> None:
    nothing = np.full((2, 3), np.nan, np.float32)
    assert distance.inverse(nothing, distance.nearest_of(nothing)).tolist() == [[0.0] * 3] * 2
