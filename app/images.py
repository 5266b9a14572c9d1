# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""From the bytes of a client to an upright RGB picture. The only place that decodes images."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from app.errors import BadRequest, TooLarge

# Formats that are tried; Pillow knows many more, each a parser that an attacker could reach.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF")

# Ours is an error and names the budget; Pillow's own is only a warning up to twice its value.
Image.MAX_IMAGE_PIXELS = None


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """Decode an image of a client.

    The EXIF orientation is applied first; transparency is composited over white; 16-bit and float
    greyscale are scaled to 8 bits instead of clipped. Of an animation the first frame counts.

    Args:
        data: the file, in one of ``FORMATS``.
        max_pixels: budget for width x height, checked on the header before anything is decoded.

    Returns:
        An RGB picture, 8 bits a channel.

    Raises:
        BadRequest: not an image, or a broken one.
        TooLarge: more pixels than the budget.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadRequest(
            f"The file is not an image that can be read; known formats: {', '.join(FORMATS)}",
            title="Invalid image",
        ) from None
    except Exception as error:  # the parsers of Pillow raise many kinds on broken headers
        raise _broken(error) from error
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise TooLarge(
            f"The image has {pixels} pixels ({image.width}x{image.height}); "
            f"at most {max_pixels} are accepted (MAX_IMAGE_PIXELS)"
        )
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:
        raise _broken(error) from error


def _broken(error: Exception) -> BadRequest:
    if isinstance(error, MemoryError):
        raise error
    return BadRequest(
        "The image is damaged or incomplete and cannot be read", title="Invalid image"
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _scaled_grey(image).convert("RGB")
    if image.has_transparency_data:
        # A plain convert("RGB") would reveal the colours that hide below transparent pixels.
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _scaled_grey(image: Image.Image) -> Image.Image:
    """16-bit samples keep their range; wider integers and floats are stretched to theirs."""
    values = np.asarray(image, dtype=np.float32)
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    if values.size and values.min() >= 0 and values.max() <= 65535 and image.mode != "F":
        values = values / 257.0
    else:
        low, high = float(values.min()), float(values.max())
        values = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(np.rint(values).astype(np.uint8))


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """[height, width] uint8 to an 8-bit greyscale PNG."""
    file = io.BytesIO()
    # Level 1: a 12 MP map takes a quarter of the default level's time and little more room.
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
