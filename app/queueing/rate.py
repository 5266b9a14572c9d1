# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The rate at which the service completes requests, for ``Retry-After``."""

from __future__ import annotations

import math
import time

from app.host.shared_state import SharedState

# Weight of the newest measurement in the moving average of seconds for each request.
_SMOOTHING = 0.2


class Rate:
    """Measures how many requests the service completes in a second, to compute ``Retry-After``.

    Each worker measures its own rate; the rate of the service is the sum over its workers.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._last_done = 0.0

    def note(self, started: float, requests: int) -> None:
        """Record that a batch is done.

        Args:
            started: when the device began the batch (monotonic seconds).
            requests: number of requests in the batch.
        """
        now = time.monotonic()
        # A batch counts from its start, or from the end of the previous batch if that was later:
        # batches may overlap, and no time must be counted twice.
        seconds = (now - max(started, self._last_done)) / requests
        self._last_done = now
        known = self._shared.request_seconds()
        smoothed = known + _SMOOTHING * (seconds - known) if known else seconds
        self._shared.set_request_seconds(smoothed)

    def seconds_for(self, requests: int, longest: float) -> int:
        """Whole seconds that all workers together need for the requests, from 1 to ``longest``."""
        rate = self._shared.requests_per_second()
        seconds = requests / rate if rate else 1.0
        return max(1, math.ceil(min(seconds, longest)))
