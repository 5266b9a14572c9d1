# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Timers: functions that are called after a delay, all from one thread of the process."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("twinlens.alarms")


class Alarm:
    """A function that will be called later."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Prevent the call. Has no effect if the function was called already."""
        self._call = None

    def run(self) -> None:
        """Call the function, unless the alarm was cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call()


class _Alarms:
    """The queue of alarms and the thread that calls their functions.

    The thread starts with the first alarm. That is after the fork, which threads do not survive.
    """

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
                while (seconds := self._seconds_left()) > 0:
                    self._changed.wait(seconds)
                alarm = heapq.heappop(self._queue)[2]
            try:
                alarm.run()
            except Exception:  # one failed call must not stop the other alarms
                log.exception("the function of an alarm failed")

    def _seconds_left(self) -> float:
        """Seconds until the next alarm; 60 if there is none."""
        return self._queue[0][0] - time.monotonic() if self._queue else 60.0


_alarms = _Alarms()


def after(seconds: float, call: Callable[[], None]) -> Alarm:
    """Call ``call`` after ``seconds`` in the alarm thread.

    ``call`` must not block, because it would delay all other alarms of the process.
    """
    return _alarms.after(seconds, call)
