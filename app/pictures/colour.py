# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Converts a decoded image to 8-bit sRGB without transparency."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

log = logging.getLogger("twinlens.pictures")

#: Longest accepted ICC profile, bytes. Printer profiles have up to 3 MB, those of cameras 4 KB.
MAX_PROFILE = 8 << 20

_STRIP_ROWS = 64
_SRGB = ImageCms.createProfile("sRGB")
# The colour space that a profile must have (bytes 16 to 20 of its header), by Pillow's image mode.
_SPACES = {"RGB": b"RGB ", "CMYK": b"CMYK", "L": b"GRAY"}


def to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an upright image to RGB, 8 bits per channel; ``profile`` is its ICC profile.

    The profile is applied to the colours only; then transparent parts are composited over white. A
    profile is ignored if it is damaged or for another colour space, for example a CMYK profile in
    an RGB image.
    """
    image, alpha = _separated(image)
    rgb = _in_srgb(image, profile) if profile else None
    if rgb is None:
        rgb = image if image.mode == "RGB" else _eight_bits(image).convert("RGB")
    if alpha is None or alpha.getextrema() == (255, 255):
        return rgb
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white


def _separated(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Split an image into its colours (without palette) and its alpha channel (mode L) or None."""
    if image.mode.startswith("I;16") and "transparency" in image.info:
        return image, _keyed(image)
    if image.has_transparency_data:
        mode = "LA" if image.mode in ("1", "L", "LA", "La") else "RGBA"
        if image.mode != mode:
            image = image.convert(mode)
        return image.convert(mode[:-1]), image.getchannel("A")
    if image.mode in ("1", "P", "PA", "RGBX"):
        return image.convert("L" if image.mode == "1" else "RGB"), None
    return image, None


def _keyed(image: Image.Image) -> Image.Image | None:
    """The alpha channel of a 16-bit grey image in which one level is marked as transparent."""
    key = image.info["transparency"]
    if not isinstance(key, int):
        return None
    return Image.fromarray(np.where(np.asarray(image) == key, np.uint8(0), np.uint8(255)))


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The image converted from its profile to sRGB; None if the profile cannot be used."""
    space = profile[16:20]
    try:
        if len(profile) > MAX_PROFILE:
            return None
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _is_deep(image) and space == b"GRAY":
            return _deep_in_srgb(image, own)
        image = _eight_bits(image)
        if image.mode == "L" and space == b"RGB ":  # black-and-white photos of some cameras
            image = image.convert("RGB")
        if _SPACES.get(image.mode) != space:
            return None
        return ImageCms.profileToProfile(image, own, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        log.debug("the colour profile cannot be used", exc_info=error)
        return None


def _deep_in_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image | None:
    """Convert 16-bit grey to sRGB with all of its precision, which dark levels need.

    The profile is applied to a ramp of 256 levels; the values between them are interpolated.
    """
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    curve = ImageCms.profileToProfile(ramp, profile, _SRGB, outputMode="RGB")
    if curve is None:
        return None
    levels = np.asarray(curve)[0]
    deep = np.arange(65536) / 257
    table = np.stack([np.interp(deep, np.arange(256), levels[:, each]) for each in range(3)], 1)
    table = np.rint(table).astype(np.uint8)
    values = np.asarray(image)
    rgb = np.empty((*values.shape, 3), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        strip = slice(top, top + _STRIP_ROWS)
        rgb[strip] = table[values[strip]]
    return Image.fromarray(rgb)


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I;16")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale samples to 8 bits.

    16-bit samples are scaled by their full range, wider integers and floats by the range of their
    values. This is done in strips to save memory, because a picture may have 120 million samples.
    """
    if not _is_deep(image) and image.mode not in ("I", "F"):
        return image
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
    """Convert to float64, since the span of two large float32 numbers does not fit into float32."""
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
