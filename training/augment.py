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


def relit(pixels: Pixels, rng: Rng) -> Pixels:
    """Change a rendering [h, w, 3] uint8 towards what light and lenses do to photographs.

    Light falls unevenly, dark parts sink into black or bright ones into white, colours are dull,
    and apps sharpen.
    """
    picture: NDArray[Any] = pixels.astype(np.float32) / 255
    height, width = picture.shape[:2]
    if rng.random() < 0.5:
        grid = np.exp(rng.normal(0, 0.35, (3, 4, 3)) * rng.uniform(0.3, 1))
        grid = grid.mean(2, keepdims=True) * 0.8 + grid * 0.2
        light = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        picture *= np.clip(light, 0.1, 3)
    grey = (picture @ _GREY)[..., None]
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.2, 1.1)
    picture = np.clip(grey + (picture - grey) * saturation, 0, 1)
    if rng.random() < 0.5:
        picture = picture ** rng.uniform(0.6, 2.0)
    if rng.random() < 0.4:  # a steeper curve
        steep = rng.uniform(2, 7)
        middle = rng.uniform(0.35, 0.6)
        low, high = (1 / (1 + np.exp(-steep * (end - middle))) for end in (0, 1))
        picture = (1 / (1 + np.exp(-steep * (picture - middle))) - low) / (high - low)
    if rng.random() < 0.3:
        soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 2))
        picture += rng.uniform(0.3, 1.2) * (picture - soft)
    if rng.random() < 0.3:  # coarse noise, as from a high sensitivity and a small copy
        coarse = rng.normal(0, rng.uniform(0.01, 0.05), (height // 2 + 1, width // 2 + 1, 3))
        picture += cv2.resize(coarse.astype(np.float32), (width, height))
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
