# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The formats of output files: encodes arrays, and knows the limits of each format."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import TooLarge
from app.rendering import png
from app.rendering.options import DepthOptions, Format, Size
from app.rendering.stereo import MAX_WIDTH
from app.rendering.stereo_layouts import picture_size

#: [height, width] or [height, width, 3]: uint8, for png16 uint16, for npy and tiff float32
Pixels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

JPEG_QUALITY = 92
# This is for stereo pairs only. Depth maps are stored as lossless WebP, because lossy WebP has only
# 220 levels of grey (BT.601 limited range) and blurs edges.
WEBP_QUALITY = 90
# Encoder effort of lossless WebP (0 to 100) and method of lossy WebP (0 to 6). Higher values take
# many times as long and save at most a third of the size.
_WEBP_EFFORT = 60
_WEBP_METHOD = 2


@dataclass(frozen=True)
class Kind:
    """MIME type, file suffix and size limit of a format."""

    mimetype: str
    suffix: str
    #: longest width or height that the format holds, pixels; None: no relevant limit
    longest_edge: int | None = None


KINDS: dict[Format, Kind] = {
    "png": Kind("image/png", ".png"),
    "png16": Kind("image/png", ".png"),
    "npy": Kind("application/octet-stream", ".npy"),
    "tiff": Kind("image/tiff", ".tiff"),
    "webp": Kind("image/webp", ".webp", 16383),
    # The JPEG format allows 65535 pixels, but libjpeg only 65500.
    "jpeg": Kind("image/jpeg", ".jpg", 65500),
}


def check(options: DepthOptions, size: Size, max_pixels: int) -> None:
    """Check that an answer of this size can be encoded, before anything is computed for it.

    Args:
        options: the requested format and kind of answer.
        size: width and height of the map, or of one view of a stereo pair.
        max_pixels: MAX_IMAGE_PIXELS; the picture of a stereo pair must not exceed it either.

    Raises:
        TooLarge: the message says what to request instead.
    """
    width, height = picture_size(options.stereo, size) if options.is_pair else size
    if options.is_pair and size[0] > MAX_WIDTH:
        raise TooLarge(
            f"A view would be {size[0]} pixels wide; stereo={options.stereo} makes at most "
            f"{MAX_WIDTH}: ask for a smaller size=",
            code="answer_too_large",
        )
    if options.is_pair and width * height > max_pixels:
        raise TooLarge(
            f"The picture would have {width * height} pixels ({width}x{height}); at most "
            f"{max_pixels} are made (MAX_IMAGE_PIXELS): ask for a smaller size=",
            code="answer_too_large",
        )
    longest = KINDS[options.format].longest_edge
    if longest is not None and max(width, height) > longest:
        raise TooLarge(
            f"The answer would be {width}x{height}; {options.format} holds at most {longest} "
            "pixels an edge: ask for a smaller size=, or for format=png",
            code="answer_too_large",
        )


def encode(pixels: Pixels, options: DepthOptions) -> bytes:
    """Encode pixels as a file in the format ``options.format``."""
    if options.format == "npy":
        return _npy(pixels)
    if options.format in ("png", "png16"):
        return png.encode(cast("NDArray[np.uint8] | NDArray[np.uint16]", pixels))
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    if options.format == "tiff":  # the image has the mode "F": one float32 channel
        image.save(file, "TIFF")
    elif options.format == "jpeg":
        image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    elif options.is_pair:
        image.save(file, "WEBP", quality=WEBP_QUALITY, method=_WEBP_METHOD)
    else:
        image.save(file, "WEBP", lossless=True, quality=_WEBP_EFFORT, method=0)
    return file.getvalue()


def _npy(values: Pixels) -> bytes:
    """Encode an array in NumPy's own format.

    See https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
    """
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(values))
    return b"".join((head.getvalue(), np.ascontiguousarray(values).data))
