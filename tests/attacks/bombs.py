# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes hostile image files; each function returns a file's bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

Values = Sequence[int | str] | bytes

_SIZES = {1: 1, 3: 2, 4: 4}
_LETTERS = {1: "B", 3: "H", 4: "I"}


def progressive(width: int, height: int, scans: int, empty: bool = True) -> bytes:
    """Make a progressive JPEG of one DC scan and ``scans`` AC scans (each 10 bytes if empty)."""

    def segment(marker: int, data: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    out = [
        b"\xff\xd8",
        segment(0xDB, b"\0" + b"\1" * 64),
        segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
        segment(0xC4, b"\x00" + b"\1" + bytes(15) + b"\0"),
        segment(0xC4, b"\x10" + b"\1" + bytes(15) + b"\xe0"),
        segment(0xDA, b"\1\1\0\0\0\0"),
        bytes((blocks + 7) // 8),
    ]
    scan = segment(0xDA, b"\1\1\0\1\x3f\0")
    if not empty:
        runs = -(-blocks // 32767)
        bits = ("0" + "1" * 14) * runs
        bits += "1" * (-len(bits) % 8)
        coded = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        scan += coded.replace(b"\xff", b"\xff\0")
    return b"".join([*out, scan * scans, b"\xff\xd9"])


def jpeg_segments(good: bytes, count: int, marker: int = 0xE5) -> bytes:
    """Insert ``count`` empty APPn segments after the start of a good JPEG."""
    return good[:2] + (b"\xff" + bytes([marker]) + b"\0\2") * count + good[2:]


def png_chunks(good: bytes, count: int) -> bytes:
    """Insert ``count`` empty private chunks after the header of a good PNG."""
    chunk = struct.pack(">I", 0) + b"prIv" + struct.pack(">I", zlib.crc32(b"prIv"))
    return good[:33] + chunk * count + good[33:]


def tiff(entries: Sequence[tuple[int, int, Values]], data: bytes = b"") -> bytes:
    """Make a classic little-endian TIFF.

    Args:
        entries: tag, type (1 byte, 3 short, 4 long) and values; the value "D" stands for the
            offset of ``data``.
        data: bytes at the end of the file.
    """
    entries = sorted(entries, key=lambda entry: entry[0])
    base = 8 + 2 + 12 * len(entries) + 4
    beside = 0  # total size of the values that do not fit into their entries and follow them
    for _, kind, values in entries:
        count = len(values) // _SIZES[kind] if isinstance(values, bytes) else len(values)
        size = count * _SIZES[kind]
        beside += size + size % 2 if size > 4 else 0
    position, extra, records = base, b"", []
    for tag, kind, values in entries:
        if not isinstance(values, bytes):
            numbers = [base + beside if value == "D" else value for value in values]
            values = struct.pack(f"<{len(values)}{_LETTERS[kind]}", *numbers)
        count = len(values) // _SIZES[kind]
        if len(values) > 4:
            records.append(struct.pack("<HHII", tag, kind, count, position))
            padded = values + b"\0" * (len(values) % 2)
            extra += padded
            position += len(padded)
        else:
            records.append(struct.pack("<HHI", tag, kind, count) + values.ljust(4, b"\0"))
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    return head + b"".join(records) + struct.pack("<I", 0) + extra + data


def tiff_tile(width: int, height: int, tile_width: int, tile_height: int) -> bytes:
    """Make a TIFF whose picture is one deflated tile of zeros."""
    packer = zlib.compressobj(9)
    data, left = b"", tile_width * tile_height
    zeros = bytes(2**24)
    while left > 0:
        data += packer.compress(zeros[: min(left, 2**24)])
        left -= 2**24
    data += packer.flush()
    return tiff(
        [
            (256, 4, [width]),
            (257, 4, [height]),
            (258, 3, [8]),
            (259, 3, [8]),
            (262, 3, [1]),
            (277, 3, [1]),
            (322, 4, [tile_width]),
            (323, 4, [tile_height]),
            (324, 4, ["D"]),
            (325, 4, [len(data)]),
        ],
        data,
    )


def tiff_strips(width: int, strips: int) -> bytes:
    """Make an uncompressed TIFF with one row per strip; all strips lie at the same place."""
    return tiff(
        [
            (256, 4, [width]),
            (257, 4, [strips]),
            (258, 3, [8]),
            (259, 3, [1]),
            (262, 3, [1]),
            (273, 4, struct.pack("<I", 8) * strips),
            (277, 3, [1]),
            (278, 4, [1]),
        ]
    )


def gif_frame(width: int, height: int, frame_width: int, frame_height: int) -> bytes:
    """Make a GIF whose first frame differs in size from its canvas."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF0, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0)
    return head + frame + b"\2\3\x84\x51\0\0" + b";"


def patch_ispe(data: bytes, width: int, height: int) -> tuple[bytes, int]:
    """Change the size in all headers of an AVIF or HEIF file.

    Return the changed file and the number of headers.
    """
    out, place, count = bytearray(data), 0, 0
    while (place := out.find(b"ispe", place)) >= 0:
        out[place + 8 : place + 16] = struct.pack(">II", width, height)
        place += 4
        count += 1
    return bytes(out), count
