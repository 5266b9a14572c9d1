# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checks limits, frees memory, unloads idle models and tidies up, once a second in each worker."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import threading
import time
from pathlib import Path

from app.host import memory, temporary
from app.host.shared_state import SharedState
from app.queueing.waiting_room import WaitingRoom
from app.workers.orders import Workers
from config.settings import Settings

log = logging.getLogger("twinlens.housekeeping")

_SECONDS = 1.0
# The least time between two clean-ups while a memory limit is exceeded. If one did not help, a
# second one right after it would not help either.
_CLEAN_UP_SECONDS = 10.0
# How often the temporary files of killed processes are removed.
_TIDY_SECONDS = 60.0


class Housekeeping:
    """Frees the worker's memory, checks its limits, unloads idle models and writes its report.

    It also removes temporary files of workers that were killed.

    ``work`` does these jobs until the worker ends, so it must run in its own thread.
    """

    def __init__(
        self,
        settings: Settings,
        shared: SharedState,
        workers: Workers,
        room: WaitingRoom,
        worked: threading.Event,
    ) -> None:
        self._settings = settings
        self._shared = shared
        self._workers = workers
        self._room = room
        self._worked = worked
        self._cleaned_at = 0.0
        self._tidied_at = -math.inf

    def work(self, closing: threading.Event) -> None:
        """Do all jobs of this class once a second, until ``closing`` is set."""
        interval = self._settings.memory_cleanup_interval_seconds
        idle = self._settings.model_idle_seconds
        self._check_limits()
        self._cleaned_at = time.monotonic()
        self._workers.reports.write()
        while not closing.wait(_SECONDS):
            try:
                self._once(interval, idle)
            except Exception:  # one failure must not stop housekeeping for good
                log.exception("housekeeping failed; trying again")

    def _once(self, interval: float, idle: float) -> None:
        if self._worked.is_set():
            if self._room.is_empty():
                self._worked.clear()
                self._workers.release_idle_memory()
            self._workers.reports.write()  # includes when each model was last used
        if interval and time.monotonic() - self._cleaned_at >= interval:
            self._cleaned_at = time.monotonic()
            log.debug("cleaned up: %s", memory.clean_up())
        self._check_limits()
        if time.monotonic() - self._tidied_at >= _TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            # A worker that was killed may have left a client's photo.
            temporary.remove_leftovers(Path(tempfile.gettempdir()))
        # Reports show the use of models in all workers, so one worker unloads idle models for all.
        if idle and self._shared.slot == min(self._shared.workers()):
            self._workers.unload_idle(idle)

    def _check_limits(self) -> None:
        """Clean up if a memory limit is exceeded; if that does not help, ``/health`` shows why."""
        if self._exceeded() and time.monotonic() - self._cleaned_at >= _CLEAN_UP_SECONDS:
            self._cleaned_at = time.monotonic()
            memory.clean_up()
        self._workers.reports.set_trouble(self._exceeded() or self._room.stall())

    def _exceeded(self) -> str | None:
        """Describe a memory limit that is exceeded; None if there is none."""
        limit = self._settings.max_process_memory_mb
        used = memory.resident_mb(os.getpid()) if limit else 0
        if used > limit:
            return (
                f"a worker holds {used:.0f} MB of memory; the limit is {limit} MB "
                "(MAX_PROCESS_MEMORY_MB)"
            )
        limit = self._settings.max_gpu_memory_mb
        used = self._workers.reports.reserved_on_own_device() if limit else 0
        if used > limit:
            return (
                f"{used:.0f} MB of device memory are held; the limit is {limit} MB "
                "(MAX_GPU_MEMORY_MB)"
            )
        return None
