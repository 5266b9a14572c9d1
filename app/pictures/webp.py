# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""WebP: the size of its canvas, before Pillow allocates memory for it (RFC 9649)."""

from __future__ import annotations

from typing import BinaryIO

from app.pictures.source import check_pixels


def check(file: BinaryIO, max_pixels: int) -> None:
    """Raises TooLarge: the canvas has more pixels than the budget."""
    head = file.read(30)
    kind = head[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(head[24:27], "little") + 1
        height = int.from_bytes(head[27:30], "little") + 1
    elif kind == b"VP8 ":
        width = int.from_bytes(head[26:28], "little") & 0x3FFF
        height = int.from_bytes(head[28:30], "little") & 0x3FFF
    else:  # VP8L
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    check_pixels(width, height, max_pixels)
