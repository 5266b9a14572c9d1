# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A worker's side of one decoding process."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import numpy as np

from app.decoding.job import Job, Pixels
from app.decoding.wire import Message, Wire
from app.errors import (
    BadRequest,
    NotAvailable,
    ProcessingFailed,
    TooLarge,
    TooSlow,
    TwinlensError,
)

log = logging.getLogger("twinlens.decoding")

_LOOK_SECONDS = 0.5
# A picture that takes so long is set aside, so that others overtake it.
_SLOW_SECONDS = 1.0
# Seconds for a process that was killed to be gone; freeing its memory takes most of them.
_DEATH_SECONDS = 5.0
# With so many processes at work beside it a decoder still gets its CPU time within this multiple.
_WALL_FACTOR = 3
_RETRY_SECONDS = 5
# Answers after which there is no decoder any more.
_ENDS = ("ended", "not started")
# What a decoder's own errors may be.
_KINDS = {kind.__name__: kind for kind in (BadRequest, TooLarge)}


class Broken(Exception):
    """The decoder cannot be used any more."""


class Connection:
    """One decoder. Used by one thread at a time."""

    def __init__(self, wire: Wire, kill: Callable[[], None], max_pixels: int, seconds: float):
        """Begin.

        Args:
            wire: to the decoder.
            kill: has it killed.
            max_pixels: budget of a picture.
            seconds: CPU time for one file.
        """
        self._wire = wire
        self._kill = kill
        self._max_pixels = max_pixels
        self._seconds = seconds
        #: files that it has been given
        self.files = 0
        #: it waits for the next file
        self.is_usable = True

    def decode(self, source: int, job: Job, memory: int) -> Pixels:
        """Have a file decoded.

        Args:
            source: its descriptor.
            job: what is wanted.
            memory: bytes that the decoder may take, for the message.

        Raises:
            TwinlensError: what is wrong with the file, or what the job's functions raise.
            Broken: somebody else ended the decoder; another one may do better.
        """
        self.files += 1
        self.is_usable = False
        began = time.monotonic()
        try:
            self._wire.send({"max_pixels": self._max_pixels, "seconds": self._seconds}, source)
        except OSError:
            raise Broken from None
        wait = self._answers(job)
        done, refusal = False, None
        while "question" in (message := wait()):
            try:
                reply, done = self._answer(message, job)
            except TwinlensError as error:
                reply, refusal = {"not_wanted": True}, error
            with suppress(OSError):  # where it has ended, that is the next message
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
        """The reply to a question, and whether the plan's steps are done. Raises what the job's
        functions raise.
        """
        if message["question"] == "enough":
            return {"enough": job.decode_size(*_size(message["size"]))}, False
        steps = job.plan(_size(message["decoded"]), _size(message["size"]))
        return {"steps": steps or ()}, steps is not None

    def close(self) -> None:
        """End the decoder: at once where it works, by the closed connection where it waits."""
        if not self.is_usable:
            self._kill()
        self._wire.close()

    def end(self) -> bool:
        """Kill the decoder and wait until it is gone; whether that came true."""
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
            except ValueError:  # it died within a line
                continue
        return False

    def _answers(self, job: Job) -> Callable[[], Message]:
        """Waits for a message; TooSlow at the end of the time that the file has in all."""
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
                except EOFError:  # the template is gone, and its decoders with it
                    return {"answer": "ended", "status": -signal.SIGKILL}
                except ValueError:  # it died within a line, or writes nonsense
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
        """The pixels, in memory that came with the message."""
        height, width = _size(message["shape"])
        size = _size(message["size"])
        descriptor = self._wire.take_descriptor()
        try:
            if os.fstat(descriptor).st_size != height * width * 3:
                raise ValueError("the pixels do not fit their shape")
            # Copy on write: the array can be written to, and torch wants that.
            memory = mmap.mmap(descriptor, height * width * 3, access=mmap.ACCESS_COPY)
        finally:
            os.close(descriptor)
        array = np.frombuffer(memory, np.uint8).reshape(height, width, 3)
        return Pixels(array, size, done, seconds)

    def _error(self, message: Message, memory: int) -> TwinlensError:
        """What the client is told. Raises Broken, see ``decode``."""
        answer = message["answer"]
        if answer == "error":
            kind = _KINDS.get(message["kind"])
            return kind(message["message"], title=message["title"]) if kind else ProcessingFailed()
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
        """For a decoder that ended: negative statuses are signals."""
        if status in (-signal.SIGPROF, -signal.SIGXCPU):
            return TooLarge(
                f"Decoding the image took longer than {self._seconds:g} seconds of CPU time "
                "(DECODE_TIMEOUT_SECONDS); send it smaller, or saved as a plain JPEG or PNG",
                title="Image too complex",
            )
        log.warning("a decoder ended with status %d", status)
        if status in (-signal.SIGKILL, -signal.SIGTERM):
            raise Broken
        if status >= 0:  # a defect of ours; its traceback is on the standard error output
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
    """Raises ValueError."""
    first, second = values
    if not (isinstance(first, int) and isinstance(second, int) and min(values) > 0):
        raise ValueError("not a size")
    return first, second


def connected_pair() -> tuple[Wire, socket.socket]:
    """Both ends of a connection to a new decoder: ours, and its."""
    ours, its = socket.socketpair()
    return Wire(ours), its
