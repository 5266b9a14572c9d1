# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Builds HEIF and AVIF files box by box from pictures that a real encoder made."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field

from PIL import Image

from app.pictures import boxes
from tests.pictures import encoded


@dataclass
class Part:
    """Holds an item of the file to be built."""

    kind: bytes
    data: bytes
    properties: list[bytes] = field(default_factory=list)
    #: ids of the parts that it refers to, by type of reference; ids count the list of parts from 1
    references: dict[bytes, list[int]] = field(default_factory=dict)
    in_idat: bool = False


def box(kind: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *contents: bytes, version: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24), *contents)


def ispe(width: int, height: int) -> bytes:
    return full(b"ispe", struct.pack(">II", width, height))


def coded(image: Image.Image, kind: str = "HEIF", **options: object) -> Part:
    """Encode a picture and return it as an item with its properties."""
    data = encoded(image, kind, **options)
    found = boxes.structure(io.BytesIO(data))
    item = found.items[found.primary or 0]
    ((offset, length),) = item.extents
    properties = [box(b.kind, bytes(b.content)) for b in item.properties]
    return Part(item.kind, data[offset : offset + length], properties)


def grid(rows: int, columns: int, size: tuple[int, int], tiles: list[int]) -> Part:
    data = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size)
    return Part(b"grid", data, [ispe(*size)], {b"dimg": tiles}, in_idat=True)


def overlay(size: tuple[int, int], images: list[int]) -> Part:
    data = struct.pack(">BB4HHH", 0, 0, 0, 0, 0, 65535, *size) + bytes(4 * len(images))
    return Part(b"iovl", data, [ispe(*size)], {b"dimg": images})


def heif(parts: list[Part], primary: int = 1, brand: bytes = b"heic", version: int = 0) -> bytes:
    """Build a file of these parts, whose ids count from 1; ``version`` is that of its iloc box."""
    known: list[bytes] = []
    associations = b""
    for number, part in enumerate(parts, 1):
        indices = []
        for content in part.properties:
            if content not in known:
                known.append(content)
            essential = 0x80 if content[4:8] in (b"clap", b"irot", b"imir") else 0
            indices.append(essential | known.index(content) + 1)
        associations += struct.pack(f">HB{len(indices)}B", number, len(indices), *indices)
    infos = b"".join(
        full(b"infe", struct.pack(">HH4sx", number, 0, part.kind), version=2)
        for number, part in enumerate(parts, 1)
    )
    references = b"".join(
        box(kind, struct.pack(f">HH{len(ids)}H", number, len(ids), *ids))
        for number, part in enumerate(parts, 1)
        for kind, ids in part.references.items()
    )
    idat = b"".join(part.data for part in parts if part.in_idat)
    version = max(version, 1 if idat else 0)
    head = box(b"ftyp", brand, bytes(4), b"mif1", brand)

    def meta(start: int) -> bytes:
        places = b""
        in_file, in_idat = start, 0
        for number, part in enumerate(parts, 1):
            offset = in_idat if part.in_idat else in_file
            method = struct.pack(">H", part.in_idat) if version else b""
            ident = struct.pack(">I" if version == 2 else ">H", number)
            places += ident + method + struct.pack(">HHII", 0, 1, offset, len(part.data))
            in_idat += len(part.data) * part.in_idat
            in_file += len(part.data) * (not part.in_idat)
        count = struct.pack(">I" if version == 2 else ">H", len(parts))
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", primary)),
            full(b"iloc", b"\x44\0", count, places, version=version),
            full(b"iinf", struct.pack(">H", len(parts)), infos),
            full(b"iref", references) if references else b"",
            box(
                b"iprp",
                box(b"ipco", *known),
                full(b"ipma", struct.pack(">I", len(parts)), associations),
            ),
            box(b"idat", idat) if idat else b"",
        )

    start = len(head) + len(meta(0)) + 8
    data = b"".join(part.data for part in parts if not part.in_idat)
    return head + meta(start) + box(b"mdat", data)
