# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Answers that are made while they are sent, without a limit on their size."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from typing import Literal, Self

from flask import request

from app.errors import ClientGone, TwinlensError
from app.server.answers import Answer

log = logging.getLogger("twinlens.http")

Outcome = Literal["complete", "failed", "client gone"]


class Stream:
    """The bytes of an answer, as an iterator for Flask's ``Response``.

    The thread of the request waits for the client, so that no more is made than the client takes.
    If making the answer fails, the connection is broken off, because the status has been sent
    already: an answer that ends early must not look complete.

    Args:
        chunks: the bytes; empty ones are allowed. It is closed at the end, also if the client has
            hung up.
        at_end: is called with the outcome and the number of bytes when the answer has ended.
    """

    def __init__(self, chunks: Iterator[bytes], at_end: Callable[[Outcome, int], None]) -> None:
        self._chunks = chunks
        self._at_end: Callable[[Outcome, int], None] | None = at_end
        self._connection = request.environ.get("gunicorn.socket")
        self._outcome: Outcome = "client gone"
        self._sent = 0
        if isinstance(self._connection, Answer):  # not under TLS, whose sockets wait anyway
            self._connection.stream()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._outcome = "complete"
            raise
        except ClientGone as error:
            raise BrokenPipeError(errno.EPIPE, error.message) from error
        except Exception as error:
            self._outcome = "failed"
            known = isinstance(error, TwinlensError)
            log.error("an answer was broken off: %s", error, exc_info=None if known else error)
            if isinstance(self._connection, Answer):
                self._connection.break_off()
            raise BrokenPipeError(errno.EPIPE, "the answer cannot be completed") from error
        self._sent += len(chunk)
        return chunk

    def close(self) -> None:
        """End the work on the answer; Flask and gunicorn call this in any case."""
        at_end, self._at_end = self._at_end, None
        if at_end is None:
            return
        close = getattr(self._chunks, "close", None)
        try:
            if close is not None:
                close()
        finally:
            at_end(self._outcome, self._sent)
