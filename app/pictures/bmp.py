# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""BMP: refuses kinds that Pillow cannot read, and ignores alpha channels that are all zero."""

from __future__ import annotations

import struct
from typing import BinaryIO

from PIL import Image

from app.errors import BadRequest, TooLarge

_BITFIELDS = 3
_RLE = (1, 2)
_REFUSED = {4: "JPEG or run lengths of 24 bits", 5: "PNG"}
# The most pixels or bytes that a run-length compressed file may have. Pillow decompresses such
# files in Python, which takes about a microsecond for each byte or pixel.
_MAX_RLE = 4_000_000
# The masks of red, green, blue (and alpha at 32 bits) that Pillow supports for each number of bits
# per pixel.
_MASKS: dict[int, set[tuple[int, ...]]] = {
    16: {(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)},
    24: {(0xFF0000, 0xFF00, 0xFF)},
    32: {
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF000000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        (0, 0, 0, 0),
    },
}


def check(file: BinaryIO, max_pixels: int) -> None:
    """Refuse files that Pillow cannot read, or cannot read in reasonable time.

    Raises:
        BadRequest: this kind of BMP is not supported; the message names it.
        TooLarge: the image has more pixels than the budget.
    """
    head = file.read(14 + 56).ljust(14 + 56, b"\0")
    (size,) = struct.unpack_from("<I", head, 14)
    if size == 12:
        return  # an OS/2 header, which has no compression field
    if size not in (40, 52, 56, 64, 108, 124):
        raise _unsupported(f"with a header of {size} bytes")
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", head, 18)
    if width <= 0 or not height:
        raise BadRequest(f"The BMP file has a size of {width}x{height}", title="Invalid image")
    pixels = abs(width * height)
    if pixels > max_pixels:
        raise TooLarge(
            f"The image has {pixels} pixels ({width}x{abs(height)}); "
            f"at most {max_pixels} are accepted (MAX_IMAGE_PIXELS)"
        )
    if compression in _REFUSED:
        raise _unsupported(f"compressed as {_REFUSED[compression]}")
    if compression in _RLE and max(pixels, file.seek(0, 2)) > _MAX_RLE:
        raise _unsupported("compressed as run lengths, of more than 4 megapixels or 4 MB")
    if compression == _BITFIELDS:
        masks = struct.unpack_from("<4I", head, 14 + 40)
        alpha = masks[3:] if bits == 32 and size >= 56 else (0,) if bits == 32 else ()
        if masks[:3] + alpha not in _MASKS.get(bits, ()):
            raise _unsupported("with unusual places of its colours in each pixel")


def load(image: Image.Image) -> Image.Image:
    """Decode a BMP file; an alpha channel that is all zero is ignored, as in Chromium.

    Many programs write 32 bits per pixel without transparency and leave the fourth byte at 0.
    """
    image.load()
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    return image


def _unsupported(what: str) -> BadRequest:
    return BadRequest(
        f"A BMP file {what} is not supported; save it as PNG or JPEG", title="Invalid image"
    )
