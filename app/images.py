# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""From the file of a client to an upright RGB picture. The only place that decodes images."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from app.errors import BadRequest, TooLarge, TwinlensError

log = logging.getLogger("twinlens.images")

# Formats that are tried; Pillow knows many more, each a parser that an attacker could reach.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "HEIF")

# The phones' format. No thumbnails, no depth pictures: only the main image is of use here.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
# Ours is an error and names the budget; Pillow's own is only a warning up to twice its value.
Image.MAX_IMAGE_PIXELS = None

_STRIP_ROWS = 64
_ORIENTATION = ExifTags.Base.Orientation
_TURNED = (5, 6, 7, 8)  # the values that swap width and height
_SRGB = ImageCms.createProfile("sRGB")


@dataclass(frozen=True)
class Picture:
    """An upright picture, 8 bits a channel, RGB."""

    image: Image.Image
    #: width and height of the upright photo, pixels; the image itself may have been decoded smaller
    size: tuple[int, int]


#: From the upright size to width and height that are enough, or None for all there is.
Enough = Callable[[int, int], tuple[int, int] | None]


def in_full(_: int, __: int) -> None:
    """Decode all pixels."""


def decode(file: BinaryIO, max_pixels: int, enough: Enough = in_full) -> Picture:
    """Decode an image of a client.

    The EXIF orientation is applied first; colours are brought to sRGB where the file has a profile;
    transparency is composited over white; 16-bit and float greyscale are scaled to 8 bits instead
    of clipped. Of an animation the first frame counts.

    Args:
        file: in one of ``FORMATS``, whatever its name says.
        max_pixels: budget for width x height, checked on the header before anything is decoded.
        enough: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, straight from its DCT
            coefficients (libjpeg), as long as it stays at least as large as this says.

    Raises:
        BadRequest: not an image, or a broken one.
        TooLarge: more pixels than the budget, or what ``enough`` raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of broken metadata; what matters raises
        image = _open(file)
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise TooLarge(
                f"The image has {pixels} pixels ({image.width}x{image.height}); "
                f"at most {max_pixels} are accepted (MAX_IMAGE_PIXELS)"
            )
        try:
            size = _scale_jpeg(image, enough)
            image.load()
            profile = image.info.get("icc_profile")
            ImageOps.exif_transpose(image, in_place=True)  # else it copies in any case
            upright = _to_rgb(image, profile)
            return Picture(upright, size or upright.size)
        except (MemoryError, TwinlensError):  # the latter by `enough`
            raise
        except Exception as error:  # the decoders raise many kinds
            log.debug("decoding failed", exc_info=error)
            raise _broken() from None


def _open(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise BadRequest(
            f"The file is not an image that can be read; known formats: {', '.join(FORMATS)}",
            title="Invalid image",
        ) from None
    except Exception as error:  # the parsers raise many kinds on broken headers
        log.debug("opening failed", exc_info=error)
        raise _broken() from None


def _scale_jpeg(image: Image.Image, enough: Enough) -> tuple[int, int] | None:
    """Have a JPEG decoded no larger than needed; its full upright size, if that is what happens."""
    if image.format != "JPEG":
        return None
    turned = image.getexif().get(_ORIENTATION) in _TURNED
    size = image.size[::-1] if turned else image.size
    wanted = enough(*size)
    if wanted is None:
        return None
    image.draft(None, wanted[::-1] if turned else wanted)
    return size


def _broken() -> BadRequest:
    message = "The image is damaged or incomplete and cannot be read"
    return BadRequest(message, title="Invalid image")


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
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


def normalised(
    image: Image.Image, mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.float32]:
    """RGB picture to [3, height, width] float32: each channel scaled to 0..1, minus its mean, over
    its standard deviation.
    """
    pixels = np.asarray(image)
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        scale = 1 / (255 * deviation[channel])
        np.multiply(pixels[..., channel], scale, out=planes[channel], dtype=np.float32)
        planes[channel] -= mean[channel] / deviation[channel]
    return planes
