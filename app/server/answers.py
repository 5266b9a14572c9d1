# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Answers on their way to clients: a slow client holds no thread and little memory.

A request's thread gives the kernel what it takes at once. The worker's main loop sends the rest
when the client is ready for it. Small rests stay in memory, large ones lie on disk.
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

#: A client must take this many bytes a second, once its grace is over.
LEAST_BYTES_PER_SECOND = 4096
GRACE_SECONDS = 30.0
#: No answer may take longer than this.
LONGEST_SECONDS = 900.0

# Up to here a rest stays in memory.
_MEMORY_BYTES = 2**20
# Writing to disk is not worth it where the client takes a large answer faster.
_PATIENCE_SECONDS = 0.5
_CHUNK_BYTES = 512 * 1024
# An answer younger than this is not given up for another one.
_YOUNG_SECONDS = 2.0


class Answers:
    """The answers of one worker that clients have not taken yet, bounded all together."""

    def __init__(self, limit: int) -> None:
        """Begin with none.

        Args:
            limit: bytes that may wait; one answer alone may be larger.
        """
        self._limit = limit
        self._lock = threading.Lock()
        self._held: dict[Answer, int] = {}

    def held(self) -> int:
        """Bytes that wait at this moment."""
        with self._lock:
            return sum(self._held.values())

    def take(self, answer: Answer, count: int) -> None:
        """Count more bytes of an answer.

        Where there is no room, the clients that are slowest lose their connections.

        Raises:
            BrokenPipeError: there is no room, and all others are recent.
        """
        now = time.monotonic()
        with self._lock:
            others = [each for each in self._held if each is not answer]
            others.sort(key=lambda each: each.speed(now))
            held = sum(self._held.values())
            while others and held + count > self._limit:
                slowest = others.pop(0)
                if now - slowest.began < _YOUNG_SECONDS:
                    continue
                held -= self._held.pop(slowest)
                slowest.give_up()
                log.warning("answers wait for slow clients: the slowest lost its connection")
            if held + count > self._limit and len(self._held) > (answer in self._held):
                log.warning("an answer was dropped: %d bytes wait for slow clients", held)
                raise BrokenPipeError(errno.EPIPE, "too many bytes wait for slow clients")
            self._held[answer] = self._held.get(answer, 0) + count

    def release(self, answer: Answer) -> None:
        """The answer is sent, or nobody will take it."""
        with self._lock:
            self._held.pop(answer, None)


class Answer:
    """Stands for the socket of a connection while one request is answered."""

    def __init__(self, sock: socket.socket, answers: Answers) -> None:
        self._sock = sock
        self._answers = answers
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._file_at = self._file_end = 0
        #: bytes that were sent since the client did not take all at once, and when that was
        #: (monotonic seconds)
        self.sent = 0
        self.began = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    # -- in the request's thread ---------------------------------------------------------------

    def send(self, data: bytes) -> int:
        """See socket.socket: an interim response, which must not wait for the client."""
        with suppress(BlockingIOError):
            return self._sock.send(data, socket.MSG_DONTWAIT)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """See socket.socket, but what the client does not take now is sent later.

        Raises:
            OSError: the client is gone, or too many bytes wait already.
        """
        rest = memoryview(data)
        if not self.is_waiting():
            rest = self._send_now(rest)
            self.began = time.monotonic()
        if rest:
            self._answers.take(self, len(rest))
            self._keep(rest)

    def _send_now(self, rest: memoryview) -> memoryview:
        end = time.monotonic() + _PATIENCE_SECONDS
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLOUT)
        while rest:
            try:
                count = self._sock.send(rest, socket.MSG_DONTWAIT)
            except BlockingIOError:
                left = end - time.monotonic()
                # The main loop sends small rests just as fast.
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
                log.warning("an answer waits in memory: %s", error.strerror)
        if self._file is None:
            self._memory += rest
            return
        try:
            while rest:
                count = os.pwrite(self._file.fileno(), rest, self._file_end)
                self._file_end += count
                rest = rest[count:]
        except OSError as error:
            log.warning("an answer was dropped: it cannot wait on disk: %s", error.strerror)
            raise BrokenPipeError(errno.EPIPE, "an answer cannot wait on disk") from error

    # -- on the main loop ----------------------------------------------------------------------

    def is_waiting(self) -> bool:
        """Whether there is something left to send."""
        return bool(self._memory) or self._file_at < self._file_end

    def send_more(self) -> None:
        """Send what the client takes at this moment. Raises OSError: it is gone."""
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
        """Bytes a second that the client takes."""
        return self.sent / max(0.1, now - self.began)

    def is_too_slow(self, now: float) -> bool:
        """Whether the client has had time enough, at this moment in monotonic seconds."""
        seconds = now - self.began
        least = LEAST_BYTES_PER_SECOND * (seconds - GRACE_SECONDS)
        return seconds > LONGEST_SECONDS or self.sent < least

    def give_up(self) -> None:
        """From any thread: the client gets no more; the main loop finds the connection broken."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Nothing of it is needed any more."""
        self._memory.clear()
        self._file_at = self._file_end = 0
        if self._file is not None:
            self._file.close()
            self._file = None
        self._answers.release(self)
