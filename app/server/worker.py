# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""gunicorn's threaded worker, changed in how it accepts connections, sends answers and ends."""

from __future__ import annotations

import errno
import selectors
import signal
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

from app.server import heads
from app.server.answers import Answer, Answers
from app.server.master import unblock_signals
from app.server.refusals import CapturedResponse

# The head of a request must be complete in this time; its body in BODY_TIMEOUT_SECONDS.
_HEAD_SECONDS = 20.0
# How long a closing connection still reads and discards data, so that a client whose request was
# refused can read the answer. Otherwise the kernel resets the connection, and nginx returns 502.
_LINGER_SECONDS = 5.0
# Timeout of sends that block, such as all sends under TLS.
_SEND_SECONDS = 30
# A worker leaves a new connection to less busy workers up to 20 times, for 1 ms each (20 ms). After
# that it accepts the connection itself, because the other workers may be stuck.
_MAX_PASSES = 20
_PASS_SECONDS = 0.001
# How often the time limits of connections are checked.
_TICK_SECONDS = 0.2
# /health and /ready have separate threads, so that they respond while all others are busy.
# GET requests for other pages have few threads: they only use the CPU, so more would not be faster,
# and would compete with inference for Python's interpreter lock.
_PROBE_THREADS = 2
_PAGE_THREADS = 4
_SWITCH_SECONDS = 0.001
_HEAD_BYTES = 8192
# The kernel buffers at most this much unsent data of a connection, instead of megabytes. A client
# that reads nothing is noticed sooner that way, and its further (pipelined) requests do not start.
_UNSENT_BYTES = 128 * 1024
# Errors of accept() when file descriptors or memory ran out, in this process or on this machine.
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_LIMITED_SECONDS = 10.0


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """Differs from gunicorn's worker in three ways.

    - Slow clients cannot block others: threads only process requests. The main loop handles silent
      clients, clients that read slowly, and clients that do not close their connections.
    - Malformed requests get the JSON body of all other errors.
    - A worker that is replaced serves all requests that it has accepted, however long they wait.
      At shutdown the waiting room refuses queued requests.
    """

    def init_process(self) -> None:
        """Prepare the worker after the fork; see gunicorn.workers.base.Worker."""
        # This changes the setting in this process only; in the master it still limits the shutdown.
        self.cfg.set("graceful_timeout", 24 * 3600)
        #: connections whose request head is being read by a thread, and the deadline for it
        self._heads: dict[Any, float] = {}
        #: connections whose answer the main loop is sending, and the finished future of ``handle``
        self._sending: dict[Any, Future[Any]] = {}
        #: connections that we have shut for writing and the client has not closed, oldest first
        self._lingering: dict[Any, None] = {}
        #: how often in a row a new connection was left to other workers
        self._passes = 0
        self._ticked_at = 0.0
        self._ending_since: float | None = None
        self._most_connections: int = self.cfg.worker_connections
        #: until when the number of connections is reduced, after descriptors or memory ran out
        self._limited_until = 0.0
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._probes = ThreadPoolExecutor(_PROBE_THREADS, "probe")
        self._pages = ThreadPoolExecutor(_PAGE_THREADS, "page")
        super().init_process()

    def init_signals(self) -> None:
        """Install the signal handlers; see gunicorn.workers.base.Worker."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C: the master tells the workers
        unblock_signals()

    def run(self) -> None:
        """Run the main loop; see ThreadWorker."""
        settings = self._runtime().settings
        self._answers = Answers(settings.max_waiting_bytes // settings.web_concurrency)
        super().run()
        self._finish_jobs()

    def _finish_jobs(self) -> None:
        """Let a worker that is merely replaced finish its jobs, as it has finished its requests."""
        runtime = self._runtime()
        while runtime.jobs.is_busy() and self.is_parent_alive():
            self.notify()
            time.sleep(_TICK_SECONDS)

    def notify(self) -> None:
        """Send a heartbeat to the master (gunicorn's) and to the other workers (shared state)."""
        super().notify()
        self._shared().beat()

    def _runtime(self) -> Any:
        return self.wsgi.extensions["twinlens"]

    def _shared(self) -> Any:
        return self._runtime().shared

    # -- new connections and requests ----------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Accept a new connection, or leave it to another worker; see ThreadWorker.

        Waits up to 20 ms for a worker with fewer connections, because a request cannot move to
        another worker later. A worker that is being replaced leaves connections to its successor.
        """
        fewer_elsewhere = self._publish_connections() > self._shared().least("connections")
        if self._is_refusing() or (fewer_elsewhere and self._passes < _MAX_PASSES):
            self._passes += 1
            time.sleep(_PASS_SECONDS)  # gives the other worker time to accept the connection
            return
        self._passes = 0
        if self.nr_conns >= self.worker_connections - 1:
            self._close_an_idle_one()
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in _OUT_OF_RESOURCES:
                raise
            self._limit_connections(error)
        self._publish_connections()

    def _is_refusing(self) -> bool:
        runtime = self._runtime()
        return runtime.is_closing() and not runtime.shared.flag("stopping")

    def _publish_connections(self) -> int:
        """Publish and return the number of connections that have, or may soon send, a request."""
        connections: int = self.nr_conns - len(self.keepalived_conns) - len(self._lingering)
        self._shared().set("connections", connections)
        return connections

    def _close_an_idle_one(self) -> bool:
        """Close a connection without a request, to make room. Returns False if there is none."""
        for connections in (self._lingering, self.pending_conns, self.keepalived_conns):
            for connection in connections:
                self._close(connection)
                return True
        return False

    def _limit_connections(self, error: OSError) -> None:
        """Limit connections to their present number for 10 s: descriptors or memory ran out."""
        now = time.monotonic()
        if now > self._limited_until:
            self.log.warning("cannot accept another connection: %s", error.strerror)
        if not self._close_an_idle_one():
            time.sleep(50 * _PASS_SECONDS)  # the waiting connection would wake the main loop again
        self.worker_connections = max(2, self.nr_conns + 1)
        self._limited_until = now + _LIMITED_SECONDS

    def enqueue_req(self, conn: Any) -> None:
        """Assign a thread to a connection only when it has sent data; see ThreadWorker.

        gunicorn assigns a thread to a new connection immediately, for up to five seconds, so that
        silent clients could hold all threads.
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
        """The thread pool for the next request of a connection."""
        head = b""
        if conn.parser is not None:
            head = (
                conn.parser.unreader.buf.getvalue()
            )  # bytes that were read along with the previous request
        with suppress(OSError, ValueError):  # TLS sockets do not support flags
            head += conn.sock.recv(_HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        pools = {"probe": self._probes, "page": self._pages, "other": self.tpool}
        return pools[heads.kind(head)]

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """See ThreadWorker. Ignores a connection that was closed since it became readable."""
        if conn in self.pending_conns:
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """See ThreadWorker. Ignores a connection that was closed since it became readable."""
        if conn in self.keepalived_conns:
            super().on_client_socket_readable(conn, client)

    # -- answers -------------------------------------------------------------------------------

    def handle(self, conn: Any) -> Any:
        """Read a request and answer it, in a thread of a pool; see ThreadWorker."""
        self._heads[conn] = time.monotonic() + _HEAD_SECONDS
        try:
            return super().handle(conn)
        finally:
            self._heads.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request whose head is complete; see ThreadWorker."""
        self._heads.pop(conn, None)
        if isinstance(conn.sock, ssl.SSLSocket):
            return super().handle_request(req, conn)
        conn.answer = Answer(conn.sock, self._answers)
        answered = copy(conn)
        answered.sock = conn.answer
        return super().handle_request(req, answered)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Send the rest of an answer, or end the request, in the main loop; see ThreadWorker."""
        answer = getattr(conn, "answer", None)
        if answer is not None and answer.is_waiting():
            try:
                conn.sock.setblocking(False)
                send = partial(self._send_more, conn)
                self.poller.register(conn.sock, selectors.EVENT_WRITE, send)
                self._sending[conn] = fs
            except (OSError, ValueError):  # the socket is closed
                self._discard(conn)
        else:
            self._end_request(conn, fs)
        self._publish_connections()

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
            self._publish_connections()

    def _end_request(self, conn: Any, fs: Any) -> None:
        """Keep the connection after the whole answer was sent, or close it on our side."""
        is_broken = False
        if (answer := getattr(conn, "answer", None)) is not None:
            is_broken = answer.is_broken
            answer.close()
            conn.answer = None
        if is_broken:  # closing the connection resets it
            self._discard(conn)
            return
        if not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):  # the client has closed it already
            self._discard(conn)
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
        except OSError:  # the client has reset the connection
            pass
        self._close(conn)

    def _close(self, conn: Any) -> None:
        """Close a connection that the main loop handles."""
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        for connections in (self.pending_conns, self.keepalived_conns):
            with suppress(ValueError):
                connections.remove(conn)
        self._sending.pop(conn, None)
        self._lingering.pop(conn, None)
        self._discard(conn)
        self._publish_connections()

    def _discard(self, conn: Any) -> None:
        if (answer := getattr(conn, "answer", None)) is not None:
            answer.close()
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Close connections that exceed a time limit; called in each turn of the main loop."""
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
                break  # all later ones have time left, too
            self._close(conn)
        slow = [conn for conn in self._sending if self._is_too_slow(conn.answer, now)]
        for conn in slow:
            self._close(conn)
        if slow:
            self.log.warning("%d clients took their answers too slowly: closed", len(slow))
        if now > self._limited_until:
            self.worker_connections = self._most_connections

    def _is_too_slow(self, answer: Answer, now: float) -> bool:
        if self._ending_since is not None:
            patience = self._runtime().settings.shutdown_timeout_seconds
            if now > max(self._ending_since, answer.began) + patience:
                return True
        return answer.is_too_slow(now)

    # -- end of the worker ---------------------------------------------------------------------

    def is_parent_alive(self) -> bool:
        """See ThreadWorker. If the master is gone, this worker ends: nothing would ever stop it."""
        if super().is_parent_alive():
            return True
        self.alive = False
        return False

    def set_accept_enabled(self, enabled: bool) -> None:
        """See ThreadWorker. The first call with False after ``alive`` is unset starts the end."""
        if not enabled and not self.alive and self._ending_since is None:
            self._ending_since = time.monotonic()
            runtime = self._runtime()
            runtime.leave()
            if runtime.shared.flag("stopping"):
                if self._accepting:
                    # Accept the connections that wait already, so that they get an answer. Later
                    # ones are refused, because the listeners are closed.
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
        """Apply gunicorn's deadline at the end also to connections without a complete request."""
        super()._cap_keepalive(deadline)
        for connection in (*self.pending_conns, *self._lingering):
            connection.timeout = min(connection.timeout, deadline)
        for connection in list(self._heads):
            self._heads[connection] = deadline

    # -- malformed requests --------------------------------------------------------------------

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a malformed request with gunicorn's status and our body; see its Worker."""
        captured = CapturedResponse()
        if isinstance(exc, UnsupportedTransferCoding):
            # The status is 400 instead of gunicorn's 501, because the client's request is invalid.
            exc = InvalidHeader("Transfer-Encoding")
        super().handle_error(req, captured, addr, exc)
        if not captured.data:  # gunicorn sends no answer to this error
            return
        self._runtime().metrics.malformed(captured.status())
        with suppress(OSError):  # the client is gone, or accepts no data
            flags = 0 if isinstance(client, ssl.SSLSocket) else socket.MSG_DONTWAIT
            client.send(captured.as_json(), flags)
