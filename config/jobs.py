# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The settings for jobs, a part of all settings."""

from __future__ import annotations

from pydantic import BaseModel, Field

from config.values import HomePath


class JobSettings(BaseModel):
    """Bounds of jobs. ``config.settings.Settings`` inherits these fields."""

    jobs_folder: HomePath | None = Field(
        None,
        description="folder for jobs (`job=true`): their films and results, which then outlast a "
        "restart; unset: a temporary folder that ends with the service",
    )
    max_jobs: int = Field(
        20, ge=1, le=1000, description="jobs that are queued or running; beyond it 429"
    )
    jobs_max_bytes: int = Field(
        20 * 2**30,
        ge=1,
        description="films and results of all jobs on disk; the oldest that have ended make room",
    )
    job_keep_seconds: float = Field(
        86_400, ge=0, description="seconds that a job and its result are kept after its end"
    )
