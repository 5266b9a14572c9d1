# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Colours of a decoded image, brought to 8-bit sRGB without transparency."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

log = logging.getLogger("twinlens.pictures")

_STRIP_ROWS = 64
_SRGB = ImageCms.createProfile("sRGB")


def to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An upright image as RGB, 8 bits a channel; ``profile`` is its ICC profile."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _scaled_grey(image).convert("RGB")
    if image.has_transparency_data:
        # A plain convert("RGB") would reveal the colours that hide below transparent pixels.
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    if profile and image.mode in ("RGB", "CMYK", "L"):
        return _in_srgb(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Colours as the profile means them; a profile that cannot be used is as good as none."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, own, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        log.debug("the colour profile cannot be used", exc_info=error)
        converted = None
    return converted or image.convert("RGB")


def _scaled_grey(image: Image.Image) -> Image.Image:
    """16-bit samples keep their range; wider integers and floats are stretched to theirs.

    Strip by strip, since a picture within the budget may have 120 million of them.
    """
    values = np.asarray(image)
    strips = [slice(top, top + _STRIP_ROWS) for top in range(0, image.height, _STRIP_ROWS)]
    low = min(float(_finite(values[strip]).min()) for strip in strips)
    high = max(float(_finite(values[strip]).max()) for strip in strips)
    if low >= 0 and high <= 65535 and image.mode != "F":
        low, high = 0.0, 65535.0
    scale = 255.0 / (high - low) if high > low else 0.0
    grey = np.empty(values.shape, np.uint8)
    for strip in strips:
        grey[strip] = np.rint((_finite(values[strip]) - low) * scale)
    return Image.fromarray(grey)


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    """As float64, since the span of two large float32 does not fit into float32."""
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
