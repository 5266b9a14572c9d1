# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Decodes HEIC and AVIF, and does what the libraries leave out: cropping, colours and errors."""

from __future__ import annotations

import ctypes
import io
import logging
from fractions import Fraction
from typing import IO, BinaryIO, cast

import _pillow_heif  # type: ignore[import-not-found] # no types
import numpy as np
import pillow_heif
from PIL import AvifImagePlugin, Image, ImageFile

from app.errors import BadRequest
from app.pictures import boxes, cicp, heif

log = logging.getLogger("twinlens.pictures")

_STEP = 16  # distance in pixels of the samples in the search for undecoded tiles


class _Limits(ctypes.Structure):
    """The first fields of libheif's ``heif_security_limits``; later versions only append fields."""

    _fields_ = (
        ("version", ctypes.c_uint8),
        ("max_image_size_pixels", ctypes.c_uint64),
        ("max_number_of_tiles", ctypes.c_uint64),
        ("max_bayer_pattern_pixels", ctypes.c_uint32),
        ("max_items", ctypes.c_uint32),
    )


def raise_item_limit() -> None:
    """Let libheif read files of up to ``boxes.MAX_ITEMS`` items instead of 1000.

    pillow-heif can only turn off all limits together. Therefore this function, called once at
    import, changes libheif's global default through ctypes. If the library's structure has another
    layout, its own limit stays in force.
    """
    try:
        library = ctypes.CDLL(_pillow_heif.__file__)
        library.heif_get_global_security_limits.restype = ctypes.POINTER(_Limits)
        limits = library.heif_get_global_security_limits().contents
    except (OSError, AttributeError, ValueError) as error:
        log.warning("HEIC files of more than 1000 items are refused: %s", error)
        return
    if limits.version >= 1 and limits.max_items == 1000:
        limits.max_items = boxes.MAX_ITEMS


def register_avif_opener() -> None:
    """Make Pillow open AVIF files without their EXIF data.

    libavif and Pillow refuse a file with damaged EXIF data. Nothing in EXIF is needed: only the
    orientation would be of use, and AVIF stores that in the irot and imir properties instead.
    """
    plugin = AvifImagePlugin
    Image.register_open(plugin.AvifImageFile.format, _open_avif, plugin._accept)


def _open_avif(file: IO[bytes], name: str | bytes) -> ImageFile.ImageFile:
    source = cast(BinaryIO, file)
    try:
        found = boxes.structure(source)
    except (EOFError, boxes.Malformed):
        raise SyntaxError("not an AVIF file") from None
    places = [found.meta_at + item.kind_at for item in found.items.values() if item.kind == b"Exif"]
    source.seek(0)
    if places:
        data = bytearray(source.read())
        for place in places:
            data[place : place + 4] = b"free"
        source = io.BytesIO(data)
    return AvifImagePlugin.AvifImageFile(source, name)


def load_heif(image: Image.Image) -> Image.Image:
    """Decode with libheif, which also rotates, mirrors and crops the picture.

    Raises:
        BadRequest: a tile of the picture cannot be decoded.
    """
    file = _file(image)
    details = heif.details(file)
    file.seek(0)
    data = file.read() if image.info.get("tiling") else b""
    image.load()
    image.info.pop("exif", None)  # HEIF ignores the EXIF orientation, and EXIF may be damaged
    image.info.pop("xmp", None)
    if data and _may_lack_tiles(image):
        _decode_tiles(data)
    _add_profile(image, details)
    return image


def load_avif(image: Image.Image) -> Image.Image:
    """Decode with libavif and crop the picture.

    Rotation is left to the caller: Pillow translates the file's irot and imir properties to an EXIF
    orientation.
    """
    details = heif.details(_file(image))
    image.info.pop("xmp", None)  # AVIF ignores the XMP orientation, too
    image.load()
    _add_profile(image, details)
    box = _crop_box(image.size, details.crop) if details.crop else None
    if box is None:
        return image
    return image.crop(box)


def _file(image: Image.Image) -> BinaryIO:
    """The open file of an image whose pixels were not loaded yet."""
    assert isinstance(image, ImageFile.ImageFile)
    assert image.fp is not None
    return cast(BinaryIO, image.fp)


def _add_profile(image: Image.Image, details: heif.Details) -> None:
    """Add an ICC profile for a colour space that the file states as CICP code points."""
    profile = cicp.icc_profile(*details.colour)
    if profile and not image.info.get("icc_profile"):
        image.info["icc_profile"] = profile


def _may_lack_tiles(image: Image.Image) -> bool:
    """Whether a part of the picture has the colour that libheif leaves in tiles it cannot decode.

    libheif leaves all components of such tiles at 0. In YCbCr, zeros are a green without red and
    blue; without Cb and Cr, they are black.
    """
    size = (max(image.width // _STEP, 1), max(image.height // _STEP, 1))
    samples = np.asarray(image.resize(size, Image.Resampling.NEAREST).convert("RGB"))
    red, green, blue = (samples[..., channel] for channel in range(3))
    candidates = (red == 0) & (blue == 0)
    nclx = image.info.get("nclx_profile") or {}
    if image.mode[0] in "LI" or nclx.get("matrix_coefficients") == 0:  # no Cb and Cr
        candidates &= green == 0
    else:
        candidates &= green > 0
    for axis in (0, 1):
        candidates &= np.all(samples == np.roll(samples, 1, axis), axis=2)
    return bool(candidates.any())


def _decode_tiles(data: bytes) -> None:
    """Decode each tile separately, because libheif reports decoding errors only then.

    Tiles are hidden items, so this works on a copy of the file in which they are visible.
    """
    found = boxes.structure(io.BytesIO(data))
    visible = bytearray(data)
    for number in found.items[found.primary or 0].references.get(b"dimg", []):
        visible[found.meta_at + found.items[number].hidden_at] &= 0xFE
    images = pillow_heif.HeifFile(bytes(visible))  # type: ignore[no-untyped-call]
    try:
        for left in range(len(images), 0, -1):
            if not images[0].info["primary"]:
                images[0].load()
            if left > 1:
                del images[0]  # frees the pixels
    except (EOFError, OSError, RuntimeError, ValueError) as error:
        log.debug("a tile cannot be decoded", exc_info=error)
        raise BadRequest(
            "The HEIF file is damaged: a part of the picture cannot be decoded. Copy it again, or "
            "export it as JPEG",
            title="Invalid image",
        ) from None


def _crop_box(size: tuple[int, int], clap: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """The visible part (left, top, right, bottom) that the clap box states; None if impossible."""
    if 0 in clap[1::2]:
        return None
    width, height, across, down = (Fraction(*clap[i : i + 2]) for i in range(0, 8, 2))
    left = round(Fraction(size[0]) / 2 + across - width / 2)
    top = round(Fraction(size[1]) / 2 + down - height / 2)
    right, bottom = left + round(width), top + round(height)
    within = 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    return (left, top, right, bottom) if within else None
