# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The worker's side of the process that works on one film.

The process asks the worker for nothing but depth maps of its frames, and writes its output to a
pipe. What it says is checked, because the film may have taken it over.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.decoding import limits
from app.decoding.wire import Message, Wire
from app.errors import NoResources, ProcessingFailed, TooSlow, TwinlensError
from app.video import failures, messages
from app.video.depths import Depths, Network
from app.video.film import FilmInfo, Size
from app.video.work import FilmWork

log = logging.getLogger("twinlens.video")

_PROJECT = Path(__file__).resolve().parents[2]
#: command that starts a film's process
COMMAND = [sys.executable, "-m", "app.video.process"]
# How often the worker looks whether the process should be ended.
_LOOK_SECONDS = 0.25
# A process is ended if for so long it has neither said nor written anything, although it waited
# neither for the worker nor for the client.
STUCK_SECONDS = 60.0
# How long a process may take to exit after its last message.
_EXIT_SECONDS = 10.0
_CHUNK_BYTES = 2**18
# Warnings that are kept of a film; the process gives two or three.
_MOST_WARNINGS = 20
# FFmpeg's buffers and those of the stages beside them, for each pixel of a frame, and a fixed part
# for code, threads and encoders. Measured, see docs/security.md.
_LEAST_BYTES = 1280 * 2**20
_BYTES_A_PIXEL = 800


@dataclass(frozen=True)
class Limits:
    """What one film may take."""

    #: of a frame
    max_pixels: int
    #: of the answer
    max_frames: int
    #: for the whole film, from the start of its process
    max_seconds: float
    #: cores of this worker
    cores: int

    def memory(self, pixels: int) -> int:
        """Bytes that the process may use for a film with so many pixels a frame."""
        return _LEAST_BYTES + _BYTES_A_PIXEL * pixels


@dataclass(frozen=True)
class Progress:
    """How far the work on a film is."""

    #: frames of the answer so far, and all of them, if that is known
    frames: int
    total: int | None
    #: time of the last of them in the answer
    seconds_of_film: float


class _Closed(Exception):
    """``close`` was called while the film was being worked on."""


class FilmProcess:
    """Runs the process for one film, and passes on its output.

    A thread of its own starts the process, listens to it and ends it. The caller's thread only
    reads the output.
    """

    def __init__(
        self,
        film: int,
        work: FilmWork,
        limits: Limits,
        network: Network | None,
        check: Callable[[], None],
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Start the work.

        Args:
            film: descriptor of the file, which is closed at the end.
            work: what to make of it.
            limits: what it may take.
            network: gives the depth of frames; None if only frames are counted.
            check: called a few times a second; raises if the film is not wanted any more.
            on_progress: called a few times a second from another thread.

        Raises:
            NotAvailable: there are no descriptors left.
        """
        self._film = film
        self._work = work
        self._limits = limits
        self._network = network
        self._check = check
        self._on_progress = on_progress
        self._deadline = time.monotonic() + limits.max_seconds
        self._moved_at = time.monotonic()
        #: set once ``size`` is known, and at the end
        self._is_told = threading.Event()
        #: what the file says; None until it is open
        self.info: FilmInfo | None = None
        #: width and height of the written picture; None until the output begins
        self.size: Size | None = None
        #: frames of the answer so far
        self.frames = 0
        self.warnings: list[str] = []
        self._total: int | None = None
        self._is_complete = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._output, self._input = os.pipe()
            ours, self._its = socket.socketpair()
        except OSError as error:
            os.close(film)
            raise failures.not_available(error.strerror or "unknown") from error
        self._wire = Wire(ours)
        self._depths: Depths | None = None
        self._thread = threading.Thread(None, self._serve, "film", daemon=True)
        self._thread.start()

    # -- the caller's side ---------------------------------------------------------------------

    def read(self) -> bytes:
        """Wait for more output; empty at the end of all output.

        Raises:
            TwinlensError: the film is unusable, a limit was reached, or nobody wants it.
        """
        with suppress(OSError):
            if data := os.read(self._output, _CHUNK_BYTES):
                self._moved_at = time.monotonic()
                self._is_told.wait()
                return data
        self.wait()
        return b""

    def wait(self) -> None:
        """Wait for the end of the process. Raises what ``read`` raises."""
        self._thread.join()
        if isinstance(self._error, _Closed):
            return
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the process if it still runs, and free everything."""
        self._is_closed = True
        self._kill()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    @property
    def pid(self) -> int | None:
        """The number of the process; None before its start."""
        return self._process.pid if self._process else None

    # -- the film's thread ---------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            self._start()
            while not self._is_complete:
                self._watch()
                try:
                    message = self._wire.receive(_LOOK_SECONDS)
                except TimeoutError:
                    continue
                self._moved_at = time.monotonic()
                self._take(message)
        except EOFError:
            self._fail(self._end_error())
        except (ValueError, KeyError, TypeError):
            log.exception("a film's process sent an invalid message")
            self._fail(ProcessingFailed("film"))
        except BaseException as error:
            self._fail(error)
        finally:
            self._end()

    def _start(self) -> None:
        """Start the process from this thread: the kernel ends it together with this thread."""
        level = logging.getLevelName(log.getEffectiveLevel())
        try:
            with self._its:
                descriptors = self._its.fileno(), self._input
                arguments = [*map(str, descriptors), str(os.getpid()), level]
                self._process = subprocess.Popen(
                    [*COMMAND, *arguments],
                    cwd=_PROJECT,
                    env=limits.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=descriptors,
                    # Not reached by Ctrl-C, but of the worker's session: between sessions Linux
                    # shares the cores evenly (autogroup of sched(7)), whatever their niceness.
                    process_group=0,
                )
        except OSError as error:
            raise failures.not_available(error.strerror or "unknown") from error
        finally:
            os.close(self._input)
        if self._is_closed:  # ``close`` came before there was a process to kill
            raise _Closed
        most = self._limits.max_pixels
        with suppress(OSError):  # it has died, which the next ``receive`` reports
            self._wire.send(
                {
                    "work": asdict(self._work),
                    "max_pixels": most,
                    "max_frames": self._limits.max_frames,
                    "cores": self._limits.cores,
                    "memory": self._limits.memory(most),
                },
                self._film,
            )

    def _watch(self) -> None:
        """Raise if the process must end now."""
        if self._is_closed:
            raise _Closed
        if self._error is not None:
            raise self._error
        self._check()
        now = time.monotonic()
        if now > self._deadline:
            raise TooSlow(
                f"The work on the film took longer than {self._limits.max_seconds:g} seconds "
                "(VIDEO_MAX_SECONDS); send a shorter film, or ask for a part of it"
            )
        if (self._depths and self._depths.is_busy()) or self._unread():
            self._moved_at = now
        if now - self._moved_at > STUCK_SECONDS:
            raise TooSlow(
                f"The work on the film made no progress for {STUCK_SECONDS:g} seconds; the film "
                "may be damaged"
            )

    def _unread(self) -> int:
        """Bytes of output that the client has not taken yet."""
        count = fcntl.ioctl(self._output, termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", count)[0])

    def _take(self, message: Message) -> None:
        """Do what a message asks for. Raises ValueError or KeyError if it makes no sense."""
        if "frame" in message and self._depths is not None:
            self._depths.add(messages.count_of(message["frame"]), message["place"])
        elif "progress" in message:
            self.frames = messages.count_of(message["progress"])
            seconds = messages.seconds_of(message["seconds"])
            self._on_progress(Progress(self.frames, self._total, seconds))
        elif "decoded" in message:
            messages.count_of(message["decoded"])  # that it came shows that the process works
        elif "info" in message:
            self._open(message)
        elif "size" in message:
            self.size = messages.size_of(message["size"])
            self._is_told.set()
        elif "warning" in message:
            text = messages.text_of(message["warning"])
            if len(self.warnings) < _MOST_WARNINGS:
                self.warnings.append(text)
        elif "end" in message:
            self.frames = messages.count_of(message["end"])
            self._is_complete = True
        else:
            pixels = self.info.size[0] * self.info.size[1] if self.info else 0
            raise failures.reported(message, self._limits.memory(pixels))

    def _open(self, message: Message) -> None:
        info = messages.info_of(message["info"])
        if info.size[0] * info.size[1] > self._limits.max_pixels or self._depths:
            raise ValueError("the frames are too large, or were described twice")
        total = message["total"]
        self._total = None if total is None else messages.count_of(total)
        self.info = info
        self._on_progress(Progress(0, self._total, 0.0))
        reply: Message = {"memory": self._limits.memory(info.size[0] * info.size[1])}
        descriptor = None
        if self._network is not None:
            plan = self._network.plan(info.size)  # this may load the model, and so take long
            self._depths = Depths(self._network, plan, self._wire, self._stop)
            descriptor = self._depths.frames_descriptor
            reply |= {"steps": plan.steps, "places": self._depths.places, "shape": plan.shape}
        with suppress(OSError):
            self._wire.send(reply, descriptor)
        if descriptor is not None:
            os.close(descriptor)
        self._moved_at = time.monotonic()

    def _end_error(self) -> BaseException:
        """The error for a process that ended without a last message."""
        if self._error is not None or self._is_closed:
            return self._error or _Closed()
        assert self._process is not None
        try:
            return failures.of_status(self._process.wait(_EXIT_SECONDS))
        except subprocess.TimeoutExpired:
            return ProcessingFailed("film")

    def _stop(self, error: BaseException) -> None:
        """End the process, because the depth of a frame cannot be had."""
        self._fail(error)
        self._kill()

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, TwinlensError | _Closed):
            log.error("the work on a film failed", exc_info=error)
            error = NoResources.from_error(error) or ProcessingFailed("film")
        if self._error is None:
            self._error = error

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()  # does nothing if ``wait`` has seen its end

    def _end(self) -> None:
        """Let a process that is done exit, kill any other one, and free everything."""
        if self._process is not None:
            if self._is_complete:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_EXIT_SECONDS)
            self._process.kill()
            self._process.wait()
        if self._depths is not None:
            self._depths.close()
            self._depths = None  # frees the memory that the processes share
        self._wire.close()
        os.close(self._film)
        self._is_told.set()
