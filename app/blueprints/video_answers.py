# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The answer of the route that looks into a film."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class VideoFrames(BaseModel):
    """The answer of POST /api/video/frames."""

    success: Literal[True]
    #: frames that POST /api/video/depth would answer with for the same options
    frame_count: int
    #: of a frame as players show it: upright, with square pixels
    width: int
    height: int
    frame_rate: float = Field(description="frames a second of the film, on average")
    #: null if the film does not state them
    seconds: float | None
    frames: int | None = Field(description="of the whole film, stated or estimated")
    container: str
    codec: str
    rotation: int = Field(description="degrees by which players turn the stored frames clockwise")
    is_hdr: bool
    #: codec of the first sound track; null without sound
    sound: str | None
    warnings: list[str]
