# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""From the file of a client to an upright RGB picture. The only place that decodes images."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import pillow_heif
from PIL import Image, UnidentifiedImageError

from app.errors import BadRequest, TwinlensError
from app.pictures import bmp, gif, heif, heif_load, jpeg, orientation, png, tiff, webp
from app.pictures.colour import to_rgb
from app.pictures.kinds import FORMATS, HEAD, explanation, known
from app.pictures.source import Metadata, Source, check_pixels, refused

log = logging.getLogger("twinlens.pictures")

# The phones' format. No thumbnails, no depth pictures: only the main image is of use here.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
heif_load.raise_item_limit()
heif_load.register_avif_opener()
# Ours is an error and names the budget; Pillow's own is only a warning up to twice its value.
Image.MAX_IMAGE_PIXELS = None

#: By format: a cheap look at a file's structure before Pillow parses it, given the file at its
#: start and the pixel budget. It raises BadRequest or TooLarge, and need not reset the position. It
#: may give another file for Pillow to parse, with the metadata that it has read.
_CHECKS: dict[str, Callable[[BinaryIO, int], Source | None]] = {
    "JPEG": jpeg.check,
    "PNG": png.check,
    "HEIF": heif.check,
    "AVIF": heif.check,
    "GIF": gif.check,
    "WEBP": webp.check,
    "BMP": bmp.check,
}
#: By Pillow's name of the format: reads the pixels of an opened image where Pillow's own ``load``
#: gives wrong ones. It returns the image to go on with.
_LOADERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "HEIF": heif_load.load_heif,
    "AVIF": heif_load.load_avif,
    "GIF": gif.load,
    "WEBP": webp.load,
    "BMP": bmp.load,
}
#: By format: reads a picture instead of Pillow, given the file at its start and the pixel budget,
#: and gives it upright. It raises BadRequest or TooLarge.
_READERS: dict[str, Callable[[BinaryIO, int], Image.Image]] = {"TIFF": tiff.read}
#: What Pillow may parse: nothing that has a reader of ours.
_PILLOWS = tuple(name for name in FORMATS if name not in _READERS)


@dataclass(frozen=True)
class Picture:
    """An upright picture, 8 bits a channel, RGB."""

    image: Image.Image
    #: width and height of the upright photo, pixels; the image itself may have been decoded smaller
    size: tuple[int, int]
    #: it was cropped and resized for its model already
    done: bool = False


#: From the upright size to width and height that are enough, or None for all there is.
DecodeSize = Callable[[int, int], tuple[int, int] | None]


def in_full(_: int, __: int) -> None:
    """Decode all pixels."""


def decode(file: BinaryIO, max_pixels: int, decode_size: DecodeSize = in_full) -> Picture:
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
        read = _READERS.get(_format(file))
        if read is not None:
            return _upright_by(read, file, max_pixels)
        source = _check(file, max_pixels)
        image = _open(source.file, file)
        check_pixels(image.width, image.height, max_pixels)
        kind = image.format or "image"
        try:
            size = _scale_jpeg(image, source.metadata, decode_size)
            image = _LOADERS.get(kind, _load)(image)
            if source.verify is not None:
                source.verify(image)
            metadata = source.metadata or _metadata(image)
            upright = to_rgb(orientation.upright(image, metadata.orientation), metadata.profile)
            return Picture(upright, size or upright.size)
        except (MemoryError, TwinlensError):  # the latter by `enough`
            raise
        except Exception as error:  # the decoders raise many kinds
            log.debug("decoding failed", exc_info=error)
            raise _broken(kind, error) from None


def _check(file: BinaryIO, max_pixels: int) -> Source:
    """Look at the structure of the file, as its format wants it."""
    kind = _format(file)
    check = _CHECKS.get(kind)
    if check is None:
        return Source(file)
    try:
        source = check(file, max_pixels) or Source(file)
    except (MemoryError, TwinlensError):
        raise
    except Exception as error:  # a structure that makes no sense: struct.error, IndexError, ...
        log.debug("the look at the structure failed", exc_info=error)
        raise _broken(kind, error) from None
    source.file.seek(0)
    return source


def _format(file: BinaryIO) -> str:
    """The format by the first bytes of a file at its start; "" where none is known."""
    head = file.read(HEAD)
    file.seek(0)
    return known(head) or ""


def _upright_by(
    read: Callable[[BinaryIO, int], Image.Image], file: BinaryIO, max_pixels: int
) -> Picture:
    """The picture that a reader of ours gives."""
    try:
        image = read(file, max_pixels)
        upright = to_rgb(image, image.info.get("icc_profile"))
        return Picture(upright, upright.size)
    except (MemoryError, TwinlensError):
        raise
    except Exception as error:  # the decoders raise many kinds
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
    except Exception as error:  # the parsers raise many kinds on broken headers
        log.debug("opening failed", exc_info=error)
        original.seek(0)
        raise _broken(known(original.read(HEAD)) or "image", error) from None


def _metadata(image: Image.Image) -> Metadata:
    return Metadata(orientation.of(image), image.info.get("icc_profile"))


def _scale_jpeg(
    image: Image.Image, metadata: Metadata | None, decode_size: DecodeSize
) -> tuple[int, int] | None:
    """Have a JPEG decoded no larger than needed; its full upright size, if that is what happens."""
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
