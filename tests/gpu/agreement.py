# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checks that a GPU's results differ little from the expected ones.

The limits are those that docs/performance.md promises for weights of full size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.values import Precision

COSINE: dict[Precision, float] = {"fp16": 0.9999, "bf16": 0.999}


def off(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the absolute difference of two maps in levels."""
    return np.abs(one.astype(int) - other)


def check_levels(got: NDArray[np.uint8], expected: NDArray[np.uint8], most: int) -> None:
    """Check the device's image work: 99 % of the pixels are equal, and no other is far off."""
    difference = off(got, expected)
    assert got.shape == expected.shape
    assert difference.max() <= most
    assert np.percentile(difference, 99) == 0


def check_inputs(
    got: NDArray[np.float32], expected: NDArray[np.float32], deviation: NDArray[np.float32]
) -> None:
    """Check a network's inputs: as pictures, they must agree as in ``check_levels``."""
    one, other = (
        np.rint(255 * deviation[:, None, None] * (each - expected.min()))
        for each in (got, expected)
    )
    check_levels(one.astype(np.uint8), other.astype(np.uint8), most=2)


def check_maps(got: Iterable[NDArray[np.uint8]], expected: Iterable[NDArray[np.uint8]]) -> None:
    """Check that each map agrees with the expected one at its place, and less with all others."""
    ours, theirs = list(got), list(expected)
    for place, one in enumerate(ours):
        difference = off(one, theirs[place])
        assert difference.mean() <= 1.0
        assert np.percentile(difference, 99.9) <= 8
        means = [off(one, other).mean() for other in theirs]
        assert int(np.argmin(means)) == place


def check_vectors(
    got: Iterable[NDArray[np.float32]], expected: Iterable[NDArray[np.float32]], cosine: float
) -> None:
    """Check that each vector (of length 1) is most similar to the expected one at its place."""
    similarity = np.stack(list(got)) @ np.stack(list(expected)).T
    assert (similarity.argmax(axis=1) == np.arange(len(similarity))).all()
    assert np.diag(similarity).min() >= cosine
