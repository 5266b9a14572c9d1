# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The main loop of a decoding process: decodes files until the worker closes the connection."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import signal
import tempfile
import traceback
from typing import BinaryIO

from PIL import Image

from app.decoding import limits
from app.decoding.wire import Message, Wire
from app.errors import TwinlensError
from app.pictures import depth_map
from app.pictures.colour import to_rgb
from app.pictures.decode import decode
from app.pictures.steps import resized

_STRIP_BYTES = 2**22
#: Pictures of up to this many bytes are passed through the window, see ``_Answers.answer``.
WINDOW_BYTES = 4 * 2**20
_MOST_LOG_LINES = 20
_MOST_LOG_CHARACTERS = 4000
# After this idle time freed memory is returned to the system. Doing so after every picture would
# cost 2 ms or more each time, because the next picture needs the memory again.
_IDLE_SECONDS = 0.5


class _NotWanted(TwinlensError):
    """The worker has refused the picture because of its size, so its pixels are not needed."""


def serve(wire: Wire, memory: int) -> None:
    """Answer the worker's messages until the connection closes.

    Args:
        wire: message channel to the worker.
        memory: memory limit of this process in bytes, see ``limits.bound_memory``.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    limits.bound_memory(memory)
    answers = _Answers(wire)
    log = _LogLines()
    logging.getLogger().handlers = [log]
    while True:
        try:
            job = _next(wire)
        except EOFError:
            return
        limits.bound_cpu(job["seconds"])
        with os.fdopen(wire.take_descriptor(), "rb") as file:
            answer, pixels = answers.answer(job, file)
        limits.bound_cpu(0)
        try:
            wire.send({**answer, "log": log.taken()}, pixels)
        except OSError:
            return
        if pixels is not None:
            os.close(pixels)


def _next(wire: Wire) -> Message:
    """The worker's next message. Raises EOFError when the worker has closed the connection."""
    try:
        return wire.receive(_IDLE_SECONDS)
    except TimeoutError:
        limits.trim()
        return wire.receive()


class _Answers:
    """Decodes files and makes the answers that the worker gets."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._window: mmap.mmap | None = None

    def answer(self, job: Message, file: BinaryIO) -> tuple[Message, int | None]:
        """The answer for a file, and a descriptor to send with it if it needs one.

        Small pictures, such as the inputs of networks, are written to a window: shared memory that
        both processes map once, because new memory for each picture costs time. For each larger
        picture new shared memory is made.
        """
        try:
            image, size, focal_length = _picture(self._wire, job, file)
            shape = [image.height, image.width]
            answer = {
                "answer": "pixels",
                "shape": shape,
                "size": list(size),
                "focal_length": focal_length,
            }
            count = 3 * image.height * image.width
            if count > WINDOW_BYTES:
                return answer, _shared(image)
            descriptor = None
            if self._window is None:
                descriptor = shared_memory("window")
                os.ftruncate(descriptor, WINDOW_BYTES)
                seal(descriptor)
                self._window = mmap.mmap(descriptor, WINDOW_BYTES)
            self._window[:count] = image.tobytes()
            return {**answer, "window": True}, descriptor
        except Exception as error:
            return _failure(error), None


def _failure(error: Exception) -> Message:
    """The answer for a file that cannot be decoded."""
    if isinstance(error, _NotWanted):
        return {"answer": "not wanted"}
    if isinstance(error, MemoryError) or (
        isinstance(error, TwinlensError) and _is_for_memory(error)
    ):
        return {"answer": "no memory"}
    if isinstance(error, TwinlensError):
        return {
            "answer": "error",
            "kind": type(error).__name__,
            "message": error.message,
            "title": error.title,
        }
    # A bug in Twinlens: the worker logs the traceback.
    return {"answer": "defect", "traceback": "".join(traceback.format_exception(error))}


def _picture(
    wire: Wire, job: Message, file: BinaryIO
) -> tuple[Image.Image, tuple[int, int], float | None]:
    """The decoded picture, cropped and resized as the worker asks; the upright photo's size; and
    the camera's focal length, in pixels of that photo, if the file says it.
    """

    def decode_size(width: int, height: int) -> tuple[int, int] | None:
        wanted = _ask(wire, {"question": "enough", "size": [width, height]})["enough"]
        return None if wanted is None else (wanted[0], wanted[1])

    file.seek(0)  # the worker's descriptor shares the file offset
    convert = depth_map.packed if job["is_depth"] else to_rgb
    picture = decode(file, job["max_pixels"], decode_size, convert)
    image, size, focal_length = picture.image, picture.size, picture.focal_length
    steps = _ask(wire, {"question": "steps", "decoded": list(image.size), "size": list(size)})
    del picture
    return resized(image, steps["steps"]), size, focal_length


def _ask(wire: Wire, question: Message) -> Message:
    """The worker's reply to a question. Raises _NotWanted if the worker has refused the picture.

    Exits the process when the worker has closed the connection.
    """
    try:
        wire.send(question)
        reply = wire.receive()
    except (EOFError, OSError):
        os._exit(0)
    if reply.get("not_wanted"):
        raise _NotWanted("The worker needs no pixels of it")
    return reply


def _shared(image: Image.Image) -> int:
    """Copy an RGB image, as [height, width, 3] bytes, to memory that another process can map."""
    descriptor = shared_memory("pixels")
    # Writes in strips, because tobytes() of the whole image would need 3 more bytes per pixel.
    rows = max(1, _STRIP_BYTES // (3 * image.width))
    with os.fdopen(os.dup(descriptor), "wb") as file:
        for top in range(0, image.height, rows):
            box = (0, top, image.width, min(top + rows, image.height))
            file.write(image.crop(box).tobytes())
    seal(descriptor)
    return descriptor


def seal(descriptor: int) -> None:
    """Fix the size of shared memory: if it shrank, the worker would crash on its mapping."""
    if hasattr(fcntl, "F_ADD_SEALS"):
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)


def shared_memory(name: str) -> int:
    """The descriptor of an empty unnamed file, in memory if the system supports that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _is_for_memory(error: BaseException) -> bool:
    """Whether the cause of an error is a failed memory allocation in a library."""
    cause = error.__context__
    return cause is not None and (
        isinstance(cause, MemoryError) or "memory" in str(cause).lower() or _is_for_memory(cause)
    )


class _LogLines(logging.Handler):
    """Collects the log records of one file; the worker logs them under the request's id."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) < _MOST_LOG_LINES:
            text = self.format(record)[:_MOST_LOG_CHARACTERS]
            self._lines.append((record.name, record.levelno, text))

    def taken(self) -> list[tuple[str, int, str]]:
        """The records since the last call."""
        lines, self._lines = self._lines, []
        return lines
