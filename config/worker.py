# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""gunicorn's threaded worker, with our own way to begin, to refuse and to end."""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
import uuid
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.http.errors import InvalidHeader, UnsupportedTransferCoding
from gunicorn.workers.gthread import ThreadWorker

# Seconds for the head of a request; its body has BODY_TIMEOUT_SECONDS.
_HEAD_SECONDS = 20.0
# Seconds in which a client must take something of its answer.
_SEND_SECONDS = 30
# Seconds in which a client may go on sending what was refused, and read why: after a reset it could
# not, and nginx would make a 502 of it.
_LINGER_SECONDS = 5.0
# A worker that does not take a connection in time, though it has fewer, may be stuck.
_MOST_PASSES = 20
_PASS_SECONDS = 0.001


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """Differs from gunicorn's in what a client can do to others, in what it reads when its request
    is malformed, and in how a worker ends: it serves all requests that it has accepted, however
    long they have to wait. At shutdown the waiting room refuses them.
    """

    def init_process(self) -> None:
        """See gunicorn.workers.base.Worker."""
        # Of this process only; the master's own patience at shutdown stays as it is.
        self.cfg.set("graceful_timeout", 24 * 3600)
        #: connections that a thread reads the head of a request from, and until when
        self._heads: dict[Any, float] = {}
        #: how often in a row a connection was left to others
        self._passed = 0
        super().init_process()

    # -- to begin ------------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """A new connection goes to the worker that has the fewest: a request cannot move later."""
        if self._count() > self._board().least("connections") and self._passed < _MOST_PASSES:
            self._passed += 1
            time.sleep(_PASS_SECONDS)  # it has been woken for this connection, too
            return
        self._passed = 0
        super().accept(listener)
        self._count()

    def _board(self) -> Any:
        return self.wsgi.extensions["twinlens"].board

    def _count(self) -> int:
        """Publish how many connections this worker has that are not merely kept."""
        connections: int = self.nr_conns - len(self.keepalived_conns)
        self._board().set("connections", connections)
        return connections

    def enqueue_req(self, conn: Any) -> None:
        """A new connection takes a thread only when it has sent something.

        gunicorn gives it one at once, for five seconds: as many silent clients as there are
        threads would keep everybody else waiting.
        """
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        timeout = struct.pack("ll", _SEND_SECONDS, 0)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def handle(self, conn: Any) -> Any:
        """See ThreadWorker; in a thread of the pool."""
        self._heads[conn] = time.monotonic() + _HEAD_SECONDS
        try:
            keep = super().handle(conn)
        finally:
            self._heads.pop(conn, None)
        if not keep:
            # It waits for the client to close first. gunicorn would do that on the main loop, which
            # accepts everybody's connections, and give up after 64 KiB.
            with suppress(OSError):
                conn.sock.setblocking(True)
                util.close_graceful(conn.sock, _LINGER_SECONDS, max_drain=sys.maxsize)
            conn.ended = True
        return keep

    def handle_request(self, req: Any, conn: Any) -> Any:
        """See ThreadWorker: the head is complete."""
        self._heads.pop(conn, None)
        return super().handle_request(req, conn)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """See ThreadWorker; on the main loop."""
        if getattr(conn, "ended", False):
            self.nr_conns -= 1
        else:
            super().finish_request(conn, fs)
        self._count()

    def murder_pending(self) -> None:
        """See ThreadWorker; called about once a second: also ends heads that take too long."""
        super().murder_pending()
        for conn, deadline in list(self._heads.items()):
            if time.monotonic() > deadline:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)

    # -- to end --------------------------------------------------------------------------------

    def set_accept_enabled(self, enabled: bool) -> None:
        """See ThreadWorker; the first call after the end has begun, for whatever reason."""
        if not enabled and not self.alive and self._accepting:
            runtime = self.wsgi.extensions["twinlens"]
            runtime.leave()
            if runtime.board.flag("stopping"):
                # Who has connected already gets an answer; who comes later is refused at once.
                for listener in self.sockets:
                    before = -1
                    while before != self.nr_conns:
                        before = self.nr_conns
                        super().accept(listener)
                super().set_accept_enabled(False)
                for listener in self.sockets:
                    listener.close()
                return
        super().set_accept_enabled(enabled)

    def _cap_keepalive(self, deadline: float) -> None:
        """At the end: connections without a whole request are not waited for."""
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)
        for connection in list(self._heads):
            self._heads[connection] = deadline

    # -- to refuse -----------------------------------------------------------------------------

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """See gunicorn.workers.base.Worker: its status, our body."""
        page = _Page()
        if isinstance(exc, UnsupportedTransferCoding):
            # gunicorn makes a 501 of it; what is wrong is the client's request.
            exc = InvalidHeader("Transfer-Encoding")
        super().handle_error(req, page, addr, exc)
        if not page.data:  # gunicorn had nothing to say
            return
        status = page.data.split(b"\r\n", 1)[0].removeprefix(b"HTTP/1.1 ").decode("latin-1")
        self.wsgi.extensions["twinlens"].metrics.malformed(int(status[:3]))
        message = "The request is malformed or its headers are too large; it was not processed"
        body = json.dumps({"error": status[4:], "message": message, "detail": message}).encode()
        head = (
            f"HTTP/1.1 {status}\r\n"
            "Connection: close\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"X-Request-ID: {uuid.uuid4().hex}\r\n\r\n"
        )
        try:
            client.sendall(head.encode() + body)
        except OSError:
            self.log.debug("the client of a malformed request is gone")


class _Page:
    """Takes what gunicorn would send."""

    def __init__(self) -> None:
        self.data = b""

    def gettimeout(self) -> float:
        """See socket.socket: as one that does not block."""
        return 0.0

    def sendall(self, data: bytes) -> None:
        """See socket.socket."""
        self.data += data
