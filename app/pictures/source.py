# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What a look at a file's structure gives to the decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from app.errors import BadRequest, TooLarge


@dataclass(frozen=True)
class Metadata:
    """The metadata that change what a picture looks like."""

    #: as in EXIF, 1 to 8
    orientation: int
    #: ICC; None or empty is sRGB
    profile: bytes | None


@dataclass(frozen=True)
class Source:
    """A file as Pillow is to parse it."""

    #: with the parts that matter, at its start
    file: BinaryIO
    #: None: as Pillow finds them
    metadata: Metadata | None = None
    #: given the decoded image, raises BadRequest where a part of its pixels was not in the file
    verify: Callable[[Image.Image], None] | None = None


def refused(message: str) -> BadRequest:
    """The error for a file that cannot be read: the message says why and what to do."""
    return BadRequest(message, title="Invalid image")


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLarge: more pixels than the budget."""
    if width * height > max_pixels:
        raise TooLarge(
            f"The image has {width * height} pixels ({width}x{height}); "
            f"at most {max_pixels} are accepted (MAX_IMAGE_PIXELS)"
        )
