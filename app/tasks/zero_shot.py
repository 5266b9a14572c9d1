# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Cosines between vectors, and probabilities of labels for an image ("zero-shot" classification).

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021,
section 3.1: each label is a text, or the mean of several texts that templates make of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engines.base import FloatArray
from app.library.scoring import Scoring
from app.models.logits import Logits
from app.tasks.embedding import unit_vector


def cosines(ones: Sequence[FloatArray], others: Sequence[FloatArray]) -> FloatArray:
    """The cosine of each of ``ones`` with each of ``others`` [n, m]; all have L2 norm 1."""
    # Rounding may lead a little beyond 1.
    return np.asarray(np.clip(np.stack(ones) @ np.stack(others).T, -1, 1), np.float32)


def label_vectors(texts: Sequence[FloatArray], templates: int) -> list[FloatArray]:
    """The vector of each label, of L2 norm 1.

    Args:
        texts: vectors of L2 norm 1: those of the first label's texts, then of the second's, ...
        templates: number of texts of each label.
    """
    rows = np.stack(texts).reshape(len(texts) // templates, templates, -1)
    return [unit_vector(row) for row in rows.mean(axis=1)]


def scoring(logits: Logits | None) -> Scoring:
    """How cosines with labels become scores. They stay cosines if the checkpoint has no scale."""
    if logits is None:
        return Scoring("cosine")
    if logits.bias is None:
        return Scoring("softmax", logits.scale)
    return Scoring("sigmoid", logits.scale, logits.bias)


def probabilities(found: FloatArray, logits: Logits) -> FloatArray:
    """The probability of each label, from its cosine with the image [labels].

    Without a bias they add up to 1. With one, each label has a probability of its own.
    """
    (chances,) = scoring(logits).scores(found[None])
    return np.asarray(chances, np.float32)
