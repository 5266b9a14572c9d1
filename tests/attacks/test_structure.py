# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that JPEG and PNG files whose structure makes decoding far too costly are refused.

Each file is decoded in a separate process, so that its memory can be measured.
"""

from __future__ import annotations

import io
import multiprocessing
import resource
import struct
import time
import zlib
from collections.abc import Callable

import psutil
import pytest

from app.errors import TwinlensError
from app.pictures.decode import decode
from tests.pictures import encoded, picture

SECONDS = 5.0  # the check takes less than 0.2 seconds on an idle core
MEGABYTES = 60  # memory that is allowed in addition to that of the file


def segment(kind: int, content: bytes = b"") -> bytes:
    return bytes((0xFF, kind)) + struct.pack(">H", len(content) + 2) + content


def empty_scans(width: int, height: int, scans: int) -> bytes:
    """Make a progressive JPEG of one grey level, with scans of 10 bytes that change nothing."""
    blocks = -(-width // 8) * -(-height // 8)
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    one_code = b"\1" + bytes(15)
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xDB, b"\0" + b"\1" * 64),
            segment(0xC2, frame),
            segment(0xC4, b"\0" + one_code + b"\0"),
            segment(0xC4, b"\x10" + one_code + b"\xe0"),
            segment(0xDA, b"\1\1\0\0\0\0"),
            bytes(-(-blocks // 8)),
            segment(0xDA, b"\1\1\0\1\x3f\0") * scans,
            b"\xff\xd9",
        )
    )


def jpeg_with(junk: bytes, place: bytes = b"\xff\xd8") -> bytes:
    data = encoded(picture(60, 40), "JPEG")
    start = data.index(place) + (2 if place == b"\xff\xd8" else 0)
    return data[:start] + junk + data[start:]


def png_with(junk: bytes) -> bytes:
    data = encoded(picture(60, 40))
    return data[:33] + junk + data[33:]


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


EMPTY_CHUNK, EMPTY_PIXELS = chunk(b"prIv", b""), chunk(b"IDAT", b"")
REFUSED: dict[str, Callable[[], bytes]] = {
    "empty scans": lambda: empty_scans(10_000, 10_000, 40_000),
    "empty scans of a small picture": lambda: empty_scans(64, 64, 40_000),
    "segments before the frame": lambda: jpeg_with(segment(0xE5) * 8_000_000),
    "segments before the scan": lambda: jpeg_with(segment(0xFE) * 8_000_000, b"\xff\xda"),
    "tables": lambda: jpeg_with(segment(0xDB, b"\0" + b"\1" * 64) * 400_000),
    "chunks": lambda: png_with(EMPTY_CHUNK * 3_000_000),
    "chunks of pixels": lambda: png_with(EMPTY_PIXELS * 3_000_000),
}
ANSWERED: dict[str, Callable[[], bytes]] = {
    "fill bytes": lambda: jpeg_with(b"\xff" * 32_000_000),
    "EXIF": lambda: jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 500),
    "colour profiles": lambda: jpeg_with(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 500),
    "text": lambda: png_with(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(1 << 27)))
    ),
    "a profile": lambda: png_with(chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(1 << 27)))),
}


def outcome(data: bytes) -> tuple[str, float, float]:
    """Return the error message (empty on success), CPU seconds, and peak memory in megabytes."""
    before, start = psutil.Process().memory_info().rss, time.process_time()
    try:
        decode(io.BytesIO(data), 120_000_000)
        message = ""
    except TwinlensError as error:
        message = error.message
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return message, seconds, (peak - before) / 1e6


@pytest.mark.parametrize("kind", [*REFUSED, *ANSWERED])
def test_a_look_costs_little_time_and_memory(kind: str) -> None:
    data = {**REFUSED, **ANSWERED}[kind]()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        message, seconds, megabytes = pool.apply(outcome, (data,))
    assert bool(message) == (kind in REFUSED), message
    assert seconds < SECONDS
    assert megabytes < MEGABYTES + 2 * len(data) / 1e6  # `data` is copied to the process


def test_scans_that_real_files_have_are_decoded() -> None:
    assert decode(io.BytesIO(empty_scans(640, 480, 60)), 10**6).size == (640, 480)
