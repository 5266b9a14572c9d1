# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Turns cosines of pictures and labels into scores, as their model was trained to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Kind = Literal["softmax", "sigmoid", "cosine"]


@dataclass(frozen=True)
class Scoring:
    """How cosines to the labels become scores: as the model was trained, or not at all."""

    kind: Kind
    scale: float = 1.0
    bias: float = 0.0

    def scores(self, cosines: FloatArray) -> FloatArray:
        """Scores [pictures, labels]: of "softmax" those of a picture add up to 1."""
        if self.kind == "cosine":
            return cosines
        logits = cosines.astype(np.float64) * self.scale + self.bias
        if self.kind == "sigmoid":
            logits = 0.5 * (1 + np.tanh(0.5 * logits))  # cannot overflow
        else:
            logits = np.exp(logits - logits.max(axis=1, keepdims=True))
            logits /= logits.sum(axis=1, keepdims=True)
        scores: FloatArray = logits.astype(np.float32)
        return scores
