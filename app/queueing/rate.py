# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""How fast the service works: measured, for an honest ``Retry-After``."""

from __future__ import annotations

import math
import time

from app.host.shared_state import SharedState

# Weight of the newest measurement in the smoothed time of a request.
_SMOOTHING = 0.2


class Rate:
    """Each worker measures its own; together they work side by side."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._last_done = 0.0

    def note(self, started: float, requests: int) -> None:
        """So many requests, which the device began at ``started`` (monotonic seconds), are done."""
        now = time.monotonic()
        # Back to back, a request costs the time from one end to the next, which counts also what
        # the device waited for; after a pause only the inference is known.
        seconds = (now - max(started, self._last_done)) / requests
        self._last_done = now
        known = self._shared.request_seconds()
        smoothed = known + _SMOOTHING * (seconds - known) if known else seconds
        self._shared.set_request_seconds(smoothed)

    def seconds_for(self, requests: int, longest: float) -> int:
        """Whole seconds, at least 1, in which all workers together get so many requests done."""
        rate = self._shared.requests_per_second()
        seconds = requests / rate if rate else 1.0
        return max(1, math.ceil(min(seconds, longest)))
