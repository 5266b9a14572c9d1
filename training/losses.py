# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines loss functions.

Maps are disparities [n, h, w] float32, in which larger means nearer. A prediction may be below 0
here, because the network's last ReLU is left out during training.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SCALES = 4
_PAIRS = 4096
_DIFFERENT = 1.1  # a pair counts if one of its pixels is nearer by this factor
_SURE = 4.0  # the higher this is, the less a pair in the right order costs
_FAR = 0.05  # added to disparities in 0..1 before taking logarithms, because the sky has 0


def aligned(disparity: Tensor) -> Tensor:
    """Shift each map to median 0 and scale it to mean absolute deviation 1.

    See Ranftl et al., "Towards Robust Monocular Depth Estimation" (MiDaS), 2020, equation 5; Depth
    Anything uses the same.
    """
    flat = disparity.flatten(1)
    shifted = flat - flat.median(1, keepdim=True).values
    scale = shifted.abs().mean(1, keepdim=True).clamp_min(1e-4)
    return (shifted / scale).view_as(disparity)


def scale_and_shift_invariant(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference of the aligned maps.

    This is "ssimae" of MiDaS, without trimming.
    """
    return (aligned(predicted) - aligned(target)).abs().mean()


def gradients(predicted: Tensor, target: Tensor) -> Tensor:
    """Return how much the difference of the aligned maps changes between pixels, at four scales.

    This keeps edges sharp and in their right places (MiDaS, equation 11).
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
    """Return the mean absolute difference of logarithms.

    Far parts count in it as much as near ones. The target must be at least 0, and about 1 at its
    nearest.
    """
    return (_logarithm(predicted) - _logarithm(target)).abs().mean()


def ranking(predicted: Tensor, target: Tensor) -> Tensor:
    """Return how wrong the order is in random pairs of pixels of which one is at least 10 % nearer.

    See Chen et al., "Single-Image Depth Perception in the Wild", 2016, equation 3; here it is
    applied to logarithms.
    """
    one, other = torch.randint(target[0].numel(), (2, _PAIRS), device=target.device)
    logs, truth = _logarithm(predicted).flatten(1), target.flatten(1)
    ones, others = truth[:, one], truth[:, other]
    counts = torch.maximum(ones, others) > _DIFFERENT * torch.minimum(ones, others)
    margin = torch.sign(ones - others) * (logs[:, one] - logs[:, other])
    return torch.nn.functional.softplus(-_SURE * margin)[counts].mean()


def _logarithm(disparity: Tensor) -> Tensor:
    """Return the logarithm of the disparity plus a little.

    Below 0, it continues along the tangent at 0, so that negative predictions have a gradient, too.
    """
    above = (disparity.clamp_min(0) + _FAR).log()
    return above + disparity.clamp_max(0) / _FAR


def contrastive(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Return the symmetric cross-entropy over the batch (Radford et al., CLIP, 2021, figure 3).

    Args:
        images, texts: [n, dims] of length 1; the rows i of both belong together.
        scale: the factor for the cosines, which is the inverse temperature.
    """
    logits = scale * images @ texts.T
    labels = torch.arange(len(logits), device=logits.device)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
