# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A virtual file, joined from bytes and ranges of other files without copying the ranges."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True)
class Range:
    """The bytes of a file from ``start`` up to, not including, ``stop``."""

    file: BinaryIO
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


Part = bytes | Range


def joined(parts: Sequence[Part]) -> BinaryIO:
    """A readable, seekable file that consists of the parts in order.

    Reading moves the positions of the files to which the ranges belong.
    """
    return cast("BinaryIO", io.BufferedReader(_Joined(parts), 1 << 16))


class _Joined(io.RawIOBase):
    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._size = sum(len(part) for part in self._parts)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Reads bytes of one part, which may be fewer than ``buffer`` holds; 0 at the end."""
        view = memoryview(buffer)
        offset = self._position
        for part in self._parts:
            if offset < len(part):
                count = min(len(view), len(part) - offset)
                view[:count] = data = _read(part, offset, count)
                self._position += len(data)
                return len(data)
            offset -= len(part)
        return 0


def _read(part: Part, offset: int, count: int) -> bytes:
    if isinstance(part, bytes):
        return part[offset : offset + count]
    part.file.seek(part.start + offset)
    return part.file.read(count)
