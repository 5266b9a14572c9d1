# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that files of unsupported kinds are recognised by their first bytes.

The error names the kind and the known formats.
"""

from __future__ import annotations

import gzip
import io
import struct

import pytest

from app.errors import BadRequest
from app.pictures import decode as images
from tests.pictures import encoded, picture

FILES = {
    "a PDF document": b"%PDF-1.7\n",
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "an HTML page": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "JSON text": b'{"error": "not found"}',
    "RAW photo (RAF)": b"FUJIFILMCCD-RAW 0201",
    "RAW photo (CR3)": b"\0\0\0\x18ftypcrx \0\0\0\1",
    "RAW photo (ORF)": b"IIRO\x08\0\0\0",
    "RAW photo (RW2)": b"IIU\0\x18\0\0\0",
    "MP4 or QuickTime": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2mp41",
    "QuickTime video": b"\0\0\0\x08wide\0\0\0\0mdat",
    "WebM": b"\x1aE\xdf\xa3\x01\0\0\0",
    "JPEG XL": b"\xff\x0a\xfa\x7f",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "Photoshop": b"8BPS\0\1",
    "icon (ICO)": b"\0\0\1\0\1\0\x10\x10",
    "Targa": b"\0\0\2\0\0\0\0\0\0\0\0\0\x40\0\x30\0\x18\0",
    "gzip": gzip.compress(b"x"),
    "ZIP": b"PK\3\4\x14\0",
    "macOS keeps beside": b"\0\5\x16\7\0\2\0\0",
    "base64": b"iVBORw0KGgoAAAANSUhEUgAA",
    "zeros": bytes(5000),
    "empty": b"",
}


@pytest.mark.parametrize("name", FILES)
def test_it_is_named(name: str) -> None:
    with pytest.raises(BadRequest, match="known formats: JPEG, PNG") as caught:
        images.decode(io.BytesIO(FILES[name]), 10**6)
    assert name in caught.value.message
    assert caught.value.title == "Invalid image"


@pytest.mark.parametrize("error", [struct.error, IndexError, KeyError, OverflowError])
def test_a_structure_that_makes_no_sense_is_a_damaged_image(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(*_: object) -> None:
        raise error

    monkeypatch.setitem(images._CHECKS, "GIF", check)
    with pytest.raises(BadRequest, match="The GIF is damaged"):
        images.decode(io.BytesIO(encoded(picture(8, 8), "GIF")), 10**6)


def test_no_memory_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*_: object) -> None:
        raise MemoryError

    monkeypatch.setitem(images._CHECKS, "GIF", check)
    with pytest.raises(MemoryError):
        images.decode(io.BytesIO(encoded(picture(8, 8), "GIF")), 10**6)
