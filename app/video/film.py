# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What is known of a film, and one of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


@dataclass(frozen=True)
class FilmInfo:
    """What the container and the first frames of a film say of it."""

    #: "mp4" (also QuickTime), "matroska" (also WebM), "avi" or "mpegts"
    container: str
    #: FFmpeg's name of the video codec, such as "h264"
    codec: str
    #: width and height of a frame as players show it: upright, with square pixels
    size: Size
    #: frames a second, on average
    frame_rate: Fraction
    #: length of the whole film; None: not stated
    seconds: float | None
    #: number of frames of the whole film, stated or estimated; None: not known
    frames: int | None
    #: degrees by which players turn the frames clockwise: 0, 90, 180 or 270
    rotation: int
    #: whether it is HDR (PQ or HLG), so that its frames are tone-mapped
    is_hdr: bool
    #: FFmpeg's name of the codec of the first sound track; None: no sound
    sound: str | None


@dataclass(frozen=True)
class Frame:
    """A frame, as players show it: upright, with square pixels, in standard dynamic range."""

    #: [height, width, 3] uint8, RGB with the transfer curve and primaries of BT.709, full range
    image: NDArray[np.uint8]
    #: when it is shown, from the first frame of the film on; never earlier than the frame before
    seconds: Fraction
    #: number of the frame in the film, from 0, counting frames that the sampling leaves out
    index: int
    #: whether it was stored as a key frame
    is_key: bool
