# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the orientation is found wherever EXIF or XMP state it, even among broken entries."""

from __future__ import annotations

import io
import struct
import zlib

import pytest

from app.pictures.decode import decode
from tests.pictures import encoded, picture

WIDE, UPRIGHT = (60, 40), (40, 60)


def exif(*entries: bytes, order: str = "<") -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    body = struct.pack(order + "IH", 8, len(entries)) + b"".join(entries)
    return head + body + bytes(4)


def entry(tag: int, kind: int, count: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")


def orientation(value: int, order: str = "<") -> bytes:
    return entry(0x0112, 3, 1, struct.pack(order + "H", value), order)


def jpeg(data: bytes, name: bytes = b"Exif\0\0") -> bytes:
    plain, content = encoded(picture(*WIDE), "JPEG"), name + data
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + plain[2:]


def png(kind: bytes, content: bytes, at_end: bool = False) -> bytes:
    plain = encoded(picture(*WIDE))
    place = plain.index(b"IEND") - 4 if at_end else 33
    chunk = struct.pack(">I", len(content)) + kind + content
    chunk += struct.pack(">I", zlib.crc32(kind + content))
    return plain[:place] + chunk + plain[place:]


def size(data: bytes) -> tuple[int, int]:
    return decode(io.BytesIO(data), 10**6).size


ODD = {
    "a rational of 0/0": entry(0x011A, 5, 1, struct.pack("<I", 0)),
    "a signed rational": entry(0x011A, 10, 1, struct.pack("<I", 8)),
    "text for a number": entry(0x011A, 2, 3, b"72\0"),
    "a type that does not exist": entry(0x011A, 99, 1, b""),
    "values beyond the end": entry(0x010F, 2, 1 << 31, struct.pack("<I", 1 << 30)),
    "a directory that is a number": entry(0x8769, 3, 1, b"\1\0"),
    "GPS beyond the end": entry(0x8825, 4, 1, struct.pack("<I", 1 << 30)),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_tag_beside_it_does_not_matter(odd: str) -> None:
    data = exif(orientation(6), ODD[odd])
    webp = encoded(picture(*WIDE), "WEBP", exif=b"Exif\0\0" + data)
    for file in (jpeg(data), png(b"eXIf", data), webp):
        assert size(file) == UPRIGHT


TYPES = {
    "byte": entry(0x0112, 1, 1, b"\6"),
    "long": entry(0x0112, 4, 1, b"\6\0\0\0"),
    "signed short": entry(0x0112, 8, 1, b"\6\0"),
    "two values": entry(0x0112, 3, 2, b"\6\0\1\0"),
    "float": entry(0x0112, 11, 1, struct.pack("<f", 6)),
}


@pytest.mark.parametrize("kind", TYPES)
def test_it_may_be_of_any_type(kind: str) -> None:
    assert size(jpeg(exif(TYPES[kind]))) == UPRIGHT


def test_byte_order_and_a_doubled_head_do_not_matter() -> None:
    big = exif(orientation(6, ">"), order=">")
    assert size(jpeg(big)) == UPRIGHT
    assert size(jpeg(b"Exif\0\0" + big)) == UPRIGHT


@pytest.mark.parametrize(
    "data",
    [b"", b"junk", b"II*\0", b"II*\0\xff\xff\xff\xff", exif(orientation(0)), exif(orientation(9)),
     exif(entry(0x0112, 3, 0, b"")), exif(entry(0x0112, 2, 2, b"x\0")),
     exif(entry(0x0112, 11, 1, struct.pack("<f", float("nan"))))],
)  # fmt: skip
def test_what_makes_no_sense_is_upright(data: bytes) -> None:
    assert size(jpeg(data)) == size(png(b"eXIf", data)) == WIDE


def test_png_may_keep_it_in_text_and_after_the_pixels() -> None:
    data = exif(orientation(6))
    digits = f"\nexif\n{len(data):8}\n{data.hex()}\n".encode()
    assert size(png(b"tEXt", b"Raw profile type exif\0" + digits)) == UPRIGHT
    packed = b"Raw profile type exif\0\0" + zlib.compress(digits)
    assert size(png(b"zTXt", packed, at_end=True)) == UPRIGHT
    assert size(png(b"eXIf", data, at_end=True)) == UPRIGHT


@pytest.mark.parametrize(("by_exif", "expected"), [(1, WIDE), (6, UPRIGHT), (None, UPRIGHT)])
def test_exif_counts_before_xmp(by_exif: int | None, expected: tuple[int, int]) -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    file = jpeg(xmp, b"http://ns.adobe.com/xap/1.0/\0")
    if by_exif is not None:
        content = b"Exif\0\0" + exif(orientation(by_exif))
        length = struct.pack(">H", len(content) + 2)
        file = file[:2] + b"\xff\xe1" + length + content + file[2:]
    assert size(file) == expected
