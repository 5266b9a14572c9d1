# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes small TIFF files for the tests, with any entry, valid or not."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Value = int | Sequence[int] | bytes

_STRIPS, _TILES = (273, 279), (324, 325)  # tags of their offsets and byte counts
_SUB_IFDS = 330


@dataclass
class Page:
    """One directory, with its entries, its strips or tiles, and the pages below it."""

    entries: dict[int, Value]
    chunks: list[bytes] = field(default_factory=list)
    below: list[Page] = field(default_factory=list)


def page(
    pixels: NDArray[np.generic],
    photometric: int,
    entries: dict[int, Value] | None = None,
    *,
    chunks: list[bytes] | None = None,
    below: Sequence[Page] = (),
) -> Page:
    """Make a page of an array, [height, width] or [height, width, samples].

    It has one uncompressed strip. ``entries`` override the usual entries, and ``chunks`` replace
    the strip.
    """
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    kind = {"b": 1, "u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    all_entries: dict[int, Value] = {
        256: width,
        257: height,
        258: [8 * pixels.dtype.itemsize] * samples,
        259: 1,
        262: photometric,
        277: samples,
        278: height,
        339: [kind] * samples,
    }
    all_entries |= entries or {}
    return Page(all_entries, [pixels.tobytes()] if chunks is None else chunks, list(below))


def tiff(*pages: Page, order: str = "<", big: bool = False) -> bytes:
    """Make a file of these pages.

    ``order`` is the byte order of the directories, not of the pixels.
    """
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, 0) if big else struct.pack(order + "I", 0)
    writer = _Writer(bytearray(head), order, big)
    link = len(head) - writer.word
    for each in pages:
        at = writer.write(each)
        writer.patch(link, at)
        link = writer.link
    return bytes(writer.out)


class _Writer:
    def __init__(self, out: bytearray, order: str, big: bool) -> None:
        self.out = out
        self.order = order
        self.big = big
        self.word = 8 if big else 4
        self.link = 0  # where the position of the next directory will be written

    def patch(self, at: int, value: int) -> None:
        struct.pack_into(self.order + ("Q" if self.big else "I"), self.out, at, value)

    def _append(self, data: bytes) -> int:
        self.out += bytes(len(self.out) % 2)
        at = len(self.out)
        self.out += data
        return at

    def write(self, page: Page) -> int:
        entries = dict(page.entries)
        if page.chunks:
            offsets, counts = _TILES if 322 in entries else _STRIPS
            entries.setdefault(offsets, [self._append(chunk) for chunk in page.chunks])
            entries.setdefault(counts, [len(chunk) for chunk in page.chunks])
        if page.below:
            entries[_SUB_IFDS] = [self.write(each) for each in page.below]
        fields = [self._field(tag, value) for tag, value in sorted(entries.items())]
        count = struct.pack(self.order + ("Q" if self.big else "H"), len(fields))
        at = self._append(count + b"".join(fields) + bytes(self.word))
        self.link = len(self.out) - self.word
        return at

    def _field(self, tag: int, value: Value) -> bytes:
        if isinstance(value, bytes):
            kind, count, data = 7, len(value), value
        else:
            values = [value] if isinstance(value, int) else list(value)
            kind, code = (3, "H") if max(values) < 1 << 16 else (4, "I")
            count, data = len(values), struct.pack(f"{self.order}{len(values)}{code}", *values)
        if len(data) > self.word:
            data = struct.pack(self.order + ("Q" if self.big else "I"), self._append(data))
        code = "HHQ" if self.big else "HHI"
        return struct.pack(self.order + code, tag, kind, count) + data.ljust(self.word, b"\0")
