# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Ten pictures and ten texts for comparing a model with its reference, chosen to be awkward."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

#: width and height by name; with these sizes, mistakes in preparing pictures show
SIZES = {
    "photo 4:3": (800, 600),
    "portrait 2:3": (500, 750),
    "wide 16:9": (960, 540),
    "square": (512, 512),
    "odd": (641, 427),
    "crop margin": (231, 224),
    "small": (90, 60),
    "panorama": (1200, 240),
    "tall": (150, 700),
    "grey": (320, 240),
}

TEXTS = (
    "a photo of a cat",
    "Two  Dogs,\tplaying on a BEACH!",
    "a red bicycle in front of a blue door",
    "sunset over the sea, 1998",
    "ein schöner Wintertag in den Bergen",
    "на столе лежит яблоко",
    "公园里的一只猫",
    "birthday cake 🎂 with 10 candles",
    "it's raining; people's umbrellas...",
    "a very long description of a street with houses, trees, cars and people " * 8,
)


def pictures() -> dict[str, Image.Image]:
    """The ten RGB pictures by name; every call gives the same ones."""
    return {
        name: _picture(size, seed, grey=name == "grey")
        for seed, (name, size) in enumerate(SIZES.items())
    }


def _picture(size: tuple[int, int], seed: int, grey: bool) -> Image.Image:
    """Draw shapes before a colour gradient, blurred and with a little noise to be like a photo."""
    width, height = size
    random = np.random.default_rng(seed)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    top, bottom = random.uniform(60, 230, (2, 3))
    pixels = np.ascontiguousarray(
        np.broadcast_to(top * (1 - rows) + bottom * rows, (height, width, 3)), np.float32
    )
    short = min(size)
    for _ in range(12):
        x, y = (int(each) for each in random.uniform(0, size))
        reach = int(random.uniform(0.05, 0.3) * short) + 1
        colour = [float(each) for each in random.uniform(0, 255, 3)]
        if random.random() < 0.5:
            cv2.circle(pixels, (x, y), reach, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(pixels, (x - reach, y - reach // 2), (x + reach, y + reach), colour, -1)
    blurred = cv2.GaussianBlur(pixels, (0, 0), 1 + short / 400)
    noisy = np.rint(blurred + random.normal(0, 3, pixels.shape))
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return image.convert("L").convert("RGB") if grey else image
