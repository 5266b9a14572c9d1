# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The answer of the route that looks into a film."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class VideoFrames(BaseModel):
    """The answer of POST /api/video/frames."""

    success: Literal[True]
    frame_count: int = Field(
        description="frames that POST /api/video/depth would make with the same options"
    )
    #: of a frame as players show it: upright, with square pixels
    width: int
    height: int
    frame_rate: float = Field(description="frames a second of the film, on average")
    seconds: float | None = Field(
        description="length of the whole film; null if the film does not state it"
    )
    frames: int | None = Field(
        description="frames of the whole film, whatever the options; as the film states, or "
        "estimated from its length; null if neither is known"
    )
    container: str
    codec: str
    rotation: int = Field(description="degrees by which players turn the stored frames clockwise")
    is_hdr: bool
    #: codec of the first sound track; null without sound
    sound: str | None
    warnings: list[str]
