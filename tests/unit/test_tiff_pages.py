# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests which picture of a TIFF is used: never a thumbnail in place of the photo."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.errors import BadRequest
from app.pictures import decode as images
from tests.pictures import encoded, picture
from tests.tiffs import Page, Value, page, tiff

RGB, YCBCR, CFA, LINEAR_RAW = 2, 6, 32803, 34892
REDUCED: dict[int, Value] = {254: 1}
DNG: dict[int, Value] = {50706: [1, 4, 0, 0]}

PHOTO = np.asarray(picture(96, 64))
THUMB = PHOTO[::4, ::4].copy()
SENSOR = np.zeros((64, 96), np.uint16)


def decode(data: bytes) -> NDArray[np.int64]:
    return np.asarray(images.decode(io.BytesIO(data), 10**6).image).astype(np.int64)


def thumb(entries: dict[int, Value] | None = None, *below: Page) -> Page:
    return page(THUMB, RGB, REDUCED | (entries or {}), below=below)


def photo(entries: dict[int, Value] | None = None) -> Page:
    return page(PHOTO, RGB, entries)


def sensor(photometric: int = CFA, compression: int = 1) -> Page:
    return page(SENSOR, photometric, {254: 0, 259: compression})


def preview(width: int = 96, height: int = 64) -> Page:
    """Make a page with a JPEG file but without width and height, as in NEF, PEF and ARW files."""
    data = encoded(picture(96, 64).resize((width, height)), "JPEG", quality=95)
    return Page({254: 1, 259: 6, 513: 8, 514: len(data)}, [data])


def with_previews(data: bytes) -> bytes:
    """Set entry 513 of each preview to the place of its JPEG in the file."""
    out, at = bytearray(data), -1
    for number in range(data.count(struct.pack("<HHI", 513, 3, 1))):
        entry = data.index(struct.pack("<HHI", 513, 3, 1), at + 1)
        jpeg = -1
        for _ in range(number + 1):
            jpeg = data.index(b"\xff\xd8\xff", jpeg + 1)
        struct.pack_into("<I", out, entry + 8, jpeg)
        at = entry
    return bytes(out)


@pytest.mark.parametrize(
    "pages",
    [
        [thumb(), photo()],
        [thumb(None, photo())],
        [thumb(DNG, thumb(), photo())],
        [page(THUMB, RGB, {255: 2}), photo()],
        [page(THUMB, RGB, below=[photo()])],  # the thumbnail is not marked
        [photo(), thumb()],
        [page(PHOTO, RGB, below=[thumb(), thumb()])],  # a pyramid of smaller copies
        [thumb(), photo(), thumb(), page(255 - PHOTO, RGB)],
    ],
)
def test_the_full_picture_counts(pages: list[Page]) -> None:
    assert np.array_equal(decode(tiff(*pages)), PHOTO)


def test_page_one_of_a_document_counts() -> None:
    for subfile in (0, 2):
        pages = [page(pixels, RGB, {254: subfile}) for pixels in (THUMB, PHOTO)]
        assert np.array_equal(decode(tiff(*pages)), THUMB)


def test_a_small_picture_that_is_all_there_is_counts() -> None:
    assert np.array_equal(decode(tiff(thumb())), THUMB)


def test_a_picture_below_page_one_is_turned_as_page_one() -> None:
    assert decode(tiff(thumb({274: 6}, photo()))).shape == (96, 64, 3)
    assert decode(tiff(thumb({274: 6}, photo({274: 1})))).shape == (64, 96, 3)


@pytest.mark.parametrize(
    "pages",
    [
        [thumb(DNG, sensor(), preview())],  # DNG
        [thumb(None, preview(), sensor(compression=34713))],  # NEF
        [sensor(compression=65535), thumb(), preview()],  # PEF
        [thumb(None, sensor(LINEAR_RAW)), preview(94, 62)],  # smaller by a border of the sensor
    ],
)
def test_a_full_size_preview_of_a_camera_raw_counts(pages: list[Page]) -> None:
    shown = decode(with_previews(tiff(*pages)))
    assert shown.shape[0] >= 62
    expected = np.asarray(picture(96, 64).resize(shown.shape[1::-1]))
    assert np.abs(shown - expected).mean() < 4


@pytest.mark.parametrize(
    "pages",
    [
        [sensor()],
        [sensor(LINEAR_RAW)],
        [thumb(DNG, sensor())],
        [thumb(DNG)],  # the photo itself is missing
        [thumb(None, preview(48, 32), sensor(compression=34713))],
        [thumb(None, preview(80, 64), sensor())],
        [sensor(compression=65535), thumb()],
    ],
)
def test_a_camera_raw_without_a_full_picture_is_refused(pages: list[Page]) -> None:
    with pytest.raises(BadRequest, match=r"camera RAW.*export it as JPEG"):
        decode(with_previews(tiff(*pages)))


@pytest.mark.parametrize("magic", [b"IIRO\x08\0\0\0", b"IIRS\x08\0\0\0", b"IIU\0\x18\0\0\0"])
def test_raw_files_with_signatures_of_their_own_are_refused_by_name(magic: bytes) -> None:
    data = tiff(page(THUMB, RGB))
    with pytest.raises(BadRequest, match=r"RAW photo \((ORF|RW2)\)"):
        decode(magic[:4] + data[4:])


def test_a_cr2_is_answered_from_its_large_jpeg_only() -> None:
    def cr2(width: int, height: int) -> bytes:
        jpeg = encoded(picture(96, 64).resize((width, height)), "JPEG", quality=95)
        frame = struct.pack(">BBHBHHB", 0xFF, 0xC3, 14, 14, 64, 48, 2) + b"\1\x11\0\2\x11\0"
        raw = Page({259: 6, 50752: [1, 48, 48]}, [b"\xff\xd8" + frame + bytes(100)])
        first = Page({256: width, 257: height, 258: [8] * 3, 259: 6}, [jpeg])
        return tiff(first, page(THUMB, RGB), raw)

    assert decode(cr2(96, 64)).shape == (64, 96, 3)
    with pytest.raises(BadRequest, match="camera RAW"):
        decode(cr2(48, 32))


def test_old_style_jpeg_is_read_where_it_is_a_whole_file() -> None:
    data = encoded(Image.fromarray(PHOTO), "JPEG", quality=95)
    entries: dict[int, Value] = {256: 96, 257: 64, 258: [8] * 3, 259: 6, 262: YCBCR, 277: 3}
    assert np.abs(decode(tiff(Page(entries, [data]))) - PHOTO).mean() < 4
    with pytest.raises(BadRequest, match="old-style JPEG"):
        decode(tiff(Page(entries, [data[-200:]])))
