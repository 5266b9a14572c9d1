# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures the quality of maps and vectors.

Maps are disparities [h, w], in which larger means nearer and the sky is 0.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_FARTHEST = 80.0  # metres; pixels that are farther away count only in the order of pairs
#: a pair of pixels counts if one disparity is more than this many times the other
DIFFERENT, VERY_DIFFERENT = 1.1, 2.0
_PAIRS = 20_000


@dataclass(frozen=True)
class DepthQuality:
    """Holds the quality of one map, or the mean quality of several."""

    #: the mean of |depth - truth| / truth after alignment
    abs_rel: float
    #: the share of pixels whose depth and truth differ by a factor below 1.25 after alignment
    delta_1: float
    #: the share of pairs in the right order, among pairs of pixels of which one is at least 10 %
    #: nearer
    ordinal: float
    #: the same share among pairs of which one pixel is at least twice as near
    ordinal_twice: float
    #: as a baseline, the last two figures for a map that calls lower pixels nearer
    lower_ordinal: float
    lower_ordinal_twice: float


def depth_quality(predicted: Floats, target: Floats) -> DepthQuality:
    """Measure the quality of a predicted depth map.

    ``target`` is exact disparity (1/metres). ``predicted`` may have any scale and shift, which are
    first fitted to the target by least squares in disparity, as in MiDaS (Ranftl et al., 2020).
    """
    near = target > 1 / _FARTHEST
    columns = np.stack([predicted[near], np.ones(int(near.sum()))], 1).astype(np.float64)
    truth = target[near].astype(np.float64)
    solution, *_ = np.linalg.lstsq(columns, truth)
    depth = 1 / np.clip(columns @ solution, 1 / _FARTHEST, None)
    ratio = depth * truth
    lower = np.broadcast_to(np.arange(target.shape[0])[:, None], target.shape)
    return DepthQuality(
        abs_rel=float(np.abs(ratio - 1).mean()),
        delta_1=float((np.maximum(ratio, 1 / ratio) < 1.25).mean()),
        ordinal=ordinal(predicted, target),
        ordinal_twice=ordinal(predicted, target, VERY_DIFFERENT),
        lower_ordinal=ordinal(lower, target),
        lower_ordinal_twice=ordinal(lower, target, VERY_DIFFERENT),
    )


def ordinal(predicted: NDArray[Any], target: Floats, factor: float = DIFFERENT) -> float:
    """Return the share of pairs in the right order, among random pairs that differ by a factor.

    The pairs are pairs of pixels. The result is NaN if no pair differs by ``factor``.
    """
    one, other = np.random.default_rng(0).integers(target.size, size=(2, _PAIRS))
    truth, guess = target.ravel().astype(float), predicted.ravel().astype(float)
    larger, smaller = np.maximum(truth[one], truth[other]), np.minimum(truth[one], truth[other])
    counts = larger > factor * smaller
    right = np.sign(truth[one] - truth[other]) == np.sign(guess[one] - guess[other])
    return float(right[counts].mean()) if counts.any() else float("nan")


def mean(qualities: list[DepthQuality]) -> DepthQuality:
    """Return the mean of each figure over several maps; NaN counts as missing."""
    rows = np.array([astuple(each) for each in qualities])
    return DepthQuality(*np.nanmean(rows, axis=0).tolist())


def recall_at_1(queries: Floats, answers: Floats) -> float:
    """Return the share of queries whose most similar answer is in the same row.

    Both arguments are [n, dims].
    """
    return float(((queries @ answers.T).argmax(1) == np.arange(len(queries))).mean())
