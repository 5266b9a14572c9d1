# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Decodes a client's image file to an upright RGB picture. All image decoding starts here."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import pillow_heif
from PIL import Image, UnidentifiedImageError

from app.errors import BadRequest, TwinlensError
from app.pictures import bmp, gif, heif, heif_load, jpeg, orientation, png, tiff, webp
from app.pictures.colour import to_rgb
from app.pictures.exif import focal_length
from app.pictures.kinds import FORMATS, HEAD, explanation, known
from app.pictures.source import Metadata, Source, check_pixels, refused

log = logging.getLogger("twinlens.pictures")

# HEIC is the format of many phones. Only the main image is needed, no thumbnails or depth images.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
heif_load.raise_item_limit()
heif_load.register_avif_opener()
# Pillow's own pixel limit is off, because it only warns up to twice its value; ``check_pixels``
# raises an error that names the budget.
Image.MAX_IMAGE_PIXELS = None

#: For each format, a function that cheaply checks a file's structure before Pillow parses it. The
#: function gets the file, positioned at its start, and the pixel budget; it may move the position.
#: It raises BadRequest or TooLarge. It may return another file for Pillow to parse, with metadata.
_CHECKS: dict[str, Callable[[BinaryIO, int], Source | None]] = {
    "JPEG": jpeg.check,
    "PNG": png.check,
    "HEIF": heif.check,
    "AVIF": heif.check,
    "GIF": gif.check,
    "WEBP": webp.check,
    "BMP": bmp.check,
}
#: For each format in which Pillow's ``load`` can give wrong pixels, a function that loads the
#: pixels of an opened image instead. It returns the image to continue with.
_LOADERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "HEIF": heif_load.load_heif,
    "AVIF": heif_load.load_avif,
    "GIF": gif.load,
    "WEBP": webp.load,
    "BMP": bmp.load,
}
#: For formats that Pillow's parser is not used for, a function that reads a picture. It gets the
#: file, positioned at its start, and the pixel budget. It returns an upright image or raises
#: BadRequest or TooLarge.
_READERS: dict[str, Callable[[BinaryIO, int], Image.Image]] = {"TIFF": tiff.read}
#: The formats that Pillow may parse: those without a function in _READERS.
_PILLOWS = tuple(name for name in FORMATS if name not in _READERS)


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture, 8 bits per channel."""

    image: Image.Image
    #: width and height of the upright photo, pixels; the image itself may have been decoded smaller
    size: tuple[int, int]
    #: whether it was already cropped and resized for its model
    done: bool = False
    #: the camera's focal length in pixels of the upright photo, if the file's EXIF data tell it
    focal_length: float | None = None


#: Maps the upright size to the smallest width and height that suffice; None means the full size.
DecodeSize = Callable[[int, int], tuple[int, int] | None]


def in_full(_: int, __: int) -> None:
    """The ``decode_size`` for decoding at full size."""


#: Makes the picture's RGB channels from an upright image and its ICC profile.
Convert = Callable[[Image.Image, bytes | None], Image.Image]


def decode(
    file: BinaryIO,
    max_pixels: int,
    decode_size: DecodeSize = in_full,
    convert: Convert = to_rgb,
) -> Picture:
    """Decode a client's image.

    The picture is turned upright by its EXIF orientation. Colours are converted to sRGB if the file
    has a profile. Transparent parts are composited over white. 16-bit and float greyscale are
    scaled to 8 bits, not clipped. The first frame of an animation is used.

    Args:
        file: an image in one of ``FORMATS``, recognised by its first bytes.
        max_pixels: budget for width x height, checked in the header before decoding.
        decode_size: gives the smallest size that suffices. A JPEG is decoded at 1/2, 1/4 or 1/8
            of its size (libjpeg's DCT scaling) as long as it stays at least that large.
        convert: see ``depth_map.packed`` for another one.

    Raises:
        BadRequest: the file is not an image, or is damaged.
        TooLarge: the image has more pixels than the budget, or ``decode_size`` raised the error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for broken metadata; serious problems raise errors
        read = _READERS.get(_format(file))
        if read is not None:
            return _upright_by(partial(read, file, max_pixels), convert)
        source = _check(file, max_pixels)
        image = _open(source.file, file)
        check_pixels(image.width, image.height, max_pixels)
        kind = image.format or "image"
        try:
            size = _scale_jpeg(image, source.metadata, decode_size)
            exif = _exif(image, source.metadata)  # some loaders remove it
            image = _LOADERS.get(kind, _load)(image)
            if source.verify is not None:
                source.verify(image)
            metadata = source.metadata or _metadata(image)
            upright = convert(orientation.upright(image, metadata.orientation), metadata.profile)
            size = size or upright.size
            return Picture(upright, size, focal_length=focal_length(exif, *size))
        except (MemoryError, TwinlensError):  # decode_size and verify may raise a TwinlensError
            raise
        except Exception as error:  # the decoders raise many kinds of errors
            log.debug("decoding failed", exc_info=error)
            raise _broken(kind, error) from None


def _check(file: BinaryIO, max_pixels: int) -> Source:
    """Check the structure of the file with the function for its format."""
    kind = _format(file)
    check = _CHECKS.get(kind)
    if check is None:
        return Source(file)
    try:
        source = check(file, max_pixels) or Source(file)
    except (MemoryError, TwinlensError):
        raise
    except Exception as error:  # damaged structures: struct.error, IndexError, ...
        log.debug("checking the structure failed", exc_info=error)
        raise _broken(kind, error) from None
    source.file.seek(0)
    return source


def _format(file: BinaryIO) -> str:
    """The format of a file by its first bytes; "" if unknown. The file must be at its start."""
    head = file.read(HEAD)
    file.seek(0)
    return known(head) or ""


def _upright_by(read: Callable[[], Image.Image], convert: Convert) -> Picture:
    """Read a picture with a function of _READERS, and convert it."""
    try:
        image = read()
        upright = convert(image, image.info.get("icc_profile"))
        return Picture(upright, upright.size)
    except (MemoryError, TwinlensError):
        raise
    except Exception as error:  # the decoders raise many kinds of errors
        log.debug("decoding failed", exc_info=error)
        raise _broken("TIFF", error) from None


def _load(image: Image.Image) -> Image.Image:
    image.load()
    return image


def _open(file: BinaryIO, original: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=_PILLOWS)
    except UnidentifiedImageError:
        original.seek(0)
        formats = f"known formats: {', '.join(FORMATS)}"
        raise refused(f"{explanation(original.read(HEAD))}; {formats}") from None
    except MemoryError:
        raise
    except Exception as error:  # the parsers raise many kinds of errors on broken headers
        log.debug("opening failed", exc_info=error)
        original.seek(0)
        raise _broken(known(original.read(HEAD)) or "image", error) from None


def _exif(image: Image.Image, metadata: Metadata | None) -> bytes:
    found = image.info.get("exif") if metadata is None else metadata.exif
    return found if isinstance(found, bytes) else b""


def _metadata(image: Image.Image) -> Metadata:
    return Metadata(orientation.of(image), image.info.get("icc_profile"))


def _scale_jpeg(
    image: Image.Image, metadata: Metadata | None, decode_size: DecodeSize
) -> tuple[int, int] | None:
    """Make libjpeg decode a JPEG at reduced size; returns its full upright size, or None if not."""
    if image.format != "JPEG" or metadata is None:
        return None
    turned = metadata.orientation in orientation.TURNED
    size = image.size[::-1] if turned else image.size
    wanted = decode_size(*size)
    if wanted is None:
        return None
    image.draft(None, wanted[::-1] if turned else wanted)
    return size


def _broken(kind: str, error: Exception) -> BadRequest:
    if "truncated" in str(error):
        return refused(
            f"The {kind} ends before its last row: the upload or the copy broke off. "
            "Send the whole file"
        )
    return refused(f"The {kind} is damaged and cannot be decoded")
