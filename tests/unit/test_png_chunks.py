# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests PNG chunks: broken metadata are ignored, but what the pixels depend on must be whole."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app.errors import BadRequest
from app.pictures.decode import decode
from tests.pictures import encoded, picture


def chunk(kind: bytes, content: bytes, damage: int = 0) -> bytes:
    checksum = zlib.crc32(kind + content) ^ damage
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def with_chunks(*chunks: bytes, image: Image.Image | None = None) -> bytes:
    plain = encoded(image or picture(60, 40))
    return plain[:33] + b"".join(chunks) + plain[33:]


def pixels(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(decode(io.BytesIO(data), 10**6).image, np.int64)


LARGE = bytes(3 << 20)
HARMLESS = {
    "zTXt of 3 MB": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LARGE)),
    "iTXt of 3 MB": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE)),
    "tEXt of 3 MB": chunk(b"tEXt", b"prompt\0" + LARGE),
    "iCCP of 3 MB": chunk(b"iCCP", b"icc\0\0" + zlib.compress(LARGE)),
    "empty iCCP": chunk(b"iCCP", b""),
    "iCCP without a NUL": chunk(b"iCCP", b"profile"),
    "iCCP of unknown method": chunk(b"iCCP", b"icc\0\1" + zlib.compress(b"x" * 200)),
    "iCCP that is not packed": chunk(b"iCCP", b"icc\0\0junk"),
    "zTXt of unknown method": chunk(b"zTXt", b"Raw profile type exif\0\7junk"),
    "text without a NUL": chunk(b"tEXt", b"text"),
    "bad checksums": b"".join(
        chunk(kind, bytes(8), 1) for kind in (b"tEXt", b"gAMA", b"tRNS", b"eXIf", b"prIv")
    ),
    "short bodies": b"".join(
        chunk(kind, b"")
        for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tRNS", b"cICP", b"tIME", b"acTL")
    ),
    "long bodies": b"".join(
        chunk(kind, bytes(99)) for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"cICP", b"acTL")
    ),
    "zero gamma": chunk(b"gAMA", bytes(4)),
}  # fmt: skip


@pytest.mark.parametrize("kind", HARMLESS)
def test_metadata_are_no_reason_to_refuse(kind: str) -> None:
    expected = np.asarray(picture(60, 40), int)
    assert np.array_equal(pixels(with_chunks(HARMLESS[kind])), expected)


def test_the_end_may_be_damaged_or_missing() -> None:
    data = encoded(picture(60, 40))
    expected = np.asarray(picture(60, 40), int)
    for file in (data[:-12], data[:-3], data[:-4] + bytes(4), data[:-12] + b"trailing junk"):
        assert np.array_equal(pixels(file), expected)


def test_damaged_pixels_are_refused() -> None:
    data = encoded(picture(60, 40))
    end = data.index(b"IEND") - 4
    with pytest.raises(BadRequest, match="checksum of its pixels"):
        pixels(data[: end - 4] + bytes(4) + data[end:])
    for cut in (end - 1, end - 100, data.index(b"IDAT") + 4, 34):
        with pytest.raises(BadRequest, match="broke off"):
            pixels(data[:cut])
    with pytest.raises(BadRequest, match="checksum of its IHDR"):
        pixels(data[:29] + bytes(4) + data[33:])
    palette = encoded(picture(60, 40).quantize(8))
    with pytest.raises(BadRequest, match="palette"):
        pixels(palette[:33] + palette[palette.index(b"IDAT") - 4 :])


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (1, b"\x80", 1, [255, 0]),
        (2, b"\x40", 1, [255, 0]),
        (4, b"\x50", 5, [255, 0]),
        (8, b"\x55\0", 0x55, [255, 0]),
        (16, b"\0\0\x55\x55", 0, [255, 0x55]),
        (16, b"\0\1\0\0", 1, [255, 0]),  # the two levels are equal in 8 bits, but not in 16
    ],
)
def test_a_transparent_level_counts_at_every_depth(
    depth: int, row: bytes, key: int, expected: list[int]
) -> None:
    head = struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"tRNS", struct.pack(">H", key))
    data += chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    assert pixels(data)[0, :, 0].tolist() == expected


P3 = bytes((12, 13, 0, 1))


def test_code_points_say_what_colours_mean() -> None:
    green = Image.new("RGB", (4, 4), (80, 200, 80))
    plain = pixels(encoded(green))[0, 0]
    wide = pixels(with_chunks(chunk(b"cICP", P3), image=green))[0, 0]
    assert wide[1] > plain[1] + 2  # P3's green lies beyond sRGB's
    assert wide[0] < plain[0] - 20
    for same in (bytes((1, 13, 0, 1)), bytes((1, 1, 0, 1)), bytes((2, 2, 0, 1)), bytes(4)):
        assert np.array_equal(pixels(with_chunks(chunk(b"cICP", same), image=green))[0, 0], plain)


def test_a_gamma_says_what_levels_mean() -> None:
    grey = Image.new("L", (4, 4), 55)
    linear = chunk(b"gAMA", struct.pack(">I", 100_000))
    for image in (grey, grey.convert("RGB"), grey.convert("LA"), grey.convert("P")):
        assert abs(pixels(with_chunks(linear, image=image))[0, 0, 0] - 128) <= 1
        # An sRGB chunk takes precedence over gAMA.
        srgb = with_chunks(linear, chunk(b"sRGB", b"\0"), image=image)
        assert pixels(srgb)[0, 0].tolist() == [55, 55, 55]
    usual = chunk(b"gAMA", struct.pack(">I", 45_455))
    assert pixels(with_chunks(usual, image=grey))[0, 0].tolist() == [55, 55, 55]


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_brought_to_the_range_of_a_screen(transfer: int) -> None:
    """Brighter levels never become darker, and medium levels do not become white."""
    ramp = Image.fromarray(np.arange(0, 256, 8, dtype=np.uint8)[None]).convert("RGB")
    levels = pixels(with_chunks(chunk(b"cICP", bytes((9, transfer, 0, 1))), image=ramp))[0, :, 0]
    assert (np.diff(levels) >= 0).all()
    assert levels[0] == 0
    assert levels[-1] >= 240
    assert 90 < levels[len(levels) // 2] < 220
