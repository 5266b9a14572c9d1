# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Limits request bodies: the size and time of each one, and the bytes of all together.

This is a WSGI middleware, because the limits must apply while a body is read, before Flask parses
it.
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, RequestTimeout

from app.errors import Busy, ClientGone, NoResources
from app.host import alarms
from app.host.alarms import Alarm
from app.host.shared_state import SharedState

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


# How long the unread rest of a body is read before the connection is closed.
_DRAIN_SECONDS = 3.0
# How long the oldest body waits for room in the budget.
_MAX_WAIT_SECONDS = 3.0
_PIECE = 2**16
# After a request with more bytes than this, freed memory is returned to the system.
_LARGE_BYTES = 2**22
_TRIM_SECONDS = 0.3

# Of a body with a large file, which the form parser writes to disk, this much may be in memory.
_MEMORY_BYTES = 2**19
# It may take one second longer than other bodies for each so many bytes of it (0.5 Mbit/s).
_LEAST_BYTES_PER_SECOND = 2**16
# This much disk space for temporary files is left to other requests. It is looked at again after
# each so many bytes.
_SPARE_DISK_BYTES = 2**28
_DISK_STEP_BYTES = 2**26

#: The key of the ``BoundedBody`` in the WSGI environment of a request.
BODY = "twinlens.body"


@dataclass(frozen=True)
class BodyLimits:
    """Limits on each body of some routes."""

    #: largest size in bytes
    most: int
    #: name of the setting that says so
    setting: str
    #: time until the body must be complete
    seconds: float
    #: whether bodies have a large file, so that disk space and a least speed limit them
    are_films: bool = False


class Budget:
    """Limits the bytes that the bodies of all workers hold, and the bodies of this worker.

    Args:
        shared: state of the service; its figure ``held_bytes`` is the count.
        limit: bytes of all bodies in all workers.
        max_bodies: bodies in this worker, not counting those with films.
        max_films: bodies with films in this worker.
    """

    def __init__(self, shared: SharedState, limit: int, max_bodies: int, max_films: int) -> None:
        self._shared = shared
        self._limit = limit
        self._max_bodies = max_bodies
        self._max_films = max_films
        #: the bodies of this worker without films, the oldest first
        self._bodies: list[object] = []
        self._films = 0

    def enter(self, body: object, *, is_film: bool = False) -> None:
        """Add a body. Raises Busy if there are so many that health probes would find no thread."""
        with self._shared.locked():
            if is_film:
                if self._films >= self._max_films:
                    raise Busy(
                        f"{self._films} films are under way; try again later",
                        retry_after=30,
                        code="too_many_films",
                    )
                self._films += 1
                return
            if len(self._bodies) >= self._max_bodies:
                raise Busy(
                    f"{len(self._bodies)} requests are under way; try again later", retry_after=5
                )
            self._bodies.append(body)

    def take(self, body: object, count: int) -> None:
        """Count more bytes of a body. Raises Busy if the limit is exceeded.

        The oldest body waits up to 3 s for other bodies to be refused. Without that, many bodies
        that arrive together would each use a part of the budget and then all be refused.
        """
        end = time.monotonic() + _MAX_WAIT_SECONDS
        while True:
            try:
                return self._take(count)
            except Busy:
                if self._bodies[:1] != [body] or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _take(self, count: int) -> None:
        with self._shared.locked():
            held = self._shared.total("held_bytes")
            if held + count > self._limit:
                raise Busy(
                    f"Requests that wait hold {held} bytes; "
                    f"at most {self._limit} are held (MAX_WAITING_BYTES); try again later",
                    retry_after=5,
                    code="too_many_bytes",
                )
            self._shared.set("held_bytes", self._shared.get("held_bytes") + count)

    def leave(self, body: object, count: int, *, is_film: bool = False) -> None:
        """Remove a body and its ``count`` bytes."""
        with self._shared.locked():
            if is_film:
                self._films -= 1
            else:
                self._bodies.remove(body)
            self._shared.set("held_bytes", self._shared.get("held_bytes") - count)


class BoundedBody:
    """Replaces ``wsgi.input``: limits the size of the body and the time until it is complete.

    Args:
        environ: the WSGI environment of the request.
        limits: for bodies of its route.
        budget: limit on all bodies together.
    """

    def __init__(self, environ: WSGIEnvironment, limits: BodyLimits, budget: Budget) -> None:
        self._stream = environ["wsgi.input"]
        self._connection = environ.get("gunicorn.socket")
        length = environ.get("CONTENT_LENGTH") or "0"
        self._declared = int(length) if length.isdecimal() else 0
        self.limits = limits
        self._limit = limits.most
        self._seconds = limits.seconds
        self._budget = budget
        self._began = 0.0
        self._count = 0
        self._held = 0
        self._disk_checked_at = 0
        self._lock = threading.Lock()
        self._late = False
        self._entered = False
        self._closed = False
        # Without a length and without chunked encoding there is no body.
        self._ended = not self._declared and "HTTP_TRANSFER_ENCODING" not in environ
        self._alarm: Alarm | None = None

    def read(self, size: int = -1) -> bytes:
        """See io.RawIOBase.

        Raises:
            Busy: the service holds too many bytes or bodies.
            HTTPException: 400 for a damaged body, 408 for a late one, 413 for a large one.
        """
        # One byte more than the limit shows whether the body is too large.
        room = self._limit + 1 - self._count
        return self._checked(lambda: self._stream.read(room if size < 0 else min(size, room)))

    def readline(self, size: int = -1) -> bytes:
        """See io.RawIOBase. Raises the same errors as ``read``."""
        room = self._limit + 1 - self._count
        return self._checked(lambda: self._stream.readline(room if size < 0 else min(size, room)))

    def drain(self) -> None:
        """Read and discard the part of the body that the app has not read.

        If a connection with unread bytes is closed, the kernel resets it, and a client or proxy
        that is still sending may never get the answer.
        """
        if self._ended or self._late or self._declared > self._limit:
            return
        alarm = alarms.after(min(self._seconds, _DRAIN_SECONDS), self._expire)
        left = self._limit
        # Errors do not matter here: the client is gone, or its chunked encoding is invalid.
        with suppress(Exception):
            while left > 0 and (data := self._stream.read(min(_PIECE, left))):
                left -= len(data)
        alarm.cancel()

    def hold(self, count: int) -> None:
        """Count further bytes that the request holds until its end, such as a fetched image.

        May be called from any thread.

        Raises:
            Busy: the service holds too many bytes.
            ClientGone: the request has ended already.
        """
        with self._lock:
            if self._closed:
                raise ClientGone
            self._budget.take(self, count)
            self._held += count

    def close(self) -> int:
        """End the request. Returns how many bytes it held or declared, whichever is more."""
        if self._alarm is not None:
            self._alarm.cancel()
        with self._lock:
            self._closed = True
            if self._entered:
                self._budget.leave(self, self._held, is_film=self.limits.are_films)
        return max(self._held, min(self._declared, self._limit))

    def _checked(self, read: Callable[[], bytes]) -> bytes:
        if self._alarm is None:
            if self._declared > self._limit:  # refused without reading it
                raise RequestEntityTooLarge
            if self.limits.are_films:
                _check_disk(self._declared)
            self._budget.enter(self, is_film=self.limits.are_films)
            self._entered = True
            self._began = time.monotonic()
            self._alarm = alarms.after(self._seconds, self._check_time)
        try:
            data = read()
        except HTTPException:
            raise
        except Exception as error:  # invalid chunked encoding, or a broken connection
            data = b""
            if not self._late:
                raise BadRequest("The body is damaged or incomplete") from error
        self._check_late()
        if self._count + len(data) > self._limit:
            raise RequestEntityTooLarge
        self._hold_read(len(data))
        self._check_late()  # the time may have ended while the bytes waited for room
        self._count += len(data)
        if not data or self._count == self._declared:
            with self._lock:  # the body is complete: the time limit for it no longer applies
                self._ended = True
                self._alarm.cancel()
        return data

    def _check_late(self) -> None:
        if self._late:
            raise RequestTimeout(
                f"The body was not complete within {self._seconds:g} seconds{self._and_more()} "
                "(BODY_TIMEOUT_SECONDS)"
            )

    def _hold_read(self, count: int) -> None:
        """Count bytes that were read; of a film only those that may be in memory."""
        if not self.limits.are_films:
            self.hold(count)
            return
        if more := min(count, _MEMORY_BYTES - self._held):
            self.hold(more)
        if self._count - self._disk_checked_at > _DISK_STEP_BYTES:
            self._disk_checked_at = self._count
            _check_disk(0)

    def _and_more(self) -> str:
        if not self.limits.are_films:
            return ""
        return f" and one more for each {_LEAST_BYTES_PER_SECOND} bytes that had come"

    def _check_time(self) -> None:
        """End the reading, or give a film the time that its bytes so far have earned."""
        if self.limits.are_films:
            most = self._seconds + self._count / _LEAST_BYTES_PER_SECOND
            left = self._began + most - time.monotonic()
            with self._lock:
                if self._ended or self._closed:
                    return
                if left > 0:
                    self._alarm = alarms.after(left, self._check_time)
                    return
        self._expire()

    def _expire(self) -> None:
        """End the read that the request's thread waits in; answers can still be sent."""
        self._late = True
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RD)


def _check_disk(count: int) -> None:
    """Raise NoResources if ``count`` more bytes would leave too little room on the disk."""
    try:
        disk = os.statvfs(tempfile.gettempdir())
    except OSError:  # no folder can be written to: writing the body will fail, and say so
        return
    free = max(0, disk.f_bavail * disk.f_frsize - _SPARE_DISK_BYTES)
    if free < max(count, 1):
        raise NoResources(
            f"The disk for temporary files has room for {free} bytes of films; this one has {count}"
            if count
            else "The disk for temporary files has no more room for films"
        )


class BodyGuard:
    """The WSGI middleware that puts a ``BoundedBody`` into each request.

    Args:
        app: the WSGI application behind it.
        limits: for each beginning of a path; the longest that fits counts, and "" fits all.
        budget: limit on all bodies together.
        trim: returns freed memory to the system.
    """

    def __init__(
        self,
        app: WSGIApplication,
        limits: Mapping[str, BodyLimits],
        budget: Budget,
        trim: Callable[[], None],
    ) -> None:
        self._app = app
        self._limits = dict(sorted(limits.items(), key=lambda item: -len(item[0])))
        self._budget = budget
        self._trim = trim
        self._trims_soon = False
        # Python determines the folder for temporary files once, by writing a file. This is done
        # now, because later the disk may be full.
        with suppress(OSError):
            tempfile.gettempdir()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """See PEP 3333."""
        # Treat "//api/depth" as "/api/depth": clients send it if their base URL ends with a slash.
        # A redirect would need an absolute URL, and the Host header for it cannot be trusted.
        environ["PATH_INFO"] = re.sub("/{2,}", "/", environ.get("PATH_INFO", ""))
        path = environ["PATH_INFO"]
        limits = next(each for start, each in self._limits.items() if path.startswith(start))
        body = BoundedBody(environ, limits, self._budget)
        environ["wsgi.input"] = environ[BODY] = body
        try:
            answer = self._app(environ, start_response)
            body.drain()
            return answer
        finally:
            if body.close() > _LARGE_BYTES and not self._trims_soon:
                self._trims_soon = True
                alarms.after(_TRIM_SECONDS, self._run_trim)

    def _run_trim(self) -> None:
        self._trims_soon = False
        self._trim()
