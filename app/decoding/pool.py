# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The decoders of one worker: as many at work as it has cores, replaced when one ends.

A file that takes long is set aside: it no longer counts as one of those, so that usual files do not
wait for it. As many can be set aside as are at work.
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
from dataclasses import replace
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
#: how the process is started that decoders are forked from
COMMAND = [sys.executable, "-m", "app.decoding.template"]
# What it needs of the environment; the rest holds keys, and decoders read hostile files.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
_LOOK_SECONDS = 0.5
_END_SECONDS = 2.0
# Decoding libraries leak a little on broken files.
_MOST_FILES = 1000
_RETRY_SECONDS = 5


class Decoders:
    """Safe to use from several threads, after the fork of a worker only."""

    def __init__(self, size: int, max_pixels: int, seconds: float) -> None:
        """Say what decoders may do; no process is started yet.

        Args:
            size: files decoded at a time.
            max_pixels: budget of a picture.
            seconds: CPU time for one file.
        """
        self._size = size
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._memory = limits.memory_for(max_pixels)
        self._lock = threading.Lock()
        self._free = threading.Condition(self._lock)
        self._at_work = 0
        self._set_aside = 0
        self._idle: list[Connection] = []
        self._numbers = itertools.count()
        self._template: _Template | None = None
        self._closed = False
        #: when a file was last done with, whatever came of it (monotonic seconds)
        self.progressed_at = time.monotonic()

    def start(self) -> None:
        """Start the process that decoders are forked from, so that the first file finds it."""
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
        """Decode an image of a client, see ``app.pictures.decode.decode``.

        Args:
            file: it stays open.
            job: what is wanted of it.

        Raises:
            BadRequest: not an image, a broken one, or one that makes its decoder crash.
            TooLarge: it exceeds the budget of pixels, CPU time or memory.
            TooSlow: no end in three times the CPU time.
            NotAvailable: the file cannot be handed over, decoders cannot be started, or are ended
                from outside.
            Exception: what the job's functions raise.
        """
        try:
            source = descriptor_of(file)
        except OSError as error:
            raise _not_available(error.strerror or "unknown") from error
        try:
            with self._place(job.look) as set_aside:

                def on_slow() -> None:
                    set_aside()
                    job.on_slow()

                return self._decode(source, replace(job, on_slow=on_slow))
        finally:
            os.close(source)

    def _decode(self, source: int, job: Job) -> Pixels:
        for _ in range(2):
            decoder = self._take()
            try:
                return decoder.decode(source, job, self._memory)
            except Broken:  # ended by somebody, or by the system for want of memory
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
    def _place(self, look: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Wait for one of the places; gives a function that sets its holder aside."""
        is_aside = False

        def set_aside() -> None:
            nonlocal is_aside
            with self._lock:
                if not is_aside and self._set_aside < self._size:
                    is_aside = True
                    self._at_work -= 1
                    self._set_aside += 1
                    self._free.notify()

        while not self._enter():
            look()
        try:
            yield set_aside
        finally:
            with self._lock:
                if is_aside:
                    self._set_aside -= 1
                else:
                    self._at_work -= 1
                self.progressed_at = time.monotonic()
                self._free.notify()

    def _enter(self) -> bool:
        """Take a place, if one becomes free soon."""
        with self._lock:
            if not self._free.wait_for(lambda: self._at_work < self._size, _LOOK_SECONDS):
                return False
            self._at_work += 1
            return True

    # -- processes -----------------------------------------------------------------------------

    def _take(self) -> Connection:
        """A decoder that waits, or a new one. Raises NotAvailable."""
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
                    except OSError:  # it was ended
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
            log.error("a decoder could not be ended; all of this worker are replaced")
            with self._lock:
                self._drop(template)
        decoder.close()

    def _running_template(self) -> _Template:
        """Started anew where it has ended. Raises NotAvailable."""
        if self._closed:
            raise _not_available("the service ends")
        if self._template is None or self._template.has_ended():
            try:
                self._template = _Template()
            except OSError as error:
                raise _not_available(error.strerror or "unknown") from error
        return self._template

    def _drop(self, template: _Template) -> None:
        """Kill the template, and with it its decoders; the next file starts another."""
        template.kill_all()
        if self._template is template:
            self._template = None
            while self._idle:
                self._idle.pop().close()


class _Template:
    """The process that decoders are forked from."""

    def __init__(self) -> None:
        ours, its = connected_pair()
        self._control = ours
        self._sending = threading.Lock()
        level = logging.getLevelName(logging.getLogger("twinlens").getEffectiveLevel())
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with its:
            self._process = subprocess.Popen(
                [*COMMAND, str(its.fileno()), level],
                cwd=_PROJECT,
                env={**environment, "MALLOC_ARENA_MAX": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                # A Ctrl-C at a terminal is for the command line, which ends it in its own time.
                start_new_session=True,
            )

    def fork(self, number: int, memory: int, connection: int) -> None:
        """Raises OSError: it is gone."""
        with self._sending:
            self._control.send({"fork": number, "memory": memory}, connection)

    def kill(self, number: int) -> None:
        """Kill a decoder; nothing happens where it is gone."""
        with self._sending, suppress(OSError):
            self._control.send({"kill": number})

    def has_ended(self) -> bool:
        """Whether somebody ended it."""
        return self._process.poll() is not None

    def end(self) -> None:
        """End it and its decoders."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_all()

    def kill_all(self) -> None:
        """At once; the kernel kills its decoders (``limits.end_with_parent``)."""
        self._control.close()
        self._process.kill()
        self._process.wait()


def _not_available(reason: str) -> NotAvailable:
    return NotAvailable(
        f"The image cannot be decoded now ({reason}); try again later",
        title="Not available",
        retry_after=_RETRY_SECONDS,
    )
