# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes the film of a job, as a request would that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from app.jobs.run import Made, Make, Progress
from app.jobs.state import Order
from app.lending.registry import Registry
from app.tasks.video import VideoTask
from app.workers.metrics import Metrics


def maker(video: VideoTask, registry: Registry, metrics: Metrics) -> Make:
    """A function that begins the work on a film, and counts its frames in the metrics."""

    def make(
        film: BinaryIO,
        order: Order,
        is_gone: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Made:
        spec = registry.get(order.model, "depth")
        frames = 0

        def follow(progress: Progress) -> None:
            nonlocal frames
            metrics.made_frames(spec.key, progress.frames - frames)
            frames = progress.frames
            on_progress(progress)

        return video.run(film, spec, order.work, is_gone, follow)

    return make
