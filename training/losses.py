# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What is minimised. Maps are [n, h, w] float32, disparity: larger is nearer.

A prediction may be below 0 here; the network's last step, which cuts that off, comes afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SCALES = 4
_PAIRS = 4096
_DIFFERENT = 1.1  # times as near
_SURE = 4.0  # of logarithms: how soon a right order costs nothing more
_FAR = 0.05  # what is added before a logarithm, of disparities up to 1: the sky has 0


def aligned(disparity: Tensor) -> Tensor:
    """Shifted to median 0 and scaled to mean absolute deviation 1, each map by itself.

    Ranftl et al., "Towards Robust Monocular Depth Estimation" (MiDaS), 2020, equation 5; Depth
    Anything uses the same.
    """
    flat = disparity.flatten(1)
    shifted = flat - flat.median(1, keepdim=True).values
    scale = shifted.abs().mean(1, keepdim=True).clamp_min(1e-4)
    return (shifted / scale).view_as(disparity)


def scale_and_shift_invariant(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference after each was aligned (MiDaS, "ssimae" without trimming)."""
    return (aligned(predicted) - aligned(target)).abs().mean()


def gradients(predicted: Tensor, target: Tensor) -> Tensor:
    """How the aligned difference changes from pixel to pixel, at four scales.

    Keeps edges sharp and where they belong (MiDaS, equation 11).
    """
    difference = aligned(predicted) - aligned(target)
    total = torch.zeros((), device=predicted.device)
    for scale in range(_SCALES):
        step = 2**scale
        part = difference[:, ::step, ::step]
        across = (part[:, :, 1:] - part[:, :, :-1]).abs().mean()
        down = (part[:, 1:] - part[:, :-1]).abs().mean()
        total = total + across + down
    return total / _SCALES


def ratios(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of logarithms: what is far counts as much as what is near.

    The target is at least 0, and about 1 where it is nearest.
    """
    return (_logarithm(predicted) - _logarithm(target)).abs().mean()


def ranking(predicted: Tensor, target: Tensor) -> Tensor:
    """How wrong the order is of random pairs of pixels of which one is at least 10 % nearer.

    Chen et al., "Single-Image Depth Perception in the Wild", 2016, equation 3, on logarithms.
    """
    one, other = torch.randint(target[0].numel(), (2, _PAIRS), device=target.device)
    logs, truth = _logarithm(predicted).flatten(1), target.flatten(1)
    ones, others = truth[:, one], truth[:, other]
    counts = torch.maximum(ones, others) > _DIFFERENT * torch.minimum(ones, others)
    margin = torch.sign(ones - others) * (logs[:, one] - logs[:, other])
    return torch.nn.functional.softplus(-_SURE * margin)[counts].mean()


def _logarithm(disparity: Tensor) -> Tensor:
    """From 0 on that of a little more; below 0 on along the tangent, so that all can be learned."""
    above = (disparity.clamp_min(0) + _FAR).log()
    return above + disparity.clamp_max(0) / _FAR


def contrastive(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy over the batch (Radford et al., CLIP, 2021, figure 3).

    Args:
        images, texts: [n, dims] of length 1; row i of each belong together.
        scale: of the cosines, the inverse temperature.
    """
    logits = scale * images @ texts.T
    labels = torch.arange(len(logits), device=logits.device)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
