# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The settings for films, a part of all settings."""

from __future__ import annotations

from pydantic import BaseModel, Field


class VideoSettings(BaseModel):
    """Limits on films. ``config.settings.Settings`` inherits these fields."""

    max_video_bytes: int = Field(4 * 2**30, ge=1, description="largest body of the video routes")
    max_video_pixels: int = Field(
        8192 * 4320, ge=1, description="largest frame of a film, width x height"
    )
    max_video_frames: int = Field(
        1_000_000, ge=1, description="frames of one answer of the video routes"
    )
    video_max_seconds: float = Field(
        14_400, gt=0, description="seconds that the work on one film may take"
    )
    video_concurrency: int = Field(
        2, ge=1, le=64, description="films at a time, per worker; beyond it 429"
    )
