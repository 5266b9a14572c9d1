# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The waiting room in front of the device: bounded, first come first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.errors import Busy, TooSlow


@dataclass(frozen=True)
class QueueFigures:
    """What ``/health`` and the ``X-Queue-*`` headers show."""

    concurrency: int
    in_flight: int
    waiting: int
    max_queue: int
    max_wait_seconds: float


class WaitingRoom:
    """Lets ``concurrency`` callers in at a time, in the order in which they came."""

    def __init__(self, concurrency: int, max_queue: int, max_wait_seconds: float) -> None:
        self._concurrency = concurrency
        self._max_queue = max_queue
        self._max_wait_seconds = max_wait_seconds
        self._lock = threading.Lock()
        self._in_flight = 0
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn and hold it.

        Raises:
            Busy: ``max_queue`` callers wait already.
            TooSlow: no turn came within ``max_wait_seconds``.
        """
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def figures(self) -> QueueFigures:
        """The state of this moment."""
        with self._lock:
            return QueueFigures(
                self._concurrency,
                self._in_flight,
                len(self._waiting),
                self._max_queue,
                self._max_wait_seconds,
            )

    def _enter(self) -> None:
        with self._lock:
            if self._in_flight < self._concurrency:
                self._in_flight += 1
                return
            if len(self._waiting) >= self._max_queue:
                raise Busy(
                    f"{len(self._waiting)} requests wait already (IMAGE_EMBEDDER_MAX_QUEUE); "
                    "try again later",
                    retry_after=max(1, round(self._max_wait_seconds / 4)),
                )
            called = threading.Event()
            self._waiting.append(called)
        if called.wait(self._max_wait_seconds):
            return
        with self._lock:
            if called.is_set():  # called in the very moment of giving up: the turn is ours
                return
            self._waiting.remove(called)
        raise TooSlow(
            f"No turn within {self._max_wait_seconds:g} seconds (IMAGE_EMBEDDER_MAX_WAIT_SECONDS)"
        )

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # the turn is handed over: in_flight stays
            else:
                self._in_flight -= 1
