# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""WebP: checks sizes before libwebp allocates memory, and fills the canvas around a small frame.

A file whose end was lost and filled with zeros is not detected, because valid pictures may end in
thousands of zero bytes, too (measured on pictures of one colour).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, cast

from PIL import Image, ImageFile

from app.errors import BadRequest, TooLarge

_MAX_CHUNKS = 50_000  # libwebp keeps a record of each chunk


@dataclass(frozen=True)
class _Layout:
    canvas: tuple[int, int]
    #: left, top, right and bottom of the first frame on the canvas
    frame: tuple[int, int, int, int]


def check(file: BinaryIO, max_pixels: int) -> None:
    """Check a WebP file before libwebp parses it.

    Raises:
        BadRequest: the file ends before its first frame does, or has too many parts.
        TooLarge: the canvas or the first frame has more pixels than the budget.
    """
    layout = _layout(file)
    left, top, right, bottom = layout.frame
    for width, height in (layout.canvas, (right - left, bottom - top)):
        if width * height > max_pixels:
            raise TooLarge(
                f"The image has {width * height} pixels ({width}x{height}); "
                f"at most {max_pixels} are accepted (MAX_IMAGE_PIXELS)"
            )


def load(image: Image.Image) -> Image.Image:
    """Decode the first frame.

    The canvas around a smaller frame is transparent, which this service shows as white. Pillow
    makes it black if the file declares no transparency.
    """
    assert isinstance(image, ImageFile.ImageFile)
    assert image.fp is not None
    box = _layout(cast(BinaryIO, image.fp)).frame
    image.load()
    if image.mode != "RGB" or box == (0, 0, *image.size):
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.info = image.info
    canvas.paste(image.crop(box), box)
    return canvas


def _layout(file: BinaryIO) -> _Layout:
    """The canvas and the first frame, read from the chunks of the file."""
    size = file.seek(0, 2)
    canvas: tuple[int, int] | None = None
    start = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(start)
        head = file.read(8 + 16)
        if len(head) < 8:
            break
        kind, length = struct.unpack_from("<4sI", head)
        body = head[8:]
        end = start + 8 + length
        if kind == b"VP8X" and len(body) >= 10:
            canvas = (1 + _three(body, 4), 1 + _three(body, 7))
        elif kind in (b"ANMF", b"VP8 ", b"VP8L"):
            if end > size or len(body) < 10:
                break
            box = _frame(kind, body)
            _count(file, start, size)
            return _Layout(canvas or box[2:], box)
        start = end + length % 2
    else:
        raise _too_many()
    raise BadRequest(
        "The WebP file is incomplete: parts of the picture are missing, as after a copy or upload "
        "that broke off. Copy or upload it again",
        title="Invalid image",
    )


def _frame(kind: bytes, body: bytes) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a frame."""
    if kind == b"ANMF":
        left, top = 2 * _three(body, 0), 2 * _three(body, 3)
        return left, top, left + 1 + _three(body, 6), top + 1 + _three(body, 9)
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 0, 0, 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 6)
    return 0, 0, width & 0x3FFF, height & 0x3FFF


def _count(file: BinaryIO, start: int, size: int) -> None:
    """Limit the number of chunks after ``start``, because libwebp keeps a record of each."""
    for _ in range(_MAX_CHUNKS):
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[4:], "little")
        start += 8 + length + length % 2
        if start >= size:
            return
    raise _too_many()


def _three(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _too_many() -> BadRequest:
    return BadRequest(
        "The WebP file consists of too many parts; save it again", title="Invalid image"
    )
