# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes whole pieces to a pipe."""

from __future__ import annotations

import io
from typing import Any, BinaryIO


class Whole(io.RawIOBase):
    """A file that only takes bytes, and writes all that it is given: a pipe may take less at once.

    Args:
        out: the pipe; it is not closed.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        length = len(rest)
        while rest:
            rest = rest[self._out.write(rest) or 0 :]
        return length
