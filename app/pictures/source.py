# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The result of a structure check: the file that Pillow is to parse, and the metadata found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from app.errors import BadRequest, TooLarge


@dataclass(frozen=True)
class Metadata:
    """The metadata that affect how a picture looks, and what the camera wrote."""

    #: EXIF orientation, 1 to 8
    orientation: int
    #: ICC profile; None or empty means sRGB
    profile: bytes | None
    #: EXIF data; empty: there are none
    exif: bytes = b""


@dataclass(frozen=True)
class Source:
    """The file that Pillow is to parse, which may be a filtered version of the client's file."""

    #: file with the needed parts
    file: BinaryIO
    #: metadata that the check has read; if None, Pillow reads them
    metadata: Metadata | None = None
    #: called with the decoded image; raises BadRequest if some of its pixels were not in the file
    verify: Callable[[Image.Image], None] | None = None


def refused(message: str) -> BadRequest:
    """The error for an unreadable file; ``message`` should say why, and what the client can do."""
    return BadRequest(message, title="Invalid image")


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLarge if a picture has more pixels than the budget."""
    if width * height > max_pixels:
        raise TooLarge(
            f"The image has {width * height} pixels ({width}x{height}); "
            f"at most {max_pixels} are accepted (MAX_IMAGE_PIXELS)",
            code="image_too_large",
        )
