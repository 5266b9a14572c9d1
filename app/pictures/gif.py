# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""GIF: notes without end, and a first frame that covers only a part of the canvas."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image, ImageFile

from app.errors import BadRequest

# Before the first frame; Pillow takes about a microsecond for each. XMP of 25 MB has 100,000.
_MAX_BLOCKS = 200_000


def check(file: BinaryIO, _max_pixels: int) -> None:
    """Count the blocks before the first frame; Pillow itself reads the size there.

    Raises:
        BadRequest: the file has no picture, or too many blocks before it.
    """
    head = file.read(13)
    file.seek(_palette_bytes(head[10]) if len(head) == 13 else 0, 1)
    left = _MAX_BLOCKS
    while left > 0:
        left -= 1
        introducer = file.read(1)
        if introducer == b"!":
            file.seek(1, 1)
            left = _skip(file, left)
        elif introducer == b",":
            return
        elif introducer in (b"", b";"):
            raise BadRequest("The GIF file holds no picture", title="Invalid image")
    raise BadRequest(
        "The GIF file has too many blocks of notes before its picture; save it again without them",
        title="Invalid image",
    )


def load(image: Image.Image) -> Image.Image:
    """Decode the first frame. What it leaves of the canvas is transparent, so white here; Pillow
    fills it with the first colour of the palette.
    """
    assert isinstance(image, ImageFile.ImageFile)
    box = image.tile[0].extents
    image.load()
    if box is None or box == (0, 0, *image.size) or "transparency" in image.info:
        return image  # a transparent colour, if there is one, fills the rest
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image.crop(box).convert("RGB"), box)
    return canvas


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip(file: BinaryIO, left: int) -> int:
    """Skip the data of an extension; how many more blocks are allowed."""
    while left > 0:
        left -= 1
        length = file.read(1)
        if not length or not length[0]:
            break
        file.seek(length[0], 1)
    return left
