# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Sends HTTP responses (answers) so that a slow client holds no thread and little memory.

The request's thread sends as many bytes as the kernel accepts immediately. The worker's main loop
sends the remaining bytes when the client is ready for them. They wait in memory, or on disk if they
are more than 1 MiB.

Answers that are made while they are sent, such as films, have no limit on their size. Their thread
waits for the client instead, so that no more of the answer is made than the client takes.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO, Any

log = logging.getLogger("twinlens.answers")

#: A client must receive at least this many bytes per second, after a first GRACE_SECONDS.
LEAST_BYTES_PER_SECOND = 4096
GRACE_SECONDS = 30.0
#: The connection is closed if sending an answer takes longer than this.
LONGEST_SECONDS = 900.0
#: A client may stop reading an answer that is made while it is sent for this long.
LONGEST_PAUSE_SECONDS = 300.0

# An unsent rest of up to this size waits in memory, a larger one on disk.
_MEMORY_BYTES = 2**20
# The request's thread sends for this long itself, so that a fast client needs no copy on disk.
_SEND_SECONDS = 0.5
_CHUNK_BYTES = 512 * 1024
# An answer younger than this is never dropped to make room for another one.
_PROTECTED_SECONDS = 2.0
_POLL_SECONDS = 1.0
# What poll() reports if the client has closed its side or the whole connection (see
# ``exchange.disconnect_check``).
_HANG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
# With this value of SO_LINGER, close() resets the connection.
_RESET = struct.pack("ii", 1, 0)


class Answers:
    """All unsent answers of one worker, with a limit on their total size."""

    def __init__(self, limit: int) -> None:
        """Start with no answers.

        Args:
            limit: largest total of unsent bytes; a single answer may exceed it.
        """
        self._limit = limit
        self._lock = threading.Lock()
        self._held: dict[Answer, int] = {}

    def held(self) -> int:
        """The current total of unsent bytes."""
        with self._lock:
            return sum(self._held.values())

    def take(self, answer: Answer, count: int) -> None:
        """Add ``count`` unsent bytes of an answer to the total.

        If the total exceeds the limit, the connections of the slowest clients are closed.

        Raises:
            BrokenPipeError: the total exceeds the limit, and all other answers are too recent to
                be dropped.
        """
        now = time.monotonic()
        with self._lock:
            others = [each for each in self._held if each is not answer]
            others.sort(key=lambda each: each.speed(now))
            held = sum(self._held.values())
            while others and held + count > self._limit:
                slowest = others.pop(0)
                if now - slowest.began < _PROTECTED_SECONDS:
                    continue
                held -= self._held.pop(slowest)
                slowest.give_up()
                log.warning("too many bytes wait for slow clients: closed the slowest connection")
            if held + count > self._limit and len(self._held) > (answer in self._held):
                log.warning("an answer was dropped: %d bytes wait for slow clients", held)
                raise BrokenPipeError(errno.EPIPE, "too many bytes wait for slow clients")
            self._held[answer] = self._held.get(answer, 0) + count

    def release(self, answer: Answer) -> None:
        """Remove an answer that was sent, or whose client is gone, from the total."""
        with self._lock:
            self._held.pop(answer, None)


class Answer:
    """Replaces the socket of a connection while the answer to one request is sent.

    Args:
        sock: the socket.
        answers: the unsent answers of this worker.
    """

    def __init__(self, sock: socket.socket, answers: Answers) -> None:
        self._sock = sock
        self._answers = answers
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._file_at = self._file_end = 0
        #: bytes that the main loop has sent, and when it took over (monotonic seconds); of a
        #: stream all bytes
        self.sent = 0
        self.began = time.monotonic()
        #: whether the client must see that the answer is incomplete
        self.is_broken = False
        self._is_stream = False
        #: seconds that the thread of a stream has waited for the client
        self._waited = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    # -- called in the request's thread --------------------------------------------------------

    def send(self, data: bytes) -> int:
        """Send an interim response (100 Continue) without waiting; see socket.socket.

        If the client accepts no data, the interim response is dropped, because clients do not
        depend on it.
        """
        with suppress(BlockingIOError):
            return self._sock.send(data, socket.MSG_DONTWAIT)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send data, and keep what the client does not accept now for the main loop.

        Raises:
            OSError: the client is gone, or too many bytes are unsent already.
        """
        rest = memoryview(data)
        if self._is_stream:
            self._send_as_taken(rest)
            return
        if not self.is_waiting():
            rest = self._send_now(rest)
            self.began = time.monotonic()
        if rest:
            self._answers.take(self, len(rest))
            self._keep(rest)

    def stream(self) -> None:
        """From now on ``sendall`` waits until the client has taken the data, and keeps nothing."""
        self._is_stream = True

    def break_off(self) -> None:
        """Let the connection end with a reset, because the rest of the answer cannot be made.

        A client of HTTP/1.0 learns the end of an answer only from the end of the connection. An
        orderly end would make an incomplete answer look complete.
        """
        self.is_broken = True
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _send_as_taken(self, rest: memoryview) -> None:
        """Send all of it, waiting for the client.

        The client is too slow if, in all the time that was spent waiting for it, it has taken less
        than the least speed, or if it stops for too long. The time that making the answer takes
        does not count.

        Raises:
            OSError: the client is gone or too slow.
        """
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLOUT | _HANG_UP)
        paused = 0.0
        while rest:
            try:
                count = self._sock.send(rest, socket.MSG_DONTWAIT)
            except BlockingIOError:
                began = time.monotonic()
                events = poll.poll(_POLL_SECONDS * 1000)
                waited = time.monotonic() - began
                self._waited += waited
                paused += waited
                if events and events[0][1] & _HANG_UP:
                    raise BrokenPipeError(errno.EPIPE, "the client has hung up") from None
                least = LEAST_BYTES_PER_SECOND * (self._waited - GRACE_SECONDS)
                if paused > LONGEST_PAUSE_SECONDS or self.sent < least:
                    self.break_off()
                    log.warning("a client took a streamed answer too slowly: closed")
                    raise BrokenPipeError(errno.EPIPE, "the client is too slow") from None
                continue
            paused = 0.0
            self.sent += count
            rest = rest[count:]

    def _send_now(self, rest: memoryview) -> memoryview:
        end = time.monotonic() + _SEND_SECONDS
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLOUT)
        while rest:
            try:
                count = self._sock.send(rest, socket.MSG_DONTWAIT)
            except BlockingIOError:
                left = end - time.monotonic()
                # A small rest fits into memory, so the main loop sends it just as fast.
                if len(rest) <= _MEMORY_BYTES or left <= 0 or not poll.poll(left * 1000):
                    break
                continue
            rest = rest[count:]
        return rest

    def _keep(self, rest: memoryview) -> None:
        if self._file is None and len(self._memory) + len(rest) > _MEMORY_BYTES:
            try:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - see ``close``
            except OSError as error:
                log.warning(
                    "no temporary file for an answer, which stays in memory: %s", error.strerror
                )
        if self._file is None:
            self._memory += rest
            return
        try:
            while rest:
                count = os.pwrite(self._file.fileno(), rest, self._file_end)
                self._file_end += count
                rest = rest[count:]
        except OSError as error:
            log.warning("an answer was dropped: it cannot be written to disk: %s", error.strerror)
            raise BrokenPipeError(errno.EPIPE, "an answer cannot be written to disk") from error

    # -- called in the main loop ---------------------------------------------------------------

    def is_waiting(self) -> bool:
        """Whether unsent bytes are left."""
        return bool(self._memory) or self._file_at < self._file_end

    def send_more(self) -> None:
        """Send as much as the client accepts now. Raises OSError if the client is gone."""
        with suppress(BlockingIOError):
            if self._memory:
                count = self._sock.send(self._memory, socket.MSG_DONTWAIT)
                del self._memory[:count]
            else:
                assert self._file is not None
                most = min(_CHUNK_BYTES, self._file_end - self._file_at)
                count = os.sendfile(self._sock.fileno(), self._file.fileno(), self._file_at, most)
                if count == 0:
                    raise BrokenPipeError(errno.EPIPE, "an answer on disk was cut off")
                self._file_at += count
            self.sent += count

    def speed(self, now: float) -> float:
        """Bytes per second that the client has received, until ``now`` (monotonic seconds)."""
        return self.sent / max(0.1, now - self.began)

    def is_too_slow(self, now: float) -> bool:
        """Whether the client is slower than the least speed, or has taken too long in total.

        Args:
            now: the current time in monotonic seconds.
        """
        seconds = now - self.began
        least = LEAST_BYTES_PER_SECOND * (seconds - GRACE_SECONDS)
        return seconds > LONGEST_SECONDS or self.sent < least

    def give_up(self) -> None:
        """Shut the connection; any thread may call this. The main loop then closes it."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the unsent bytes and their file, and remove the answer from the worker's total."""
        self._memory.clear()
        self._file_at = self._file_end = 0
        if self._file is not None:
            self._file.close()
            self._file = None
        self._answers.release(self)
