# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""PNG: filters the chunks of a file before Pillow parses it (W3C, PNG specification, edition 3).

Pillow keeps all metadata in memory and refuses a picture if unneeded metadata is damaged. Therefore
Pillow gets only the chunks that define the pixels, which must be complete. Chunks for colours and
orientation are read here, and ignored if damaged. All others are dropped.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from isal import isal_zlib

from app.errors import TooLarge
from app.pictures import profiles
from app.pictures.colour import MAX_PROFILE
from app.pictures.orientation import UPRIGHT, from_exif, from_raw_profile, from_xmp
from app.pictures.parts import Part, Range, joined
from app.pictures.source import Metadata, Source, check_pixels, refused

# Programs write pixels in chunks of 8 KB or more, so a file of 64 MB has 8,192 chunks.
_MAX_CHUNKS = 100_000
_MAX_TEXT = 1 << 20  # bytes that are read of a text; the rest is ignored
_MAX_EXIF = 1 << 20
_BLOCK = 1 << 20

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BROKEN_OFF = (
    "The PNG ends before its last row: the upload or the copy broke off. Send the whole file"
)
_GREY, _RGB, _PALETTE = 0, 2, 3
_TEXTS = {b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp"}
# Chunks that are read here, each with its largest accepted size in bytes.
_READ = {b"tRNS": 256, b"iCCP": MAX_PROFILE, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"cICP": 4,
         b"eXIf": _MAX_EXIF}  # fmt: skip


def check(file: BinaryIO, max_pixels: int) -> Source:
    """Check a PNG file. The result has only what Pillow needs, and no animation.

    Raises:
        BadRequest: a chunk that defines the pixels is damaged or missing.
        TooLarge: the picture has more pixels than the budget, or more chunks than any program
            writes.
    """
    header = _header(file)
    check_pixels(int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big"), max_pixels)
    found = _look_through(file, header)
    start: list[Part] = [_SIGNATURE, _chunk(b"IHDR", header)]
    if found.colour == _PALETTE:
        if not found.palette or len(found.palette) % 3:
            raise refused("The PNG is damaged: its palette is missing")
        start.append(_chunk(b"PLTE", found.palette))
    transparency = _as_pillow_reads(found.read.get(b"tRNS", b""), found)
    if transparency:
        start.append(_chunk(b"tRNS", transparency))
    pixels = Range(file, found.pixels, found.pixels_stop)
    profile = _profile(found.read, grey=not found.colour & 2)
    metadata = Metadata(_orientation(found), profile, found.read.get(b"eXIf", b""))
    return Source(joined([*start, pixels, _chunk(b"IEND", b"")]), metadata)


@dataclass
class _Found:
    header: bytes
    palette: bytes = b""
    pixels: int = 0  # position of the first chunk with pixels (IDAT)
    pixels_stop: int = 0
    read: dict[bytes, bytes] = field(default_factory=dict)
    texts: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        return self.header[8]

    @property
    def colour(self) -> int:
        return self.header[9]


def _header(file: BinaryIO) -> bytes:
    file.seek(len(_SIGNATURE))
    head = file.read(8)
    if head[4:] == b"CgBI":
        raise refused(
            "The PNG is of Apple's own kind (CgBI), for apps only: save it as an ordinary PNG"
        )
    if head != b"\0\0\0\rIHDR":
        raise refused("The PNG is damaged: it does not begin with its header")
    return _whole(file, b"IHDR", 13)


def _look_through(file: BinaryIO, header: bytes) -> _Found:
    found = _Found(header)
    position = len(_SIGNATURE) + 12 + 13
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        kind, length = head[4:], int.from_bytes(head[:4], "big")
        if len(head) < 8 or kind == b"IEND" or not kind.isalpha() or length >= 1 << 31:
            break
        if kind == b"IDAT":
            found.pixels = found.pixels or position
            # IDAT chunks must be consecutive; decoders ignore later ones.
            if found.pixels_stop in (0, position):
                _check_pixels(file, length)
                found.pixels_stop = position + 12 + length
        elif kind[0] & 0x20:
            _read_ancillary(file, kind, length, found)
        elif kind == b"PLTE":
            if not found.pixels and not found.palette and length <= 768:
                found.palette = _whole(file, kind, length)
        elif not found.pixels:
            raise refused("The PNG is damaged: it has a chunk that no PNG may have")
        position += 12 + length
    else:
        raise TooLarge(
            f"The PNG has more than {_MAX_CHUNKS} chunks; save it anew with another program"
        )
    if not found.pixels:
        raise refused(_BROKEN_OFF)
    return found


def _whole(file: BinaryIO, kind: bytes, length: int) -> bytes:
    """The content of a critical chunk. Raises BadRequest if the chunk is damaged."""
    content, checksum = file.read(length), file.read(4)
    if len(checksum) < 4:
        raise refused(_BROKEN_OFF)
    if checksum != _checksum(kind, content):
        raise refused(f"The PNG is damaged: the checksum of its {kind.decode()} chunk is wrong")
    return content


def _check_pixels(file: BinaryIO, length: int) -> None:
    checksum = isal_zlib.crc32(b"IDAT")
    while length > 0:
        block = file.read(min(length, _BLOCK))
        if not block:
            raise refused(_BROKEN_OFF)
        checksum = isal_zlib.crc32(block, checksum)
        length -= len(block)
    found = file.read(4)
    if len(found) < 4:
        raise refused(_BROKEN_OFF)
    if found != checksum.to_bytes(4, "big"):
        raise refused("The PNG is damaged: the checksum of its pixels is wrong")


def _read_ancillary(file: BinaryIO, kind: bytes, length: int, found: _Found) -> None:
    """Keep the content of a chunk if it is needed and valid; only the first of a kind counts."""
    if kind in (b"tEXt", b"zTXt", b"iTXt"):
        content = file.read(min(length, 80))
        keyword = content.partition(b"\0")[0]
        if keyword in _TEXTS and keyword not in found.texts:
            content += file.read(min(length, _MAX_TEXT) - len(content))
            found.texts[keyword] = _text(kind, content[len(keyword) + 1 :])
    elif kind in _READ and kind not in found.read and length <= _READ[kind]:
        if found.pixels and kind != b"eXIf":
            return
        content = file.read(length)
        if file.read(4) == _checksum(kind, content):
            found.read[kind] = content


def _text(kind: bytes, content: bytes) -> bytes:
    """The text of a text chunk after its keyword."""
    if kind == b"tEXt":
        return content
    if kind == b"zTXt":
        return _unpacked(content[1:], _MAX_TEXT)
    packed, content = content[:1] == b"\1", content[2:]
    content = content.partition(b"\0")[2].partition(b"\0")[2]  # skips language and translation
    return _unpacked(content, _MAX_TEXT) if packed else content


def _unpacked(content: bytes, limit: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, limit)
    except zlib.error:
        return b""


def _as_pillow_reads(transparency: bytes, found: _Found) -> bytes:
    """The content of tRNS, with its levels scaled in the way in which Pillow scales the pixels."""
    if found.colour == _PALETTE:
        return transparency
    count = {_GREY: 1, _RGB: 3}.get(found.colour)
    if count is None or len(transparency) < 2 * count:
        return b""
    levels = struct.unpack_from(f">{count}H", transparency)
    scale = {1: 1, 2: 85, 4: 17}.get(found.depth, 1)  # Pillow widens levels of 2 and 4 bits to 8
    if found.depth < 16:
        levels = tuple((level & ((1 << found.depth) - 1)) * scale for level in levels)
    elif found.colour == _RGB:
        levels = tuple(level >> 8 for level in levels)  # Pillow drops the lower byte
    return struct.pack(f">{count}H", *levels)


def _orientation(found: _Found) -> int:
    orientation = from_exif(found.read.get(b"eXIf", b""))
    for keyword in (b"Raw profile type exif", b"Raw profile type APP1"):
        if orientation is None:
            orientation = from_raw_profile(found.texts.get(keyword, b"").decode("latin-1"))
    if orientation is None:
        orientation = from_xmp(found.texts.get(b"XML:com.adobe.xmp", b""))
    return orientation or UPRIGHT


def _profile(read: dict[bytes, bytes], grey: bool) -> bytes | None:
    """The ICC profile from the first valid one of cICP, iCCP, sRGB, and gAMA with cHRM.

    Browsers use the same order.
    """
    if len(code_points := read.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full_range = code_points
        profile = profiles.from_code_points(primaries, transfer, grey)
        if profile is not None and (matrix, full_range) == (0, 1):
            return profile
    profile = _icc(read.get(b"iCCP", b""))
    if profile[16:20] == (b"GRAY" if grey else b"RGB ") and profile[36:40] == b"acsp":
        return profile
    if len(read.get(b"sRGB", b"")) == 1:
        return profiles.SRGB
    if len(gamma := read.get(b"gAMA", b"")) == 4:
        numbers = struct.unpack(">8I", read.get(b"cHRM", b"").ljust(32, b"\0")[:32])
        chromaticities = [number / 100_000 for number in numbers] if any(numbers) else None
        return profiles.from_gamma(int.from_bytes(gamma, "big") / 100_000, chromaticities, grey)
    return None


def _icc(content: bytes) -> bytes:
    name, _, packed = content.partition(b"\0")
    if not 1 <= len(name) <= 79 or packed[:1] != b"\0":
        return b""
    return _unpacked(packed[1:], MAX_PROFILE)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + _checksum(kind, content)


def _checksum(kind: bytes, content: bytes) -> bytes:
    return int(isal_zlib.crc32(content, isal_zlib.crc32(kind))).to_bytes(4, "big")
