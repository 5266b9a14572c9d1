# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the levels of a depth map that a client sends, up to 16 bits each.

Decoding processes hand over RGB of 8 bits, so that a level is packed into two of the channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pictures.colour import to_rgb
from app.pictures.source import refused

_TOP = 65535
# Largest difference between the channels of a grey picture that was saved as a colour JPEG.
_TINGE = 12
_STRIP_ROWS = 256


def packed(image: Image.Image, profile: bytes | None) -> Image.Image:  # noqa: ARG001 - see below
    """The levels of an upright grey image as RGB: high byte, low byte, 0.

    Colour profiles and gamma are ignored, because levels of depth are no colours. Levels of 8 bits
    are multiplied by 257.

    Raises:
        BadRequest: the image is coloured or has transparent parts.
    """
    is_deep = image.mode.startswith("I;16")
    if not is_deep:
        if image.has_transparency_data and _alpha(image).getextrema() != (255, 255):
            raise refused("The depth map has transparent parts: send a grey one without them")
        image = to_rgb(image, None)
    channels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        levels = np.asarray(image.crop((0, top, image.width, bottom)))
        strip = channels[top:bottom]
        strip[..., 2] = 0
        if is_deep:
            strip[..., 0], strip[..., 1] = levels >> 8, levels & 255
            continue
        if np.ptp(levels, axis=2).max() > _TINGE:
            raise refused(
                "The depth map is coloured: send a grey one, near is bright (colormap=gray)"
            )
        strip[..., :2] = levels[..., 1:2]
    return Image.fromarray(channels)


def unpacked(channels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The map [h, w], 0 to 1, from the channels that ``packed`` made."""
    levels = np.multiply(channels[..., 0], 256, dtype=np.float32)
    levels += channels[..., 1]
    levels /= _TOP
    return levels


def _alpha(image: Image.Image) -> Image.Image:
    mode = "LA" if image.mode in ("L", "LA", "La") else "RGBA"
    return image.convert(mode).getchannel("A")
