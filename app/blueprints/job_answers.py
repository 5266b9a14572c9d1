# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The shapes of JSON answers about jobs, as in ``answers``."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.jobs.state import Phase


class Job(BaseModel):
    """A job: the answer of GET /api/jobs/{id}, and of a video route with ``job=true``."""

    id: str
    state: Phase
    url: str
    result_url: str
    file_name: str = Field(description="of the result")
    #: key of the depth model
    model: str
    #: kind of weights; null until they are used
    weights: str | None
    frames_done: int
    frames_total: int | None = Field(description="null if it is not known")
    frames_per_second: float | None = Field(
        description="made in the last seconds; at the end over the whole job"
    )
    seconds_left: float | None
    bytes: int = Field(description="size of the result so far")
    warnings: list[str] = Field(description="such as that the sound is left out; at the end")
    error: str | None = Field(description="why it failed")
    attempts: int = Field(description="2 if its worker ended unexpectedly and it was started again")
    created_at: str
    started_at: str | None
    ended_at: str | None
