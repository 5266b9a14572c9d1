# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Small pictures of photos, for browsers that cannot show a photo's own format."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ConfigDict, Field

from app.rendering.options import RequestOptions, Size

PreviewFormat = Literal["jpeg", "webp"]

DEFAULT_EDGE, LONGEST_EDGE = 1280, 2048
MIMETYPES: dict[PreviewFormat, str] = {"jpeg": "image/jpeg", "webp": "image/webp"}
_QUALITY = 85
_WEBP_METHOD = 2  # a fifth of the slowest method's time, for files some percent larger


class PreviewOptions(RequestOptions):
    """The options; by default a JPEG whose longest edge has at most 1280 pixels."""

    model_config = ConfigDict(extra="forbid")

    size: int = Field(
        DEFAULT_EDGE,
        ge=1,
        le=LONGEST_EDGE,
        description="the longest edge, pixels; no photo is enlarged",
    )
    format: PreviewFormat = Field("jpeg", description="both have quality 85")

    def target(self, photo: Size) -> Size:
        """Width and height of the preview of a photo."""
        scale = min(1.0, self.size / max(photo))
        return max(1, round(photo[0] * scale)), max(1, round(photo[1] * scale))


def encode(pixels: NDArray[np.uint8], options: PreviewOptions) -> bytes:
    """Encode [height, width, 3] RGB as a file in the format ``options.format``."""
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    if options.format == "webp":
        image.save(file, "WEBP", quality=_QUALITY, method=_WEBP_METHOD)
    else:
        image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
