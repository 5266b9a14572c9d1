# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The errors for clients whose film's process failed."""

from __future__ import annotations

import logging
import signal

from app.decoding.wire import Message
from app.errors import BadRequest, Code, NotAvailable, ProcessingFailed, TooLarge, TwinlensError
from app.video import messages

log = logging.getLogger("twinlens.video")

_RETRY_SECONDS = 5
# Error classes that a process may report.
_KINDS = {kind.__name__: kind for kind in (BadRequest, TooLarge)}
# The codes of such errors if their title does not tell more.
_CODES: dict[type[TwinlensError], Code] = {
    BadRequest: "invalid_film",
    TooLarge: "film_too_large",
}


def reported(message: Message, memory: int) -> TwinlensError:
    """The error that a process asks for with its last message.

    Args:
        message: of the process.
        memory: bytes that the process might use.

    Raises:
        ValueError, KeyError: it is no such message.
    """
    if "error" in message:
        kind = _KINDS.get(message["error"])
        text, title = (messages.text_of(message[name]) for name in ("message", "title"))
        if kind is None:
            return ProcessingFailed("film")
        code = _CODES.get(kind) if title == kind.title else None
        return kind(text, title=title, code=code)
    if "no memory" in message:
        return TooLarge(
            f"The film needs more than {memory // 2**20} MB of memory, which is enough for every "
            "usual film of its size; convert it to H.264 first, or make it smaller",
            title="Film too complex",
        )
    log.error("a film's process failed\n%s", message["defect"])
    return ProcessingFailed("film")


def of_status(status: int) -> TwinlensError:
    """The error for a process that exited early; a negative status is the number of a signal."""
    log.warning("a film's process ended with status %d", status)
    if status in (-signal.SIGKILL, -signal.SIGTERM):
        return NotAvailable(
            "The process that worked on the film was ended from outside, as the system does when "
            "memory runs out; try again later",
            title="Not available",
            retry_after=_RETRY_SECONDS,
        )
    if status >= 0:  # a bug in Twinlens; the process printed the traceback to stderr
        return ProcessingFailed("film")
    return BadRequest(
        "The film makes its decoder crash: it is damaged, or needs too much memory",
        title="Invalid film",
    )


def not_available(reason: str) -> NotAvailable:
    """The error when no process can be started."""
    return NotAvailable(
        f"The film cannot be processed now ({reason}); try again later",
        title="Not available",
        retry_after=_RETRY_SECONDS,
    )
