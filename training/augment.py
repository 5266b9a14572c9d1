# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Changes training pictures as cameras, apps and users do, so that models can cope with that."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Rng = np.random.Generator

_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def photographed(pixels: Pixels, rng: Rng) -> Pixels:
    """Change colours and sharpness of a picture [h, w, 3] uint8, and add noise and compression."""
    picture: NDArray[Any] = pixels.astype(np.float32) / 255
    picture = picture ** rng.uniform(0.7, 1.4) * rng.normal(1, 0.06, 3)
    grey = (picture @ _GREY)[..., None]
    saturation = 0.0 if rng.random() < 0.06 else rng.uniform(0.4, 1.6)
    picture = grey + (picture - grey) * saturation
    picture = 0.5 + (picture - 0.5) * rng.uniform(0.7, 1.3) + rng.uniform(-0.08, 0.08)
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.5))
    if rng.random() < 0.3:  # darkens the rim, as many lenses do
        rows, columns = np.indices(picture.shape[:2], np.float32)
        y, x = rows / picture.shape[0] - 0.5, columns / picture.shape[1] - 0.5
        picture *= 1 - rng.uniform(0, 0.9) * (x * x + y * y)[..., None]
    if rng.random() < 0.5:
        picture += rng.normal(0, rng.uniform(0, 0.05), picture.shape)
    changed = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        packed = cv2.imencode(".jpg", changed, quality)[1]
        changed = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return changed
