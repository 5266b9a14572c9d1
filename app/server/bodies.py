# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Request bodies from the network: bounded in size, in time and all together.

A WSGI middleware, since a body must be bounded while it is read, before anything looks at it.
"""

from __future__ import annotations

import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, RequestTimeout

from app.errors import Busy, ClientGone
from app.host import alarms
from app.host.alarms import Alarm
from app.host.shared_state import SharedState

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_DRAIN_SECONDS = 3.0
_PATIENCE_SECONDS = 3.0
_PIECE = 2**16
# A request with more bytes than this leaves memory behind that is worth giving back.
_LARGE_BYTES = 2**22
_TRIM_SECONDS = 0.3

#: Where the body of a request stands in its WSGI environment.
BODY = "twinlens.body"


class Budget:
    """Bytes of the bodies that all workers hold at this moment; how many this worker has."""

    def __init__(self, shared: SharedState, limit: int, most: int) -> None:
        self._shared = shared
        self._limit = limit
        self._most = most
        #: the oldest first
        self._bodies: list[object] = []

    def enter(self, body: object) -> None:
        """A body begins. Raises Busy when so many are under way that probes had no thread left."""
        with self._shared.locked():
            if len(self._bodies) >= self._most:
                raise Busy(
                    f"{len(self._bodies)} requests are under way; try again later", retry_after=5
                )
            self._bodies.append(body)

    def take(self, body: object, count: int) -> None:
        """Raises Busy when the budget is used up.

        The oldest body waits a little for the others to be refused: else many that come at once
        would each take a part, and none would be served.
        """
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._take(count)
            except Busy:
                if self._bodies[0] is not body or time.monotonic() > end:
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
                )
            self._shared.set("held_bytes", self._shared.get("held_bytes") + count)

    def leave(self, body: object, count: int) -> None:
        """The body is no longer needed."""
        with self._shared.locked():
            self._bodies.remove(body)
            self._shared.set("held_bytes", self._shared.get("held_bytes") - count)


class BoundedBody:
    """Stands for ``wsgi.input``: counts what it hands out and ends what takes too long."""

    def __init__(
        self, environ: WSGIEnvironment, limit: int, seconds: float, budget: Budget
    ) -> None:
        self._stream = environ["wsgi.input"]
        self._connection = environ.get("gunicorn.socket")
        length = environ.get("CONTENT_LENGTH") or "0"
        self._declared = int(length) if length.isdecimal() else 0
        self._limit = limit
        self._seconds = seconds
        self._budget = budget
        self._count = 0
        self._held = 0
        self._lock = threading.Lock()
        self._late = False
        self._entered = False
        self._closed = False
        # Neither a length nor chunks: there is no body.
        self._ended = not self._declared and "HTTP_TRANSFER_ENCODING" not in environ
        self._alarm: Alarm | None = None

    def read(self, size: int = -1) -> bytes:
        """See io.RawIOBase; raises HTTPException or Busy."""
        # One byte beyond the limit tells a body that fits from one that does not.
        room = self._limit + 1 - self._count
        return self._take(lambda: self._stream.read(room if size < 0 else min(size, room)))

    def readline(self, size: int = -1) -> bytes:
        """See io.RawIOBase."""
        room = self._limit + 1 - self._count
        return self._take(lambda: self._stream.readline(room if size < 0 else min(size, room)))

    def drain(self) -> None:
        """Read and forget what the app left unread.

        Where a connection with unread bytes is closed, the kernel resets it, and a client or proxy
        that is still sending may never see the answer.
        """
        if self._ended or self._late or self._declared > self._limit:
            return
        alarm = alarms.after(min(self._seconds, _DRAIN_SECONDS), self._expire)
        left = self._limit
        # It fails where the client is gone or its chunks are broken: nobody waits for an answer.
        with suppress(Exception):
            while left > 0 and (data := self._stream.read(min(_PIECE, left))):
                left -= len(data)
        alarm.cancel()

    def hold(self, count: int) -> None:
        """Count bytes that the request has from elsewhere, until it is over; from any thread.

        Raises:
            Busy: the service holds too many.
            ClientGone: the request is over already.
        """
        with self._lock:
            if self._closed:
                raise ClientGone
            self._budget.take(self, count)
            self._held += count

    def close(self) -> int:
        """The request is over; how many bytes it brought, as far as is known."""
        if self._alarm is not None:
            self._alarm.cancel()
        with self._lock:
            self._closed = True
            if self._entered:
                self._budget.leave(self, self._held)
        return max(self._held, min(self._declared, self._limit))

    def _take(self, read: Any) -> bytes:
        if self._alarm is None:
            if self._declared > self._limit:  # no need to see more
                raise RequestEntityTooLarge
            self._budget.enter(self)
            self._entered = True
            self._alarm = alarms.after(self._seconds, self._expire)
        try:
            data: bytes = read()
        except HTTPException:
            raise
        except Exception as error:  # gunicorn's parser of chunks, or the connection broke
            data = b""
            if not self._late:
                raise BadRequest("The body is damaged or incomplete") from error
        if self._late:
            raise RequestTimeout(
                f"The body was not complete within {self._seconds:g} seconds (BODY_TIMEOUT_SECONDS)"
            )
        if self._count + len(data) > self._limit:
            raise RequestEntityTooLarge
        self.hold(len(data))
        self._count += len(data)
        if not data or self._count == self._declared:
            self._ended = True
            self._alarm.cancel()  # complete; what takes long from here on is not the client's
        return data

    def _expire(self) -> None:
        """End the read that is under way in another thread; the answer can still be sent."""
        self._late = True
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RD)


class BodyGuard:
    """The middleware.

    Args:
        app: what it stands before.
        limit: bytes of one body.
        seconds: until a body must be complete.
        budget: of all bodies together.
        trim: gives freed memory back to the system.
    """

    def __init__(
        self,
        app: WSGIApplication,
        limit: int,
        seconds: float,
        budget: Budget,
        trim: Callable[[], None],
    ) -> None:
        self._app = app
        self._limit = limit
        self._seconds = seconds
        self._budget = budget
        self._trim = trim
        self._trims_soon = False
        # Python looks for it once, by writing a file; later the disk may be full.
        with suppress(OSError):
            tempfile.gettempdir()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """See PEP 3333."""
        # A base address that ends with a slash gives "//api/depth". A redirect would need an
        # absolute address, of which the service knows only what the Host header claims.
        environ["PATH_INFO"] = re.sub("/{2,}", "/", environ.get("PATH_INFO", ""))
        body = BoundedBody(environ, self._limit, self._seconds, self._budget)
        environ["wsgi.input"] = environ[BODY] = body
        try:
            answer = self._app(environ, start_response)
            body.drain()
            return answer
        finally:
            if body.close() > _LARGE_BYTES and not self._trims_soon:
                self._trims_soon = True
                alarms.after(_TRIM_SECONDS, self._give_back)

    def _give_back(self) -> None:
        self._trims_soon = False
        self._trim()
