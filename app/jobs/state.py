# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What is known of a job; on disk as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from app.video.work import FilmWork

Phase = Literal["queued", "running", "done", "failed"]


class Order(BaseModel):
    """What a client asked for."""

    #: key of the depth model
    model: str
    work: FilmWork
    #: of the result
    file_name: str
    mimetype: str


class JobState(BaseModel):
    """How far a job is."""

    id: str
    order: Order
    state: Phase = "queued"
    #: seconds since the epoch
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    frames_done: int = 0
    #: None: not known
    frames_total: int | None = None
    #: over the last seconds; at the end over the whole job; None: not known yet
    frames_per_second: float | None = None
    seconds_left: float | None = None
    #: size of the result so far
    bytes: int = 0
    #: kind of the model's weights: "published", or what the checkpoint's files say
    weights: str | None = None
    #: why it failed
    error: str | None = None
    warnings: list[str] = []
    #: how often it was started: more than once if a worker ended while it ran
    attempts: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be done."""
        return self.state in ("done", "failed")
