# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""gunicorn's threaded worker, with our own way to begin, to refuse and to end."""

from __future__ import annotations

import json
import selectors
import uuid
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """Differs in when a connection takes a thread, in what a client reads whose request line,
    headers or sizes gunicorn refuses, and in how a worker ends: it serves all that it has accepted,
    however long they have to wait. At shutdown the waiting room refuses them.
    """

    def init_process(self) -> None:
        """See gunicorn.workers.base.Worker."""
        # Of this process only; the master's own patience at shutdown stays as it is.
        self.cfg.set("graceful_timeout", 24 * 3600)
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """A new connection takes a thread only when it has sent something.

        gunicorn gives it one at once, for five seconds: as many silent clients as there are
        threads would keep everybody else waiting.
        """
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM; the rest follows on the main loop, since a signal may interrupt anything."""
        if self.alive:
            self.method_queue.defer(self._leave)
        super().handle_exit(sig, frame)

    def _leave(self) -> None:
        self.wsgi.extensions["twinlens"].leave()

    def _cap_keepalive(self, deadline: float) -> None:
        """At the end: connections without a request, new or kept, are not waited for."""
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """See gunicorn.workers.base.Worker: its status, our body."""
        page = _Page()
        super().handle_error(req, page, addr, exc)
        if not page.data:  # gunicorn had nothing to say
            return
        status = page.data.split(b"\r\n", 1)[0].removeprefix(b"HTTP/1.1 ").decode("latin-1")
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
