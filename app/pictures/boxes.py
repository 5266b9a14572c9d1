# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Parses the structure of HEIF and AVIF files: boxes of the ISO base media file format (ISO/IEC
14496-12) and image items (ISO/IEC 23008-12). Nothing is decoded.

All counts and sizes are limited, because files are untrusted: time and memory grow at most linearly
with the size of the ``meta`` box.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

MAX_ITEMS = 10_000  # a picture of 120 megapixels has 1,831 tiles of 256x256
MAX_REFERENCES = 100_000
_MAX_TOP_LEVEL = 1_000
_MAX_CHILDREN = 2 * MAX_ITEMS
_MAX_STRUCTURE = 16 << 20  # bytes that a meta or moov box may have, including colour profiles


class Malformed(Exception):
    """The file is damaged. The text completes the sentence "The file is damaged: ..."."""


@dataclass(frozen=True)
class Box:
    """A box: its four-letter type and its content."""

    kind: bytes
    content: memoryview
    #: position of the content in the data that the box was read from
    start: int


@dataclass
class Item:
    """An item of a HEIF file: an image, or metadata such as EXIF."""

    kind: bytes
    #: positions in the content of the meta box: of the item's type, and of the flags byte whose
    #: lowest bit marks the item as hidden
    kind_at: int
    hidden_at: int
    protected: bool = False
    #: whether the item is metadata with a content encoding, i.e. compressed
    encoded: bool = False
    #: construction method: extents are relative to the start of the file (0) or the idat box (1)
    method: int = 0
    #: offset and length in bytes of each part of the data; a length of 0 means "up to the end"
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[Box] = field(default_factory=list)
    #: ids of the items to which this item refers, by the type of the reference
    references: dict[bytes, list[int]] = field(default_factory=dict)

    def property(self, *kinds: bytes) -> Box | None:
        return next((box for box in self.properties if box.kind in kinds), None)


@dataclass(frozen=True)
class Structure:
    """The parsed structure of a HEIF or AVIF file."""

    brand: bytes
    size: int  # size of the file in bytes
    #: whether the last box extends beyond the end of the file
    cut: bool
    items: dict[int, Item]
    primary: int | None  # id of the primary item; None without a meta box
    idat: memoryview
    #: position of the meta box's content in the file
    meta_at: int
    moov: memoryview | None


def structure(file: BinaryIO) -> Structure:
    """Parse the structure of a file.

    Raises:
        EOFError: a needed box extends beyond the end of the file.
        Malformed: the structure is damaged or exceeds the limits.
    """
    size = file.seek(0, 2)
    found: dict[bytes, tuple[int, int]] = {}
    cut = False
    for kind, start, end in _top_level(file, size):
        cut = end > size
        if kind not in (b"ftyp", b"meta", b"moov"):
            continue
        if kind in found:
            raise Malformed(f"it has two {_name(kind)} boxes")
        found[kind] = (start, end)
    brand = _content(file, found.get(b"ftyp"), size)[:4].tobytes()
    moov = _content(file, found[b"moov"], size) if b"moov" in found else None
    if b"meta" not in found:
        return Structure(brand, size, cut, {}, None, memoryview(b""), 0, moov)
    content = _content(file, found[b"meta"], size)
    items, primary, idat = _meta(content)
    return Structure(brand, size, cut, items, primary, idat, found[b"meta"][0], moov)


def boxes(data: memoryview, start: int = 0) -> Iterator[Box]:
    """The sequence of boxes in ``data`` from ``start`` on."""
    count = 0
    while start + 8 <= len(data):
        count += 1
        if count > _MAX_CHILDREN:
            raise Malformed("it consists of too many boxes")
        length, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1:
            head, length = 16, Fields(data, start + 8).number(8)
        end = start + length if length else len(data)
        if end < start + head or end > len(data):
            raise Malformed(f"the {_name(kind)} box does not fit")
        yield Box(kind, data[start + head : end], start + head)
        start = end


class Fields:
    """Reads consecutive big-endian numbers."""

    def __init__(self, data: memoryview, at: int = 0) -> None:
        self._data = data
        self.at = at

    def number(self, size: int) -> int:
        """An unsigned number of ``size`` bytes."""
        if self.at + size > len(self._data):
            raise Malformed("a box is too short")
        value = int.from_bytes(self._data[self.at : self.at + size], "big")
        self.at += size
        return value

    def version(self) -> tuple[int, int]:
        """Version and flags, the first four bytes of a "full box"."""
        return self.number(1), self.number(3)


def _top_level(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of each top-level box; the last end may be beyond the end of the file."""
    start = count = 0
    while start + 8 <= size:
        count += 1
        if count > _MAX_TOP_LEVEL:
            raise Malformed("it consists of too many boxes")
        file.seek(start)
        head = file.read(16)
        length, kind = struct.unpack_from(">I4s", head)
        skip = 8
        if length == 1:
            skip, length = 16, int.from_bytes(head[8:16], "big")
        if length and length < skip:
            return  # not a box: some phones append their own data
        end = start + length if length else size
        yield kind, start + skip, end
        start = end


def _content(file: BinaryIO, place: tuple[int, int] | None, size: int) -> memoryview:
    if place is None:
        return memoryview(b"")
    start, end = place
    if end > size:
        raise EOFError
    if end - start > _MAX_STRUCTURE:
        raise Malformed("its head is too large")
    file.seek(start)
    return memoryview(file.read(end - start))


def _meta(content: memoryview) -> tuple[dict[int, Item], int | None, memoryview]:
    """Items by id, the id of the primary item, and the content of the idat box."""
    children = list(boxes(content, 4))
    wanted = (b"pitm", b"iinf", b"iloc", b"iref", b"iprp", b"idat")
    counts = Counter(box.kind for box in children)
    twice = [kind for kind in wanted if counts[kind] > 1]
    if twice:
        raise Malformed(f"it has two {_name(twice[0])} boxes")
    by_kind = {box.kind: box for box in children}
    if b"pitm" not in by_kind or b"iinf" not in by_kind:
        raise Malformed("it names no primary image")
    items = dict(_infos(by_kind[b"iinf"]))
    if b"iloc" in by_kind:
        _locations(by_kind[b"iloc"].content, items)
    if b"iref" in by_kind:
        _references(by_kind[b"iref"].content, items)
    if b"iprp" in by_kind:
        _properties(by_kind[b"iprp"].content, items)
    fields = Fields(by_kind[b"pitm"].content)
    primary = fields.number(4 if fields.version()[0] else 2)
    idat = by_kind[b"idat"].content if b"idat" in by_kind else memoryview(b"")
    return items, primary, idat


def _infos(iinf: Box) -> Iterator[tuple[int, Item]]:
    """The items in an iinf box, each with its id."""
    fields = Fields(iinf.content)
    fields.number(4 if fields.version()[0] else 0)
    if not iinf.content[0]:
        fields.number(2)
    seen: set[int] = set()
    for box in boxes(iinf.content, fields.at):
        if box.kind != b"infe":
            continue
        entry = Fields(box.content)
        version = entry.version()[0]
        if version < 2:
            continue  # old versions have no item type, so the item is not an image
        number = entry.number(4 if version > 2 else 2)
        protected = entry.number(2) != 0
        kind = entry.number(4).to_bytes(4, "big")
        if number in seen or len(seen) >= MAX_ITEMS:
            raise Malformed("it lists an item twice" if number in seen else "it has too many items")
        seen.add(number)
        texts = box.content[entry.at :].tobytes().split(b"\0")
        encoded = kind == b"mime" and len(texts) > 2 and texts[2] != b""
        start = iinf.start + box.start
        yield number, Item(kind, start + entry.at - 4, start + 3, protected, encoded)


def _locations(content: memoryview, items: dict[int, Item]) -> None:
    """Read an iloc box: where the data of each item is."""
    fields = Fields(content)
    version = fields.version()[0]
    if version > 2:
        raise Malformed("its iloc box has an unknown version")
    sizes = fields.number(2)
    offset_size, length_size, base_size, index_size = (
        sizes >> shift & 15 for shift in (12, 8, 4, 0)
    )
    if not {offset_size, length_size, base_size, index_size if version else 0} <= {0, 4, 8}:
        raise Malformed("its iloc box is damaged")
    count = fields.number(4 if version == 2 else 2)
    seen: set[int] = set()
    extents = 0
    for _ in range(count):
        number = fields.number(4 if version == 2 else 2)
        method = fields.number(2) & 15 if version else 0
        elsewhere = fields.number(2) != 0
        base = fields.number(base_size)
        amount = fields.number(2)
        extents += amount
        if number in seen or extents > MAX_REFERENCES:
            raise Malformed("its iloc box lists an item twice or has too many parts")
        seen.add(number)
        places = []
        for _ in range(amount):
            fields.number(index_size if version else 0)
            offset = base + fields.number(offset_size)
            places.append((offset, fields.number(length_size)))
        item = items.get(number)
        if item is not None:
            item.method, item.extents = (method, places) if not elsewhere else (-1, [])


def _references(content: memoryview, items: dict[int, Item]) -> None:
    """Read an iref box: references between items."""
    size = 4 if Fields(content).version()[0] else 2
    total = 0
    for box in boxes(content, 4):
        fields = Fields(box.content)
        source = items.get(fields.number(size))
        count = fields.number(2)
        total += count
        if total > MAX_REFERENCES:
            raise Malformed("it has too many references")
        targets = [fields.number(size) for _ in range(count)]
        if source is not None:
            source.references.setdefault(box.kind, []).extend(targets)


def _properties(content: memoryview, items: dict[int, Item]) -> None:
    """Read an iprp box: the list of properties, and the assignment of properties to items."""
    known: list[Box] = []
    total = 0
    for box in boxes(content):
        if box.kind == b"ipco":
            known = list(boxes(box.content))
        if box.kind != b"ipma":
            continue
        fields = Fields(box.content)
        version, flags = fields.version()
        for _ in range(fields.number(4)):
            item = items.get(fields.number(4 if version else 2))
            count = fields.number(1)
            total += count
            if total > MAX_REFERENCES:
                raise Malformed("it has too many properties")
            for _ in range(count):
                index = fields.number(2) & 0x7FFF if flags & 1 else fields.number(1) & 0x7F
                if item is not None and 0 < index <= len(known):
                    item.properties.append(known[index - 1])


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "replace") if kind.isalnum() else "unnamed"
