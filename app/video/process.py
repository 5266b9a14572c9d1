# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The process that works on one film: ``python -m app.video.process``, started by ``handle``.

Arguments: descriptors of the connection to the worker and of the pipe for the output, the process
id of the worker, and the level of the log.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

import cv2

from app.decoding import limits
from app.decoding.wire import Message, Wire
from app.errors import TwinlensError
from app.video.link import Link
from app.video.pipeline import Pipeline, expected
from app.video.reader import FilmLimits, FilmReader
from app.video.work import FilmWork

# Inference goes first where there are fewer cores than work.
_NICENESS = 5
# Threads of the decoder: more of them do not pay, and each holds a frame.
_MOST_DECODING = 8
_REPORT_SECONDS = 0.2
# The shortest time between two messages that frames are being decoded.
_DECODING_SECONDS = 1.0
_BUFFER_BYTES = 2**18


class _File(io.RawIOBase):
    """A file by its descriptor, with a position of its own."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._at
        elif whence == os.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        if offset < 0:
            raise ValueError("before the beginning")
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at


def main() -> None:
    """Do what the worker's first message asks for."""
    connection, output, parent = map(int, sys.argv[1:4])
    limits.end_with_parent()
    if os.getppid() != parent:  # the worker died before end_with_parent took effect
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    logging.getLogger().setLevel(sys.argv[4])
    os.nice(_NICENESS)
    wire = Wire(socket.socket(fileno=connection))
    try:
        job = wire.receive()
    except EOFError:
        os._exit(0)
    link = Link(wire)
    try:
        frames = _work(link, job, wire.take_descriptor(), output)
    except BrokenPipeError:  # the worker is gone
        os._exit(0)
    except BaseException as error:
        link.tell(_failure(error))
        os._exit(0)
    link.tell({"end": frames})
    os._exit(0)


def _work(link: Link, job: Message, descriptor: int, output: int) -> int:
    """Make the answer; returns the number of its frames."""
    limits.bound_memory(job["memory"])
    work, cores = FilmWork(**job["work"]), job["cores"]
    cv2.setNumThreads(1)

    def film() -> BinaryIO:
        return io.BufferedReader(_File(descriptor), _BUFFER_BYTES)

    # Nothing is closed at an error, because other threads may still use it: the process exits.
    bounds = FilmLimits(job["max_pixels"], job["max_frames"])
    threads = min(cores, _MOST_DECODING)
    reader = FilmReader(film(), bounds, work, threads=threads, on_decoded=_teller(link))
    memory = link.open(reader.info, expected(reader.info, work))
    limits.bound_memory(memory)
    if work.output == "none":
        frames = _count(link, reader)
    else:
        out = os.fdopen(output, "wb", buffering=0)
        frames = Pipeline(link, reader, work, film, out, cores).run()
    if reader.problem:
        link.tell({"warning": reader.problem})
    return frames


def _teller(link: Link) -> Callable[[], None]:
    """A function that tells the worker, at most once a second, how many frames were decoded.

    Many of them may lie between two that are wanted. Without these messages the worker would take
    the process for stuck.
    """
    decoded, told = 0, time.monotonic()

    def tell() -> None:
        nonlocal decoded, told
        decoded += 1
        if time.monotonic() > told + _DECODING_SECONDS:
            told = time.monotonic()
            link.tell({"decoded": decoded})

    return tell


def _count(link: Link, reader: FilmReader) -> int:
    """The number of wanted frames."""
    count, told = 0, 0.0
    for frame in reader.frames():
        count += 1
        if time.monotonic() > told + _REPORT_SECONDS:
            told = time.monotonic()
            link.tell({"progress": count, "seconds": float(frame.seconds)})
    return count


def _failure(error: BaseException) -> Message:
    """The last message of a film that cannot be processed."""
    is_short = limits.is_memory_short()
    if isinstance(error, TwinlensError):
        kind = type(error).__name__
        return {"error": kind, "message": error.message, "title": error.title}
    # Libraries report failed allocations by errors of their own.
    if isinstance(error, MemoryError) or "memory" in str(error).lower() or is_short:
        return {"no memory": True}
    # A bug in Twinlens: the worker logs the traceback.
    return {"defect": "".join(traceback.format_exception(error))}


if __name__ == "__main__":
    main()
