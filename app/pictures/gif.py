# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""GIF: limits the blocks before the first frame, and fills the canvas around a smaller frame."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image, ImageFile

from app.errors import BadRequest

# The most blocks that may precede the first frame; Pillow takes about a microsecond for each. For
# comparison: 25 MB of XMP metadata have 100,000 blocks.
_MAX_BLOCKS = 200_000


def check(file: BinaryIO, _max_pixels: int) -> None:
    """Limit the blocks before the first frame, which Pillow reads when it opens the file.

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
        "The GIF file has too many comment blocks before its picture; save it again without them",
        title="Invalid image",
    )


def load(image: Image.Image) -> Image.Image:
    """Decode the first frame.

    The canvas around a smaller frame is transparent, which this service shows as white. Pillow
    would fill it with the first colour of the palette.
    """
    assert isinstance(image, ImageFile.ImageFile)
    box = image.tile[0].extents
    image.load()
    if box is None or box == (0, 0, *image.size) or "transparency" in image.info:
        return image  # Pillow fills the rest with the transparent colour
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image.crop(box).convert("RGB"), box)
    return canvas


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip(file: BinaryIO, left: int) -> int:
    """Skip the data blocks of an extension. Returns how many more blocks are allowed."""
    while left > 0:
        left -= 1
        length = file.read(1)
        if not length or not length[0]:
            break
        file.seek(length[0], 1)
    return left
