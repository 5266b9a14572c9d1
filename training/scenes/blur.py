# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Blurs what is out of focus, as a wide open lens does."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.compose import Camera
from training.scenes.textures import Floats

_LAYERS = 8
_DISC_TO_GAUSS = 0.5  # the deviation of a disc along one axis is half its radius


def defocused(linear: Floats, depth: Floats, camera: Camera) -> Floats:
    """Blur a linear picture [h, w, 3] by its depth [h, w] in metres, which may be infinite.

    The picture is cut into layers of about the same blur, which are blurred and laid over each
    other, far ones first. So near edges stay sharp before a blurred background, and blurred near
    things cover what is behind them softly.
    """
    # A thin lens: the circle's diameter is proportional to |1 / focus - 1 / depth|.
    offset = (1 - camera.focus / depth) * camera.blur * max(depth.shape)
    nearest = max(float(offset.min()), -camera.blur * max(depth.shape))
    edges = np.linspace(nearest, float(offset.max()) + 1e-6, _LAYERS + 1)
    total = linear.astype(np.float32)
    result = np.zeros_like(total)
    for far, near in zip(edges[:0:-1], edges[-2::-1], strict=True):
        inside = (offset < far) & (offset >= near) if near > nearest else offset < far
        if not inside.any():
            continue
        # What hides behind nearer things is not known: the layer keeps its own colour there.
        sigma = abs(float(offset[inside].mean())) * _DISC_TO_GAUSS
        mask = inside.astype(np.float32)[..., None]
        layer = np.concatenate([total * mask, mask], 2)
        if sigma > 0.3:
            layer = cv2.GaussianBlur(layer, (0, 0), sigma)
        cover = np.clip(layer[..., 3:], 0, 1)
        first = not result.any()
        if first:
            result = layer[..., :3] / np.maximum(layer[..., 3:], 1e-3)
        else:
            result = result * (1 - cover) + layer[..., :3]
    return result
