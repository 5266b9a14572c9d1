# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Calls at a later time, all from one thread of the process."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("twinlens.alarms")


class Alarm:
    """A call that is planned."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not call; of no effect when it has been called already."""
        self._call = None

    def run(self) -> None:
        """Call, unless it was cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call()


class _Alarms:
    """Its thread begins with the first alarm, so in a worker, after the fork."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        alarm = Alarm(call)
        with self._changed:
            entry = (time.monotonic() + seconds, next(self._numbers), alarm)
            heapq.heappush(self._queue, entry)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(None, self._work, "alarms", daemon=True)
                self._thread.start()
            if self._queue[0] is entry:
                self._changed.notify()
        return alarm

    def _work(self) -> None:
        while True:
            with self._changed:
                while (seconds := self._seconds()) > 0:
                    self._changed.wait(seconds)
                alarm = heapq.heappop(self._queue)[2]
            try:
                alarm.run()
            except Exception:  # the others are to be called all the same
                log.exception("a planned call failed")

    def _seconds(self) -> float:
        """Until the first alarm; up to a minute where there is none."""
        return self._queue[0][0] - time.monotonic() if self._queue else 60.0


_alarms = _Alarms()


def after(seconds: float, call: Callable[[], None]) -> Alarm:
    """Call a function that does not block, after so many seconds, from another thread."""
    return _alarms.after(seconds, call)
