# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Renders the pictures of the answer: depth maps, or stereo pairs of the frames."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.pictures import canvas
from app.rendering import maps, stereo_layouts
from app.rendering.options import DepthOptions
from app.video.film import Size
from app.video.work import FilmWork

FloatArray = NDArray[np.float32]
Levels = NDArray[np.uint8]
#: uint8 [h, w, 3] RGB or, of a grey map, uint8 or uint16 [h, w]
Picture = NDArray[np.uint8] | NDArray[np.uint16]

_TOP = 65535


class Renderer:
    """Renders what one request asks for. Thread-safe."""

    def __init__(self, work: FilmWork, size: Size) -> None:
        """Check the work.

        Args:
            work: of the request.
            size: of frames, pixels.
        """
        self._work = work
        self._size = size
        self._is_exact = work.codec == "ffv1" and work.stereo == "none"
        self._options = DepthOptions.parse(_options(work))
        #: width and height of the pictures
        self.size = stereo_layouts.picture_size(work.stereo, size) if self.needs_frames else size

    @property
    def needs_frames(self) -> bool:
        """Whether the pictures show the frames themselves."""
        return self._work.stereo != "none"

    def picture(self, frame: Levels | None, disparity: FloatArray) -> Picture:
        """The picture for a frame.

        Args:
            frame: [height, width, 3] uint8 RGB; None if it is not needed.
            disparity: [h, w], larger is nearer; of a steady film from 0 to 1, else of any range.

        Raises:
            ArithmeticError: the disparity has infinite or undefined values.
        """
        is_spread = self._work.is_steady
        if self.needs_frames:
            assert frame is not None
            return stereo_layouts.arranged(frame, disparity, self._options, is_spread=is_spread)
        if self._is_exact:
            return self._exact(disparity)
        return maps.shown(self._levels(disparity), self._options)

    def _levels(self, disparity: FloatArray) -> Levels:
        if self._work.is_steady:
            full = maps.enlarged(disparity, self._size)
            return np.asarray(cv2.convertScaleAbs(np.maximum(full, 0), alpha=255), np.uint8)
        maps.check_finite(disparity)
        return canvas.spread(disparity, *self._size)

    def _exact(self, disparity: FloatArray) -> Picture:
        if not self._work.is_steady:
            return np.asarray(maps.exact(disparity, self._size, self._options), np.uint16)
        full: FloatArray = np.clip(maps.enlarged(disparity, self._size), 0, 1)
        if self._work.invert:
            np.subtract(1, full, out=full)
        return np.asarray(np.rint(full * np.float32(_TOP)), np.uint16)


def _options(work: FilmWork) -> dict[str, object]:
    """The same work on a photo, as options of a depth request."""
    if work.stereo != "none":
        names = ("stereo", "divergence", "convergence", "swap")
        return {name: getattr(work, name) for name in names}
    if work.codec == "ffv1":
        return {"format": "png16", "invert": work.invert}
    return {"colormap": work.colormap, "invert": work.invert}
