# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The decoder processes of one worker.

Up to ``size`` files (one for each core) are decoded at a time, each in its own process. A decoder
that exits is replaced. A slow file is set aside: its decode continues but no longer counts against
``size``, so ordinary files need not wait for it. Up to ``size`` files can be set aside. If files
still have to wait, the decode that started first is cancelled after _CLAIM_SECONDS.
"""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from app.decoding import limits
from app.decoding.connection import Broken, Connection, connected_pair
from app.decoding.job import Job, Pixels
from app.decoding.source import descriptor_of
from app.errors import NotAvailable

log = logging.getLogger("twinlens.decoding")

_PROJECT = Path(__file__).resolve().parents[2]
#: command that starts the template, the process that decoders are forked from
COMMAND = [sys.executable, "-m", "app.decoding.template"]
# The interval between two checks for cancellation while a file waits for a free place.
_LOOK_SECONDS = 0.5
# When the pool closes, the template has this much time to exit by itself before it is killed.
_END_SECONDS = 2.0
# While other files wait, a decode is cancelled after this time. For comparison: a JPEG of 120
# megapixels takes 2 seconds on an idle machine.
_CLAIM_SECONDS = 10.0
# A decoder is replaced after this many files, because decoding libraries leak memory when a file is
# damaged.
_MOST_FILES = 1000
_RETRY_SECONDS = 5


@dataclass(eq=False)
class _Place:
    """The place in the pool that a file holds while it is decoded."""

    #: start of decoding, from time.monotonic()
    began: float
    #: whether the file is slow and no longer counts against the pool's size
    is_aside: bool = False
    #: whether a waiting file needs this place, so that the decode in it must be cancelled
    is_claimed: bool = False


class Decoders:
    """The pool of decoders. Thread-safe. Create it in the worker, after gunicorn's fork."""

    def __init__(self, size: int, max_pixels: int, seconds: float) -> None:
        """Set the limits; no process is started yet.

        Args:
            size: files decoded at a time.
            max_pixels: pixel budget of a picture.
            seconds: CPU time limit for one file.
        """
        self._size = size
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._memory = limits.memory_for(max_pixels)
        self._lock = threading.Lock()
        self._free = threading.Condition(self._lock)
        self._places: list[_Place] = []
        self._idle: list[Connection] = []
        self._numbers = itertools.count()
        self._template: _Template | None = None
        self._closed = False

    def start(self) -> None:
        """Start the template process now, so that the first file need not wait for it."""
        with self._lock:
            self._running_template()

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._closed = True
            template, self._template = self._template, None
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()
        if template is not None:
            template.end()

    def decode(self, file: BinaryIO, job: Job) -> Pixels:
        """Decode a client's image, see ``app.pictures.decode.decode``.

        Args:
            file: the image file; it is not closed.
            job: the requested size and steps, and the callbacks.

        Raises:
            BadRequest: the file is not an image, is damaged, or crashes its decoder.
            TooLarge: the file exceeds the budget of pixels, CPU time or memory.
            TooSlow: decoding took longer than three times the CPU time limit.
            NotAvailable: the file cannot be passed to a decoder, no decoder can be started, the
                decoder was killed from outside, or waiting files needed its place.
            Exception: errors from the job's functions pass through.
        """
        try:
            source = descriptor_of(file)
        except OSError as error:
            raise _not_available(error.strerror or "unknown") from error
        try:
            with self._place(job.check_cancelled) as place:

                def check_cancelled() -> None:
                    if place.is_claimed:
                        raise NotAvailable(
                            "Decoding the image takes long, and others wait; try again later",
                            title="Not available",
                            retry_after=_RETRY_SECONDS,
                        )
                    job.check_cancelled()

                def on_slow() -> None:
                    self._set_aside(place)
                    job.on_slow()

                return self._decode(
                    source, replace(job, check_cancelled=check_cancelled, on_slow=on_slow)
                )
        finally:
            os.close(source)

    def _decode(self, source: int, job: Job) -> Pixels:
        for _ in range(2):
            decoder = self._take()
            try:
                return decoder.decode(source, job, self._memory)
            except Broken:  # killed by a person, or by the system when memory ran out
                continue
            finally:
                self._give_back(decoder)
        raise NotAvailable(
            "The process that decoded the image was ended from outside, as the system does when "
            "memory runs out; try again later",
            title="Not available",
            retry_after=_RETRY_SECONDS,
        )

    @contextmanager
    def _place(self, check_cancelled: Callable[[], None]) -> Iterator[_Place]:
        """Wait for a free place, and release it at the end."""
        while (place := self._enter()) is None:
            check_cancelled()
        try:
            yield place
        finally:
            with self._lock:
                self._places.remove(place)
                self._free.notify()

    def _enter(self) -> _Place | None:
        """Wait briefly for a place; if none becomes free, claim the oldest one if it is overdue."""
        with self._lock:
            if self._free.wait_for(self._has_room, _LOOK_SECONDS):
                place = _Place(time.monotonic())
                self._places.append(place)
                return place
            oldest = min(self._places, key=lambda place: place.began)
            if time.monotonic() - oldest.began > _CLAIM_SECONDS:
                oldest.is_claimed = True
            return None

    def _has_room(self) -> bool:
        return sum(not place.is_aside for place in self._places) < self._size

    def _set_aside(self, place: _Place) -> None:
        with self._lock:
            if sum(each.is_aside for each in self._places) < self._size:
                place.is_aside = True
                self._free.notify()

    # -- processes -----------------------------------------------------------------------------

    def _take(self) -> Connection:
        """An idle decoder, or a new one. Raises NotAvailable if none can be started."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            for _ in range(2):
                template = self._running_template()
                try:
                    ours, its = connected_pair()
                except OSError as error:  # too many open files
                    raise _not_available(error.strerror or "unknown") from error
                number = next(self._numbers)
                with its:
                    try:
                        template.fork(number, self._memory, its.fileno())
                    except OSError:  # the template has ended: try once more with a new one
                        ours.close()
                        self._drop(template)
                        continue
                kill = partial(template.kill, number)
                return Connection(ours, kill, self._max_pixels, self._seconds)
        raise _not_available("their parent ends at once")

    def _give_back(self, decoder: Connection) -> None:
        keep = decoder.is_usable and decoder.files < _MOST_FILES
        with self._lock:
            if keep and not self._closed and len(self._idle) < self._size:
                self._idle.append(decoder)
                return
            template = self._template
        if not decoder.is_usable and not decoder.end() and template is not None:
            log.error("a decoder could not be ended; all decoders of this worker are replaced")
            with self._lock:
                self._drop(template)
        decoder.close()

    def _running_template(self) -> _Template:
        """The template, restarted if it has ended. Raises NotAvailable if it cannot be started.

        The caller must hold the lock.
        """
        if self._closed:
            raise _not_available("the service ends")
        if self._template is None or self._template.has_ended():
            try:
                self._template = _Template()
            except OSError as error:
                raise _not_available(error.strerror or "unknown") from error
        return self._template

    def _drop(self, template: _Template) -> None:
        """Kill the template and its decoders; the next file starts a new one.

        The caller must hold the lock.
        """
        template.kill_all()
        if self._template is template:
            self._template = None
            while self._idle:
                self._idle.pop().close()


# Settings of glibc's malloc: one arena, and freed memory is kept for the next picture, because
# getting it from the system again costs 2 ms. An idle decoder returns it, see ``limits.trim``.
_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}


class _Template:
    """The worker's handle of the template, the process that decoders are forked from."""

    def __init__(self) -> None:
        ours, its = connected_pair()
        self._control = ours
        self._sending = threading.Lock()
        level = logging.getLevelName(logging.getLogger("twinlens").getEffectiveLevel())
        with its:
            self._process = subprocess.Popen(
                [*COMMAND, str(its.fileno()), level],
                cwd=_PROJECT,
                env={**limits.environment(), **_MALLOC},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                # The template gets its own session, so that Ctrl-C at a terminal reaches only the
                # worker or command, which then ends the template itself.
                start_new_session=True,
            )

    def fork(self, number: int, memory: int, connection: int) -> None:
        """Order the template to fork a decoder. Raises OSError if the template has ended."""
        with self._sending:
            self._control.send({"fork": number, "memory": memory}, connection)

    def kill(self, number: int) -> None:
        """Kill a decoder; does nothing if the decoder or the template has ended."""
        with self._sending, suppress(OSError):
            self._control.send({"kill": number})

    def has_ended(self) -> bool:
        """Whether the template process has exited."""
        return self._process.poll() is not None

    def end(self) -> None:
        """End the template and its decoders; kills them if they do not exit in time."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_all()

    def kill_all(self) -> None:
        """Kill the template; the kernel then kills its decoders (``limits.end_with_parent``)."""
        self._control.close()
        self._process.kill()
        self._process.wait()


def _not_available(reason: str) -> NotAvailable:
    return NotAvailable(
        f"The image cannot be decoded now ({reason}); try again later",
        title="Not available",
        retry_after=_RETRY_SECONDS,
    )
