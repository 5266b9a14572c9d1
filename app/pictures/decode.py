# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""From the file of a client to an upright RGB picture. The only place that decodes images."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import pillow_heif
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from app.errors import BadRequest, TooLarge, TwinlensError
from app.pictures.colour import to_rgb

log = logging.getLogger("twinlens.pictures")

# Formats that are tried; Pillow knows many more, each a parser that an attacker could reach.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "HEIF")

# The phones' format. No thumbnails, no depth pictures: only the main image is of use here.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
# Ours is an error and names the budget; Pillow's own is only a warning up to twice its value.
Image.MAX_IMAGE_PIXELS = None

# The first bytes of a file, by format; Pillow knows them too, but only while it parses the file.
_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("BMP", re.compile(rb"BM")),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("AVIF", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("HEIF", re.compile(rb"....ftyp", re.DOTALL)),
)
#: By format: a cheap look at a file's structure before Pillow parses it, given the file at its
#: start and the pixel budget. It raises BadRequest or TooLarge, and need not reset the position.
_CHECKS: dict[str, Callable[[BinaryIO, int], None]] = {}
#: By Pillow's name of the format: reads the pixels of an opened image where Pillow's own ``load``
#: gives wrong ones. It returns the image to go on with.
_LOADERS: dict[str, Callable[[Image.Image], Image.Image]] = {}

_ORIENTATION = ExifTags.Base.Orientation
_TURNED = (5, 6, 7, 8)  # the values that swap width and height


@dataclass(frozen=True)
class Picture:
    """An upright picture, 8 bits a channel, RGB."""

    image: Image.Image
    #: width and height of the upright photo, pixels; the image itself may have been decoded smaller
    size: tuple[int, int]
    #: it was cropped and resized for its model already
    done: bool = False


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
        _check(file, max_pixels)
        image = _open(file)
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise TooLarge(
                f"The image has {pixels} pixels ({image.width}x{image.height}); "
                f"at most {max_pixels} are accepted (MAX_IMAGE_PIXELS)"
            )
        try:
            size = _scale_jpeg(image, enough)
            image = _LOADERS.get(image.format or "", _load)(image)
            profile = image.info.get("icc_profile")
            ImageOps.exif_transpose(image, in_place=True)  # else it copies in any case
            upright = to_rgb(image, profile)
            return Picture(upright, size or upright.size)
        except (MemoryError, TwinlensError):  # the latter by `enough`
            raise
        except Exception as error:  # the decoders raise many kinds
            log.debug("decoding failed", exc_info=error)
            raise _broken() from None


def _check(file: BinaryIO, max_pixels: int) -> None:
    """Look at the structure of the file, as its format wants it."""
    head = file.read(16)
    file.seek(0)
    kind = next((name for name, signature in _SIGNATURES if signature.match(head)), None)
    check = _CHECKS.get(kind or "")
    if check is not None:
        check(file, max_pixels)
        file.seek(0)


def _load(image: Image.Image) -> Image.Image:
    image.load()
    return image


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
