# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the orientation of a picture from EXIF or XMP, and turns pictures upright.

A picture with an unreadable orientation counts as upright.
"""

from __future__ import annotations

import re
from typing import Any

from PIL import Image

from app.pictures.exif import Exif

UPRIGHT = 1
#: the orientations that swap width and height
TURNED = (5, 6, 7, 8)

_TAG = 0x0112
_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
_RAW_PROFILE = re.compile(r"\s*\w*\s+\d+\s+([0-9a-fA-F\s]+)")
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image, rotated and mirrored to be upright; the same object if it is upright already."""
    method = _METHODS.get(orientation)
    return image if method is None else image.transpose(method)


def of(image: Image.Image) -> int:
    """The orientation of a loaded image, 1 to 8: from EXIF, or from XMP for WebP without EXIF.

    HEIF counts as upright, because pillow-heif turns a picture when loading it. For AVIF, Pillow
    translates the irot and imir properties to an EXIF orientation.
    """
    if image.format == "HEIF":
        return UPRIGHT
    found = from_exif(_bytes(image.info.get("exif")))
    if found is None and image.format == "WEBP":
        found = from_xmp(_bytes(image.info.get("xmp")))
    return found or UPRIGHT


def from_exif(exif: bytes) -> int | None:
    """The orientation, 1 to 8, in EXIF data with or without its head; None if there is no such tag.

    A tag with an invalid value gives 1, not None, so that no other source is consulted.
    """
    value = Exif(exif).first(_TAG)
    return None if value is None else _sane(value) or UPRIGHT


def from_raw_profile(text: str) -> int | None:
    """The orientation in ImageMagick's text form of EXIF in PNG: name, length, hex digits."""
    match = _RAW_PROFILE.match(text)
    digits = "".join(match[1].split()) if match else ""
    return from_exif(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def from_xmp(xmp: bytes) -> int | None:
    """The orientation, 1 to 8, in XMP data (`tiff:Orientation`), or None."""
    match = _XMP.search(xmp)
    return int(match[1]) if match else None


def _sane(value: Any) -> int | None:
    """A number from 1 to 8 as an integer, or None for any other value."""
    try:
        number = int(value)
        return number if 1 <= number <= 8 and number == float(value) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""
