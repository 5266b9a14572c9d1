# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""An end for network work that no timeout of a library bounds."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from app.errors import TooSlow


class Deadline:
    """Ends a fetch in time, also one that is fed a byte a second: it shuts the sockets."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def left(self) -> float:
        """Seconds; never zero, which would mean no limit or none at all."""
        return max(0.001, self._end - time.monotonic())

    def check(self) -> None:
        """Raises TooSlow when the time is over."""
        if time.monotonic() >= self._end:
            raise TooSlow(
                f"The image host took longer than {self._seconds:g} seconds "
                "(REQUEST_TIMEOUT_SECONDS)"
            )

    def watch(self, connection: socket.socket) -> None:
        """Shut this socket at the end. Raises TooSlow when that has come."""
        self._sockets.append(connection)
        self.check()

    def run(self, task: Callable[[], list[str]]) -> list[str]:
        """Run what cannot be interrupted, name resolution, and do not wait beyond the end."""
        results: queue.Queue[list[str] | BaseException] = queue.Queue()

        def attempt() -> None:
            try:
                results.put(task())
            except BaseException as error:
                results.put(error)

        threading.Thread(target=attempt, name="resolve", daemon=True).start()
        try:
            result = results.get(timeout=self.left())
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(result, BaseException):
            raise result
        return result

    def _expire(self) -> None:
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
