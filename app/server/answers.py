# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Sends HTTP responses (answers) so that a slow client holds no thread and little memory.

The request's thread sends as many bytes as the kernel accepts immediately. The worker's main loop
sends the remaining bytes when the client is ready for them. They wait in memory, or on disk if they
are more than 1 MiB.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
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

# An unsent rest of up to this size waits in memory, a larger one on disk.
_MEMORY_BYTES = 2**20
# The request's thread sends for this long itself, so that a fast client needs no copy on disk.
_SEND_SECONDS = 0.5
_CHUNK_BYTES = 512 * 1024
# An answer younger than this is never dropped to make room for another one.
_PROTECTED_SECONDS = 2.0


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
        #: bytes that the main loop has sent, and when it took over (monotonic seconds)
        self.sent = 0
        self.began = time.monotonic()

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
        if not self.is_waiting():
            rest = self._send_now(rest)
            self.began = time.monotonic()
        if rest:
            self._answers.take(self, len(rest))
            self._keep(rest)

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
