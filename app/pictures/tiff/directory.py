# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads image file directories (IFDs) of a TIFF within limits.

Counts in the file alone never decide how much memory is allocated: a directory may have at most
``MAX_ENTRIES`` entries, and the caller limits how many values of an entry are read.
Source: TIFF 6.0 (Adobe, 1992) and the BigTIFF design of libtiff.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest
from app.pictures.source import refused

MAX_ENTRIES = 1024
MAX_DIRECTORIES = 32

# The numpy type of each TIFF type that holds plain numbers.
_NUMBERS = {
    **{1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4"},
    **{11: "f4", 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"},
}
_RATIONALS = {5: "u4", 10: "i4"}
_BYTES = (1, 2, 6, 7)


def incomplete() -> BadRequest:
    """The error for a TIFF with offsets beyond the end of the file."""
    return refused("The TIFF file is incomplete: parts of it lie beyond its end")


class Directory:
    """The entries (tags) of one directory."""

    def __init__(self, tiff: Tiff, entries: dict[int, tuple[int, int, int]], next_at: int) -> None:
        self._tiff = tiff
        self._entries = entries  # tag: type, count, position of the value field
        self.next_at = next_at  # position of the next directory of the chain, 0 for none

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def count(self, tag: int) -> int:
        """The stated number of values of an entry; 0 if there is no such entry."""
        return self._entries[tag][1] if tag in self._entries else 0

    def integers(self, tag: int, limit: int) -> list[int]:
        """The first values of an entry, at most ``limit``; [] if there is no such entry."""
        kind, count, _ = self._entries.get(tag, (1, 0, 0))
        if kind not in _NUMBERS or _NUMBERS[kind].startswith("f"):
            raise refused(f"The TIFF file is damaged: tag {tag} does not hold whole numbers")
        return [int(value) for value in self._values(_NUMBERS[kind], min(count, limit), kind, tag)]

    def integer(self, tag: int, default: int) -> int:
        """The first value of an entry, or the default if there is no such entry."""
        return next(iter(self.integers(tag, 1)), default)

    def reals(self, tag: int, count: int) -> list[float] | None:
        """The numbers of an entry as floats; None unless there are exactly ``count`` numbers."""
        kind, actual, _ = self._entries.get(tag, (0, 0, 0))
        if actual != count or kind not in (*_NUMBERS, *_RATIONALS):
            return None
        if kind in _NUMBERS:
            return [float(value) for value in self._values(_NUMBERS[kind], count, kind, tag)]
        pairs = self._values(_RATIONALS[kind], 2 * count, kind, tag).astype(float).reshape(-1, 2)
        return (pairs[:, 0] / pairs[:, 1]).tolist() if pairs[:, 1].all() else None

    def raw(self, tag: int, limit: int) -> bytes | None:
        """The bytes of an entry; None if the entry is missing or longer than ``limit``."""
        kind, count, _ = self._entries.get(tag, (0, 0, 0))
        if kind not in _BYTES or not 0 < count <= limit:
            return None
        return self._values("u1", count, kind, tag).tobytes()

    def _values(self, dtype: str, count: int, kind: int, tag: int) -> NDArray[Any]:
        _, stored, field = self._entries.get(tag, (0, 0, 0))
        if not count:
            return np.zeros(0, dtype)
        each = 8 if kind in _RATIONALS else np.dtype(dtype).itemsize
        inline = stored * each <= self._tiff.word
        at = field if inline else self._tiff.offset(field)
        return np.frombuffer(
            self._tiff.read(at, count * np.dtype(dtype).itemsize), self._tiff.order + dtype
        )


class Tiff:
    """An open TIFF or BigTIFF file.

    Raises:
        BadRequest: the file is not a TIFF, or its header is damaged.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.length = file.seek(0, os.SEEK_END)
        head = self.read(0, 8)
        self.order = "<" if head[:2] == b"II" else ">"
        self._big = struct.unpack_from(self.order + "H", head, 2)[0] == 43
        # In bytes: the size of an offset, which is also that of the field for a short value.
        self.word = 8 if self._big else 4
        self.first_at = self.offset(8 if self._big else 4)

    def read(self, at: int, count: int) -> bytes:
        """Bytes of the file. Raises BadRequest if the range is beyond the end of the file."""
        if at < 0 or count < 0 or at + count > self.length:
            raise incomplete()
        self._file.seek(at)
        data = self._file.read(count)
        if len(data) != count:
            raise incomplete()
        return data

    def offset(self, at: int) -> int:
        """Read the offset stored at a position."""
        code = "Q" if self._big else "I"
        return int(struct.unpack(self.order + code, self.read(at, self.word))[0])

    def directory(self, at: int) -> Directory:
        """Read the directory at a position."""
        width, code = (8, "Q") if self._big else (2, "H")
        count = struct.unpack(self.order + code, self.read(at, width))[0]
        if not 0 < count <= MAX_ENTRIES:
            raise refused(
                f"The TIFF file is damaged: a directory of {count} entries; "
                f"at most {MAX_ENTRIES} are read"
            )
        entry = struct.Struct(self.order + ("HHQ8x" if self._big else "HHI4x"))
        data = self.read(at + width, count * entry.size)
        entries: dict[int, tuple[int, int, int]] = {}
        field = at + width + entry.size - self.word
        for tag, kind, values in entry.iter_unpack(data):
            # Like libtiff, use the first of duplicate entries.
            entries.setdefault(tag, (kind, values, field))
            field += entry.size
        end = at + width + len(data)
        # Some writers omit the offset of the next directory at the end of the file.
        next_at = self.offset(end) if end + self.word <= self.length else 0
        return Directory(self, entries, next_at)

    def chain(self) -> Iterator[Directory]:
        """The linked list of directories, up to ``MAX_DIRECTORIES``; stops at a cycle."""
        at, seen = self.first_at, set[int]()
        while at and at not in seen and len(seen) < MAX_DIRECTORIES:
            seen.add(at)
            directory = self.directory(at)
            yield directory
            at = directory.next_at
