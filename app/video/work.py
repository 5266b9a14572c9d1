# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The description of what is to be made of a film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.rendering.options import Colormap, Stereo

#: Which frames: all, some at even distances in time, or those that were stored as key frames.
Sampling = Literal["all", "interval", "keyframes"]
#: "zip": a PNG for each frame; "mp4" and "mkv": films; "none": nothing, frames are counted only.
Output = Literal["zip", "mp4", "mkv", "none"]
Codec = Literal["h264", "hevc", "av1", "vp9", "ffv1"]


@dataclass(frozen=True)
class FilmWork:
    """What is to be made of a film; checked already. As JSON it goes to the film's process."""

    output: Output
    #: None for "zip" and "none"
    codec: Codec | None = None
    #: the part of the film: from here, in seconds, and this long; None: to its end
    start: float = 0.0
    seconds: float | None = None
    sampling: Sampling = "all"
    #: for "interval": frames a second of the film
    fps: float | None = None
    #: at most this many frames of the answer; None: no limit of the request's own
    max_frames: int | None = None
    #: "none": depth maps, else a stereo pair of each frame
    stereo: Stereo = "none"
    #: percent of the width, see ``DepthOptions``
    divergence: float = 2.0
    convergence: float = 0.5
    swap: bool = False
    #: of depth maps
    colormap: Colormap = "gray"
    invert: bool = False
    #: whether depth is kept steady over time; frames of a "zip" are single maps of their own
    is_steady: bool = True
