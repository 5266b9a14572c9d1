# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""How good maps and vectors are. Maps are [h, w] disparity: larger is nearer, 0 is the sky."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_FARTHEST = 80.0  # metres; what is further counts for order only
_DIFFERENT = 1.1  # a pair counts where one disparity is at least so many times the other
_PAIRS = 20_000


@dataclass(frozen=True)
class DepthQuality:
    """Of one map, or the mean of several."""

    #: mean of |depth - truth| / truth after alignment
    abs_rel: float
    #: share of pixels whose depth and truth differ by a factor below 1.25 after alignment
    delta_1: float
    #: share of pairs of pixels whose order is right
    ordinal: float


def depth_quality(predicted: Floats, target: Floats) -> DepthQuality:
    """Against exact disparity in 1/metres; the prediction in any scale and shift.

    The scale and shift are those of least squares in disparity, as in MiDaS (Ranftl et al., 2020).
    """
    near = target > 1 / _FARTHEST
    columns = np.stack([predicted[near], np.ones(int(near.sum()))], 1).astype(np.float64)
    truth = target[near].astype(np.float64)
    solution, *_ = np.linalg.lstsq(columns, truth)
    depth = 1 / np.clip(columns @ solution, 1 / _FARTHEST, None)
    ratio = depth * truth
    return DepthQuality(
        abs_rel=float(np.abs(ratio - 1).mean()),
        delta_1=float((np.maximum(ratio, 1 / ratio) < 1.25).mean()),
        ordinal=ordinal(predicted, target),
    )


def ordinal(predicted: NDArray[Any], target: Floats) -> float:
    """Share of random pairs of pixels whose order is right; about equal ones do not count."""
    one, other = np.random.default_rng(0).integers(target.size, size=(2, _PAIRS))
    truth, guess = target.ravel().astype(float), predicted.ravel().astype(float)
    larger, smaller = np.maximum(truth[one], truth[other]), np.minimum(truth[one], truth[other])
    counts = larger > _DIFFERENT * smaller
    right = np.sign(truth[one] - truth[other]) == np.sign(guess[one] - guess[other])
    return float(right[counts].mean())


def mean(qualities: list[DepthQuality]) -> DepthQuality:
    """Each figure's mean over maps."""
    rows = np.array([(each.abs_rel, each.delta_1, each.ordinal) for each in qualities])
    return DepthQuality(*rows.mean(0).tolist())


def recall_at_1(queries: Floats, answers: Floats) -> float:
    """Share of queries [n, dims] whose nearest answer [n, dims] by cosine is that of their row."""
    return float(((queries @ answers.T).argmax(1) == np.arange(len(queries))).mean())
