# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""gunicorn's threaded worker, with our own way to begin, to refuse and to end."""

from __future__ import annotations

import errno
import re
import selectors
import socket
import ssl
import struct
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

from gunicorn.http.errors import InvalidHeader, UnsupportedTransferCoding
from gunicorn.workers.gthread import ThreadWorker

from app.server.answers import Answer, Answers
from app.server.master import unblock_signals
from app.server.refusals import Page

# Seconds for the head of a request; its body has BODY_TIMEOUT_SECONDS.
_HEAD_SECONDS = 20.0
# A client may go on sending what was refused for so many seconds, and read why: after a reset it
# could not, and nginx would make a 502 of it.
_LINGER_SECONDS = 5.0
# For what is sent while a body is still expected, and under TLS.
_SEND_SECONDS = 30
# A worker that does not take a connection in time, though it has fewer, may be stuck.
_MOST_PASSES = 20
_PASS_SECONDS = 0.001
# Limits of clients are looked at so often.
_TICK_SECONDS = 0.2
# /health and /ready answer also while all other threads are held. Pages are all work and no
# waiting: more threads would not be faster, and would keep the interpreter from all else.
_PROBE_THREADS = 2
_PAGE_THREADS = 4
_SWITCH_SECONDS = 0.001
_PROBE = re.compile(rb"(GET|HEAD) /(health|ready)(\?[!-~]*)? HTTP/1\.[01]\r\n")
_PAGE = re.compile(rb"(GET|HEAD) ")
_HAS_BODY = re.compile(rb"\r\n(content-length|transfer-encoding|expect):", re.IGNORECASE)
_HEAD_BYTES = 8192
# The kernel keeps so much of an answer that it cannot send yet, not megabytes: a client that takes
# nothing is noticed sooner, and those requests wait that it sent at once.
_UNSENT_BYTES = 128 * 1024
# What accept says where no descriptor or no memory is left, in this process or on this machine.
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_ROOM_SECONDS = 10.0


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """Differs from gunicorn's in what a client can do to others, in what it reads when its request
    is malformed, and in how a worker ends: it serves all requests that it has accepted, however
    long they have to wait. At shutdown the waiting room refuses them.

    Threads belong to requests. Silent clients, slow readers of answers and clients that do not
    close their connections are left to the main loop.
    """

    def init_process(self) -> None:
        """See gunicorn.workers.base.Worker."""
        # Of this process only; the master's own patience at shutdown stays as it is.
        self.cfg.set("graceful_timeout", 24 * 3600)
        #: connections that a thread reads the head of a request from, and until when
        self._heads: dict[Any, float] = {}
        #: connections whose answer is not sent yet, and what ``handle`` said of them
        self._sending: dict[Any, Future[Any]] = {}
        #: connections that are closed on our side, the oldest first
        self._lingering: dict[Any, None] = {}
        #: how often in a row a connection was left to others
        self._passed = 0
        self._ticked_at = 0.0
        self._ending_since: float | None = None
        self._most_connections: int = self.cfg.worker_connections
        #: until when fewer connections are accepted, since there was no room for more
        self._no_room_until = 0.0
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._probes = ThreadPoolExecutor(_PROBE_THREADS, "probe")
        self._pages = ThreadPoolExecutor(_PAGE_THREADS, "page")
        super().init_process()

    def init_signals(self) -> None:
        """See gunicorn.workers.base.Worker."""
        super().init_signals()
        unblock_signals()

    def run(self) -> None:
        """See ThreadWorker."""
        settings = self._runtime().settings
        self._answers = Answers(settings.max_waiting_bytes // settings.web_concurrency)
        super().run()

    def notify(self) -> None:
        """See gunicorn.workers.base.Worker: a sign of life for the master, and for the others."""
        super().notify()
        self._shared().beat()

    def _runtime(self) -> Any:
        return self.wsgi.extensions["twinlens"]

    def _shared(self) -> Any:
        return self._runtime().shared

    # -- to begin ------------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """A new connection goes to the worker that has the fewest: a request cannot move later.

        None goes to a worker that is about to be replaced: its successor answers.
        """
        fewer_elsewhere = self._count() > self._shared().least("connections")
        if self._is_refusing() or (fewer_elsewhere and self._passed < _MOST_PASSES):
            self._passed += 1
            time.sleep(_PASS_SECONDS)  # it has been woken for this connection, too
            return
        self._passed = 0
        if self.nr_conns >= self.worker_connections - 1:
            self._close_an_idle_one()
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._without_room(error)
        self._count()

    def _is_refusing(self) -> bool:
        runtime = self._runtime()
        return runtime.is_closing() and not runtime.shared.flag("stopping")

    def _count(self) -> int:
        """Publish how many connections this worker has that it works for, or soon may."""
        connections: int = self.nr_conns - len(self.keepalived_conns) - len(self._lingering)
        self._shared().set("connections", connections)
        return connections

    def _close_an_idle_one(self) -> bool:
        """Make room for a client that may have something to ask; whether there was one to close."""
        for connections in (self._lingering, self.pending_conns, self.keepalived_conns):
            for connection in connections:
                self._close(connection)
                return True
        return False

    def _without_room(self, error: OSError) -> None:
        """There is no descriptor for a connection: no more than those that are there, for now."""
        now = time.monotonic()
        if now > self._no_room_until:
            self.log.warning("no room for another connection: %s", error.strerror)
        if not self._close_an_idle_one():
            time.sleep(50 * _PASS_SECONDS)  # the connection that cannot be taken would wake us
        self.worker_connections = max(2, self.nr_conns + 1)
        self._no_room_until = now + _NO_ROOM_SECONDS

    def enqueue_req(self, conn: Any) -> None:
        """A new connection takes a thread only when it has sent something.

        gunicorn gives it one at once, for five seconds: as many silent clients as there are
        threads would keep everybody else waiting.
        """
        if conn.initialized or conn.data_ready:
            future = self._pool_for(conn).submit(self.handle, conn)
            future.add_done_callback(
                lambda done: self.method_queue.defer(self.finish_request, conn, done)
            )
            return
        timeout = struct.pack("ll", _SEND_SECONDS, 0)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        if conn.sock.family != socket.AF_UNIX:
            conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def _pool_for(self, conn: Any) -> Any:
        """The threads for the next request of a connection.

        Only a whole one without a body goes to those few that wait for no client.
        """
        head = b""
        if conn.parser is not None:
            head = conn.parser.unreader.buf.getvalue()  # read with the request before
        with suppress(OSError, ValueError):  # sockets of TLS know no flags
            head += conn.sock.recv(_HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        end = head.find(b"\r\n\r\n")
        if end < 0 or not _PAGE.match(head) or _HAS_BODY.search(head, 0, end):
            return self.tpool
        return self._probes if _PROBE.match(head) else self._pages

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """See ThreadWorker; it may have been closed since it became readable."""
        if conn in self.pending_conns:
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """See ThreadWorker; it may have been closed since it became readable."""
        if conn in self.keepalived_conns:
            super().on_client_socket_readable(conn, client)

    # -- to answer -----------------------------------------------------------------------------

    def handle(self, conn: Any) -> Any:
        """See ThreadWorker; in a thread of a pool."""
        self._heads[conn] = time.monotonic() + _HEAD_SECONDS
        try:
            return super().handle(conn)
        finally:
            self._heads.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """See ThreadWorker: the head is complete."""
        self._heads.pop(conn, None)
        if isinstance(conn.sock, ssl.SSLSocket):
            return super().handle_request(req, conn)
        conn.answer = Answer(conn.sock, self._answers)
        answered = copy(conn)
        answered.sock = conn.answer
        return super().handle_request(req, answered)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """See ThreadWorker; on the main loop."""
        answer = getattr(conn, "answer", None)
        if answer is not None and answer.is_waiting():
            try:
                conn.sock.setblocking(False)
                send = partial(self._send_more, conn)
                self.poller.register(conn.sock, selectors.EVENT_WRITE, send)
                self._sending[conn] = fs
            except (OSError, ValueError):  # it is closed
                self._forget(conn)
        else:
            self._end_request(conn, fs)
        self._count()

    def _send_more(self, conn: Any, _: Any) -> None:
        if conn not in self._sending:  # it has just been closed
            return
        try:
            conn.answer.send_more()
        except OSError:
            self._close(conn)
            return
        if not conn.answer.is_waiting():
            self.poller.unregister(conn.sock)
            self._end_request(conn, self._sending.pop(conn))
            self._count()

    def _end_request(self, conn: Any, fs: Any) -> None:
        """The answer is with the kernel: keep the connection, or let the client close it."""
        if (answer := getattr(conn, "answer", None)) is not None:
            answer.close()
            conn.answer = None
        if not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):  # the client has closed it already
            self._forget(conn)
            return
        conn.timeout = time.monotonic() + _LINGER_SECONDS
        self._lingering[conn] = None

    def _drain(self, conn: Any, _: Any) -> None:
        if conn not in self._lingering:  # it has just been closed
            return
        try:
            if conn.sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:  # reset
            pass
        self._close(conn)

    def _close(self, conn: Any) -> None:
        """A connection that the main loop has: end it."""
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        for connections in (self.pending_conns, self.keepalived_conns):
            with suppress(ValueError):
                connections.remove(conn)
        self._sending.pop(conn, None)
        self._lingering.pop(conn, None)
        self._forget(conn)
        self._count()

    def _forget(self, conn: Any) -> None:
        if (answer := getattr(conn, "answer", None)) is not None:
            answer.close()
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """See ThreadWorker; called in each turn of the main loop: ends what takes too long."""
        super().murder_pending()
        now = time.monotonic()
        if now - self._ticked_at < _TICK_SECONDS:
            return
        self._ticked_at = now
        for conn, deadline in list(self._heads.items()):
            if now > deadline:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)
        for conn in list(self._lingering):
            if now < conn.timeout:
                break  # so are all that follow
            self._close(conn)
        slow = [conn for conn in self._sending if self._is_too_slow(conn.answer, now)]
        for conn in slow:
            self._close(conn)
        if slow:
            self.log.warning("%d clients took their answers too slowly: closed", len(slow))
        if now > self._no_room_until:
            self.worker_connections = self._most_connections

    def _is_too_slow(self, answer: Answer, now: float) -> bool:
        if self._ending_since is not None:
            patience = self._runtime().settings.shutdown_timeout_seconds
            if now > max(self._ending_since, answer.began) + patience:
                return True
        return answer.is_too_slow(now)

    # -- to end --------------------------------------------------------------------------------

    def is_parent_alive(self) -> bool:
        """See ThreadWorker: without a master nobody would replace or stop this worker."""
        if super().is_parent_alive():
            return True
        self.alive = False
        return False

    def set_accept_enabled(self, enabled: bool) -> None:
        """See ThreadWorker; the first call after the end has begun, for whatever reason."""
        if not enabled and not self.alive and self._ending_since is None:
            self._ending_since = time.monotonic()
            runtime = self._runtime()
            runtime.leave()
            if runtime.shared.flag("stopping"):
                if self._accepting:
                    # Who has connected already gets an answer; who comes later is refused at once.
                    for listener in self.sockets:
                        before = -1
                        while before != self.nr_conns:
                            before = self.nr_conns
                            with suppress(OSError):
                                super().accept(listener)
                    super().set_accept_enabled(False)
                for listener in self.sockets:
                    listener.close()
                return
        super().set_accept_enabled(enabled)

    def _cap_keepalive(self, deadline: float) -> None:
        """At the end: connections without a whole request are not waited for."""
        super()._cap_keepalive(deadline)
        for connection in (*self.pending_conns, *self._lingering):
            connection.timeout = min(connection.timeout, deadline)
        for connection in list(self._heads):
            self._heads[connection] = deadline

    # -- to refuse -----------------------------------------------------------------------------

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """See gunicorn.workers.base.Worker: its status, our body."""
        page = Page()
        if isinstance(exc, UnsupportedTransferCoding):
            # gunicorn makes a 501 of it; what is wrong is the client's request.
            exc = InvalidHeader("Transfer-Encoding")
        super().handle_error(req, page, addr, exc)
        if not page.data:  # gunicorn had nothing to say
            return
        self._runtime().metrics.malformed(page.status())
        with suppress(OSError):  # the client is gone, or takes nothing
            flags = 0 if isinstance(client, ssl.SSLSocket) else socket.MSG_DONTWAIT
            client.send(page.in_our_words(), flags)
