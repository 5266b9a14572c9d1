# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The worker's side of the connection to one decoding process."""

from __future__ import annotations

import logging
import math
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import numpy as np

from app.decoding.decoder import WINDOW_BYTES
from app.decoding.job import Job, Pixels
from app.decoding.wire import Message, Wire
from app.errors import (
    BadRequest,
    Code,
    NotAvailable,
    ProcessingFailed,
    TooLarge,
    TooSlow,
    TwinlensError,
)

log = logging.getLogger("twinlens.decoding")

# The interval between two checks for cancellation while the worker waits for the decoder.
_LOOK_SECONDS = 0.5
# After this time a decode counts as slow (``Job.on_slow``), so that other files can overtake it.
_SLOW_SECONDS = 1.0
# Longest wait for a killed process to exit; most of that time goes into freeing its memory.
_DEATH_SECONDS = 5.0
# The wall-clock limit of a file is its CPU limit times this factor, because a decoder shares the
# cores with other processes.
_WALL_FACTOR = 3
_RETRY_SECONDS = 5
# Answers that mean that the decoder process no longer exists.
_ENDS = ("ended", "not started")
# Error classes that a decoder may report for a file.
_KINDS = {kind.__name__: kind for kind in (BadRequest, TooLarge)}


class Broken(Exception):
    """The decoder process was killed from outside; the file can be retried with another one."""


class Connection:
    """A connection to one decoder; only one thread may use it at a time."""

    def __init__(self, wire: Wire, kill: Callable[[], None], max_pixels: int, seconds: float):
        """Wrap a connected decoder without sending it anything yet.

        Args:
            wire: message channel to the decoder.
            kill: function that makes the template process kill the decoder.
            max_pixels: pixel budget of a picture.
            seconds: CPU time limit for one file.
        """
        self._wire = wire
        self._kill = kill
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._window: mmap.mmap | None = None
        #: number of files sent to the decoder so far
        self.files = 0
        #: whether the decoder is idle and can take the next file
        self.is_usable = True

    def decode(self, source: int, job: Job, memory: int) -> Pixels:
        """Send a file to the decoder and wait for its pixels.

        Args:
            source: descriptor of the file.
            job: the requested size and steps, and the callbacks.
            memory: memory limit of the decoder in bytes; used only in the error message.

        Raises:
            TwinlensError: the file cannot be decoded, or a function of the job raised the error.
            Broken: the decoder was killed from outside; the file can be retried with another one.
        """
        self.files += 1
        self.is_usable = False
        began = time.monotonic()
        try:
            self._wire.send(
                {
                    "max_pixels": self._max_pixels,
                    "seconds": self._seconds,
                    "is_depth": job.is_depth,
                },
                source,
            )
        except OSError:
            raise Broken from None
        wait = self._answers(job)
        done, refusal = False, None
        while "question" in (message := wait()):
            try:
                reply, done = self._answer(message, job)
            except TwinlensError as error:
                reply, refusal = {"not_wanted": True}, error
            # Sending fails if the decoder has died. That is ignored, because wait() then returns
            # the message "ended", which the template process sends when a decoder has died.
            with suppress(OSError):
                self._wire.send(reply)
        self._log(message.get("log", ()))
        self.is_usable = message["answer"] not in _ENDS
        if refusal is not None:
            raise refusal
        if message["answer"] == "pixels":
            return self._mapped(message, done, time.monotonic() - began)
        raise self._error(message, memory)

    @staticmethod
    def _answer(message: Message, job: Job) -> tuple[Message, bool]:
        """Ask the job for the reply to a question of the decoder; the job's errors pass through.

        The second value tells whether the decoder will do the steps of the job's plan.
        """
        if message["question"] == "enough":
            return {"enough": job.decode_size(*_size(message["size"]))}, False
        steps = job.plan(_size(message["decoded"]), _size(message["size"]))
        return {"steps": steps or ()}, steps is not None

    def close(self) -> None:
        """End the decoder: a busy one is killed, an idle one exits when the connection closes."""
        if not self.is_usable:
            self._kill()
        self._wire.close()

    def end(self) -> bool:
        """Kill the decoder and wait for its exit. Returns whether it exited in time."""
        self._kill()
        deadline = time.monotonic() + _DEATH_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._wire.receive(left).get("answer") in _ENDS:
                    return True
            except EOFError:
                return True
            except TimeoutError:
                return False
            except ValueError:  # the decoder died while writing a line
                continue
        return False

    def _answers(self, job: Job) -> Callable[[], Message]:
        """A function that waits for the next message and raises TooSlow at the time limit."""
        began = time.monotonic()
        end = began + _WALL_FACTOR * self._seconds
        told = False

        def wait() -> Message:
            nonlocal told
            while True:
                try:
                    return self._wire.receive(_LOOK_SECONDS)
                except TimeoutError:
                    pass
                except EOFError:  # the template process has ended, and with it its decoders
                    return {"answer": "ended", "status": -signal.SIGKILL}
                except ValueError:  # a cut-off or invalid line
                    if time.monotonic() > end:
                        raise self._overdue() from None
                    continue
                job.check_cancelled()
                if not told and time.monotonic() > began + _SLOW_SECONDS:
                    told = True
                    job.on_slow()
                if time.monotonic() > end:
                    raise self._overdue()

        return wait

    def _overdue(self) -> TooSlow:
        return TooSlow(
            f"Decoding the image did not end within {_WALL_FACTOR * self._seconds:g} seconds "
            "(three times DECODE_TIMEOUT_SECONDS); try again when the service is less busy"
        )

    def _mapped(self, message: Message, done: bool, seconds: float) -> Pixels:
        """Get the pixels: a small picture is copied from the window, a large one is mapped.

        The window is copied because the decoder reuses it for its next picture. A large picture is
        in shared memory, whose descriptor came with the message.
        """
        height, width = _size(message["shape"])
        size, count = _size(message["size"]), height * width * 3
        if not message.get("window"):
            # Copy-on-write, because torch needs a writable array.
            array = np.frombuffer(self._map(count, mmap.ACCESS_COPY), np.uint8)
        else:
            if self._window is None:
                self._window = self._map(WINDOW_BYTES, mmap.ACCESS_READ)
            array = np.frombuffer(self._window, np.uint8, count).copy()
        focal_length = _focal_length(message.get("focal_length"))
        return Pixels(array.reshape(height, width, 3), size, done, seconds, focal_length)

    def _map(self, count: int, access: int) -> mmap.mmap:
        """Map ``count`` bytes of shared memory, whose descriptor came with the message."""
        descriptor = self._wire.take_descriptor()
        try:
            if os.fstat(descriptor).st_size != count:
                raise ValueError("the pixels do not fit their shape")
            return mmap.mmap(descriptor, count, access=access)
        finally:
            os.close(descriptor)

    def _error(self, message: Message, memory: int) -> TwinlensError:
        """The error for the client. Raises Broken if the decoder was killed from outside."""
        answer = message["answer"]
        if answer == "error":
            kind = _KINDS.get(message["kind"])
            if kind is None:
                return ProcessingFailed()
            code: Code | None = "image_too_large" if kind is TooLarge else None
            return kind(message["message"], title=message["title"], code=code)
        if answer == "no memory":
            return TooLarge(
                f"Decoding the image needs more than {memory // 2**20} MB of memory, which is "
                "enough for every usual file within MAX_IMAGE_PIXELS; "
                "send it smaller, or saved as a plain JPEG or PNG",
                title="Image too complex",
            )
        if answer == "defect":
            log.error("a decoder failed\n%s", message["traceback"])
            return ProcessingFailed()
        if answer == "not started":
            return NotAvailable(
                f"The image cannot be decoded now ({message['reason']}); try again later",
                title="Not available",
                retry_after=_RETRY_SECONDS,
            )
        return self._end_error(message["status"])

    def _end_error(self, status: int) -> TwinlensError:
        """The error for a decoder that exited; a negative status is the number of a signal."""
        if status in (-signal.SIGPROF, -signal.SIGXCPU):
            return TooLarge(
                f"Decoding the image took longer than {self._seconds:g} seconds of CPU time "
                "(DECODE_TIMEOUT_SECONDS); send it smaller, or saved as a plain JPEG or PNG",
                title="Image too complex",
            )
        log.warning("a decoder ended with status %d", status)
        if status in (-signal.SIGKILL, -signal.SIGTERM):
            raise Broken
        if status >= 0:  # a bug in Twinlens; the decoder printed the traceback to stderr
            return ProcessingFailed()
        return BadRequest(
            "The image makes its decoder crash: it is damaged, or needs too much memory",
            title="Invalid image",
        )

    @staticmethod
    def _log(lines: Iterable[tuple[str, int, str]]) -> None:
        for name, level, text in lines:
            logging.getLogger(name).log(level, "%s", text)


def _size(values: list[int]) -> tuple[int, int]:
    """A size from two JSON numbers. Raises ValueError unless both are positive integers."""
    first, second = values
    if not (isinstance(first, int) and isinstance(second, int) and min(values) > 0):
        raise ValueError("not a size")
    return first, second


def _focal_length(value: object) -> float | None:
    """A focal length from JSON. Raises ValueError unless it is null or a finite number above 0."""
    if value is not None and not (isinstance(value, float) and 0 < value < math.inf):
        raise ValueError("not a focal length")
    return value


def connected_pair() -> tuple[Wire, socket.socket]:
    """Both ends of a connection to a new decoder: the worker's end, then the decoder's."""
    ours, its = socket.socketpair()
    return Wire(ours), its
