# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Chooses scenes that look like most photos."""

from __future__ import annotations

from itertools import count

import numpy as np

from training.metrics import ordinal
from training.scenes.compose import Scene, compose
from training.scenes.render import disparity

_SEED = 20261125
_WIDTH, _HEIGHT = 40, 30
_GROUNDED = 0.72


def imagine(seed: int) -> Scene:
    """Return the scene of a seed, which is always the same.

    It is the first composition that looks like most photos: they are farther away at the top than
    at the bottom, and do not just show a wall right in front of the lens.
    """
    attempts = (compose(np.random.default_rng([seed, _SEED, attempt])) for attempt in count())
    return next(scene for scene in attempts if _is_grounded(scene))


def _is_grounded(scene: Scene) -> bool:
    """Return whether the lower pixel is the nearer one in most pairs of pixels."""
    lower = np.broadcast_to(np.arange(_HEIGHT)[:, None], (_HEIGHT, _WIDTH))
    return ordinal(lower, disparity(scene, _WIDTH, _HEIGHT)) >= _GROUNDED
