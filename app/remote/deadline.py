# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A time limit for a whole fetch; timeouts of libraries limit only single reads and writes."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from app.errors import TooSlow, TwinlensError
from app.host import alarms

# The interval between two calls of ``check_cancelled``.
_CHECK_SECONDS = 0.5


class Deadline:
    """Ends a fetch at its deadline by shutting its sockets, even if data trickles in slowly.

    Use it in a ``with`` statement.

    Args:
        seconds: limit for the whole fetch: name resolution, redirects and data.
        check_cancelled: raises a TwinlensError if the client no longer waits for the result. That
            ends the fetch, too. It is called from the alarm thread and must not block.
        late: the message of the error after the deadline; default: that of a slow image host.
    """

    def __init__(
        self,
        seconds: float,
        check_cancelled: Callable[[], None] = lambda: None,
        late: str | None = None,
    ) -> None:
        self._late = late or (
            f"The image host took longer than {seconds:g} seconds (REQUEST_TIMEOUT_SECONDS)"
        )
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._check_cancelled = check_cancelled
        self._cancelled: TwinlensError | None = None
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Deadline:
        self._alarm = alarms.after(min(self._seconds, _CHECK_SECONDS), self._tick)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._alarm.cancel()

    def left(self) -> float:
        """Seconds until the deadline; at least 0.001, because libraries may take 0 as no limit."""
        return max(0.001, self._end - time.monotonic())

    def check(self) -> None:
        """Raise TooSlow after the deadline, or the error of ``check_cancelled``."""
        if self._cancelled is not None:
            raise self._cancelled
        if time.monotonic() >= self._end:
            raise TooSlow(self._late, code="remote_timeout")

    def watch(self, connection: socket.socket) -> None:
        """Shut this socket at the deadline. Raises the errors of ``check``."""
        self._sockets.append(connection)
        self.check()

    def run(self, task: Callable[[], list[str]]) -> list[str]:
        """Run ``task`` (name resolution, which cannot be interrupted) in another thread.

        Returns its result or raises its error. At the deadline it raises the error of ``check``,
        and the thread is left to end by itself.
        """
        results: queue.Queue[list[str] | BaseException] = queue.Queue()

        def attempt() -> None:
            try:
                results.put(task())
            except BaseException as error:
                results.put(error)

        threading.Thread(target=attempt, name="resolve", daemon=True).start()
        while True:
            with suppress(queue.Empty):
                result = results.get(timeout=min(self.left(), _CHECK_SECONDS))
                break
            self.check()
        if isinstance(result, BaseException):
            raise result
        return result

    def _tick(self) -> None:
        if self._over.is_set():
            return
        try:
            self._check_cancelled()
        except TwinlensError as error:
            self._cancelled = error
        left = self._end - time.monotonic()
        if self._cancelled is None and left > 0:
            self._alarm = alarms.after(min(left, _CHECK_SECONDS), self._tick)
            return
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
