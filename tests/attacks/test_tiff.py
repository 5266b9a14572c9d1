# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests TIFF files that demand more than their picture needs, or contain less than they state."""

from __future__ import annotations

import contextlib
import io
import lzma
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from app.errors import BadRequest, TooLarge
from app.pictures import decode as images
from tests.pictures import encoded, picture
from tests.tiffs import Page, Value, page, tiff

BUDGET = 120_000_000
RGB, BLACK_IS_ZERO = 2, 1
GREY = np.zeros((100, 100), np.uint8)
PHOTO = np.asarray(picture(100, 100))


def grey(entries: dict[int, Value], chunks: list[bytes] | None = None) -> bytes:
    return tiff(page(GREY, BLACK_IS_ZERO, entries, chunks=chunks))


def strips(count: int) -> bytes:
    """Make a TIFF with rows of ten pixels, one per strip; all strips lie at the same place."""
    offsets: dict[int, Value] = {273: [8] * count, 279: [10] * count}
    sizes: dict[int, Value] = {256: 10, 257: count, 278: 1}
    return tiff(page(GREY, BLACK_IS_ZERO, sizes | offsets, chunks=[]))


def chain(count: int) -> bytes:
    """Make a TIFF of directories with one entry each, where every directory points to the next."""
    one = struct.pack("<HHHII", 1, 254, 4, 1, 1)
    links = (8 + 18 * number for number in range(1, count + 1))
    return struct.pack("<2sHI", b"II", 42, 8) + b"".join(
        one + struct.pack("<I", at) for at in links
    )


def of_entries(count: int, stored: int) -> bytes:
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16)
    return head + struct.pack("<Q", count) + bytes(20 * stored)


TOO_LARGE = {
    "tile": lambda: grey({259: 8, 322: 46336, 323: 46336}, [zlib.compress(bytes(10**6))]),
    "wide tile": lambda: grey({322: 100_000_000, 323: 16}),
    "strips": lambda: strips(1_000_000),
    "tiles": lambda: grey({256: 20_000, 257: 5_000, 322: 1, 323: 1}),
    "channels": lambda: grey({277: 65535, 256: 4000, 257: 4000}),
    "pixels": lambda: grey({256: 20_000, 257: 20_000}),
    "pixels below": lambda: tiff(
        page(GREY, BLACK_IS_ZERO, {254: 1}, below=[page(GREY, BLACK_IS_ZERO, {256: 2**31})])
    ),
    "one strip": lambda: grey(
        {256: 12_000, 257: 10_000, 258: 64, 259: 5, 278: 10_000}, [b"x" * 100]
    ),
}
BROKEN = {
    "entries": lambda: of_entries(1_000_000, 1_000_000),
    "entries that are not there": lambda: of_entries(2**60, 10),
    "directories": lambda: chain(500_000),
    "values": lambda: b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIII", 256, 3, 2**32 - 1, 8, 0),
    "bits": lambda: grey({258: 65535}),
    "no rows": lambda: grey({257: 0}),
    "no offset": lambda: tiff(Page({256: 10, 257: 10})),
    "strip beyond the end": lambda: grey({257: 200, 278: 200}),
    "half of the strips": lambda: grey({278: 10}, [bytes(1000)] * 5),
    "an empty strip": lambda: grey({278: 50, 259: 5}, [bytes(1000), b""]),
    "overlapping strips": lambda: grey({278: 1, 259: 8, 273: [8] * 100, 279: [9000] * 100}),
    "unpacked to far more": lambda: grey({259: 8}, [zlib.compress(bytes(50_000_000))]),
    "unpacked too short": lambda: grey({259: 8}, [zlib.compress(bytes(9000))]),
    "lzma of too much memory": lambda: grey(
        {259: 34925},
        [lzma.compress(bytes(20000), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}])],
    ),
    "a jpeg larger than its strip": lambda: tiff(
        page(PHOTO, RGB, {259: 7}, chunks=[encoded(picture(2000, 2000), "JPEG")])
    ),
    "a webp larger than its strip": lambda: tiff(
        page(PHOTO, RGB, {259: 50001}, chunks=[encoded(picture(2000, 2000), "WEBP")])
    ),
}


@pytest.mark.parametrize("name", [*TOO_LARGE, *BROKEN])
def test_what_costs_too_much_is_refused_before_memory_is_spent(name: str) -> None:
    data = (TOO_LARGE | BROKEN)[name]()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge if name in TOO_LARGE else BadRequest):
            images.decode(io.BytesIO(data), BUDGET)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize(
    "data",
    [
        grey({259: 8, 278: 64}, [zlib.compress(bytes(6400))] * 2),  # the last strip is padded
        grey({278: 2**32 - 1}),
        grey({278: 0}),
        tiff(page(GREY, BLACK_IS_ZERO, {330: [8, 8, 8]})),  # SubIFDs points to no directory
    ],
)
def test_what_is_odd_but_complete_is_answered(data: bytes) -> None:
    assert images.decode(io.BytesIO(data), BUDGET).size == (100, 100)


def test_a_loop_of_directories_ends() -> None:
    data = bytearray(tiff(page(GREY, BLACK_IS_ZERO, {254: 1})))
    data[-4:] = data[4:8]  # links the last directory to the first one
    images.decode(io.BytesIO(data), BUDGET)


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
)
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_file_whose_end_is_missing_is_refused(compression: str, part: float) -> None:
    """A cut is noticed, whether Pillow writes the directory before the strips or after them."""
    image = picture(300, 200)
    data = encoded(image, "TIFF", compression=compression, strip_size=20_000)
    with pytest.raises(BadRequest):
        images.decode(io.BytesIO(data[: int(len(data) * part)]), BUDGET)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_a_tail_of_zeros_is_refused(compression: str) -> None:
    data = encoded(picture(300, 200), "TIFF", compression=compression)
    with Image.open(io.BytesIO(data)) as written:
        assert isinstance(written, TiffImagePlugin.TiffImageFile)
        offset = written.tag_v2[273][-1]
        count = written.tag_v2[279][-1]
    half = offset + count // 2
    with pytest.raises(BadRequest, match="damaged or incomplete"):
        images.decode(
            io.BytesIO(data[:half] + bytes(count - count // 2) + data[offset + count :]), BUDGET
        )


def test_noise_within_a_file_is_an_answer_or_a_clear_refusal() -> None:
    random = np.random.default_rng(7)
    files = [
        encoded(picture(64, 48), "TIFF", compression=name)
        for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
    ]
    for turn in range(1500):
        data = bytearray(files[turn % len(files)])
        front = np.arange(len(data)) if turn % 2 else np.r_[0:16, len(data) - 250 : len(data)]
        for at in random.choice(front, 3):
            data[at] = random.integers(256)
        with contextlib.suppress(BadRequest, TooLarge):
            images.decode(io.BytesIO(data), 10**6)
