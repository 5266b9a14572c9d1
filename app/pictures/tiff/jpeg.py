# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""JPEG data inside a TIFF: strips and tiles (compression 7), and whole files (previews).

libjpeg guesses the colours of a JPEG from markers that strips do not have; here the TIFF's own
entries decide, and libjpeg is told by an Adobe marker.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from app.pictures.source import refused
from app.pictures.tiff.directory import Tiff

_HEAD = 1 << 16  # bytes in which the frame header of a whole file is looked for, at first
_MAX_SEGMENTS = 1000
_MAX_SCANS = 100  # an honest progressive JPEG has about ten
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_READABLE = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; Huffman coded
_COMPONENTS = (1, 3, 4)  # that Pillow takes from a JPEG
_OUTSIDE, _MOST_OUTSIDE = 24, 0.1  # levels of 255, part of the pixels
_SOS, _APP0, _APP14, _EOI = 0xDA, 0xE0, 0xEE, 0xD9


@dataclass(frozen=True)
class _Frame:
    """What the frame header says."""

    marker: int
    precision: int
    size: tuple[int, int]
    sampling: tuple[int, ...]  # of each component: horizontal and vertical factor in one byte


@dataclass(frozen=True)
class _Stream:
    """A JPEG taken apart up to its first scan."""

    segments: list[tuple[int, bytes]]  # marker, with its bytes from the 0xff on
    scans: bytes  # from the first scan on
    frame: _Frame | None

    def says_ycbcr(self) -> bool:
        """Whether the stream itself tells that it is YCbCr: JFIF, Adobe, or halved chroma."""
        adobe = [data for marker, data in self.segments if marker == _APP14]
        if adobe and adobe[0][4:9] == b"Adobe" and len(adobe[0]) >= 16:
            return adobe[0][15] == 1
        if any(marker == _APP0 and data[4:8] == b"JFIF" for marker, data in self.segments):
            return True
        return self.frame is not None and len(set(self.frame.sampling)) > 1


def frame_size(tiff: Tiff, at: int) -> tuple[int, int] | None:
    """Width and height of the JPEG at a position, in pixels; None where there is none.

    The lossless JPEG of a camera's sensor has several components side by side; its width is of
    all of them.
    """
    if not 0 < at < tiff.length:
        return None
    for length in (_HEAD, 32 * _HEAD):  # a preview may have an EXIF and a profile first
        data = tiff.read(at, min(length, tiff.length - at))
        if data[:2] != b"\xff\xd8":
            return None
        frame = _parse(data).frame
        if frame is not None:
            width, height = frame.size
            across = len(frame.sampling) if frame.marker in _LOSSLESS else 1
            return width * across, height
    return None


def chunk(
    data: bytes, tables: bytes | None, ycbcr: bool | None, samples: int, size: tuple[int, int]
) -> Image.Image:
    """The pixels of a strip or tile.

    Args:
        data: as it lies in the file.
        tables: the entry JPEGTables, shared by all of them.
        ycbcr: whether three components are YCbCr; None where the stream's own markers decide.
        samples: how many components there must be.
        size: width, and the least height; a strip may be padded, but no more than to 16 rows.

    Returns:
        "L", "RGB" or "CMYK" for one, three or four components, as they are stored; only YCbCr has
        become RGB.

    Raises:
        BadRequest: a JPEG of another kind or size, or of two components (grey and transparency).
    """
    stream = _parse(data)
    frame = _checked(stream)
    width, height = frame.size
    if len(frame.sampling) != samples or width != size[0] or not 0 <= height - size[1] < 16:
        raise refused(
            "The TIFF file is damaged: the JPEG data of a strip or tile have another size or "
            "number of channels than the file says"
        )
    if samples not in _COMPONENTS:
        raise refused(
            f"TIFF with JPEG compression of {samples} channels together cannot be read; save it "
            "with LZW"
        )
    image = _opened(stream, tables, stream.says_ycbcr() if ycbcr is None else ycbcr)
    image.load()
    # Pillow inverts four components, as Adobe stores them in JPEG files, but not in TIFF.
    return ImageChops.invert(image) if image.mode == "CMYK" else image


def holds_rgb(chunks: Iterable[bytes], tables: bytes | None) -> bool:
    """Whether data that the TIFF calls YCbCr are RGB, as some writers leave them.

    What was RGB once lies within the RGB cube after the way back, but for what JPEG itself changed.
    Where much does not, the data never were YCbCr. Looked at in an eighth of the size.
    """
    outside, total = 0, 0
    for data in chunks:
        stream = _parse(data)
        if len(_checked(stream).sampling) != 3:
            return False
        image = _opened(stream, tables, False)
        image.draft(None, (1, 1))
        y, cb, cr = np.moveaxis(np.asarray(image, np.float32), 2, 0)
        cb, cr = cb - 128, cr - 128
        rgb = np.stack([y + 1.402 * cr, y - 0.344 * cb - 0.714 * cr, y + 1.772 * cb])
        far = np.any((rgb < -_OUTSIDE) | (rgb > 255 + _OUTSIDE), axis=0)
        outside, total = outside + int(far.sum()), total + far.size
    return outside > _MOST_OUTSIDE * total


def _opened(stream: _Stream, tables: bytes | None, ycbcr: bool) -> Image.Image:
    """A strip or tile as a JPEG file of its own, told whether three components are YCbCr."""
    head = [body for marker, body in stream.segments if marker not in (_APP0, _APP14)]
    if stream.frame is not None and len(stream.frame.sampling) == 3:
        head.insert(0, struct.pack(">BBH5sHHHB", 0xFF, _APP14, 14, b"Adobe", 100, 0, 0, ycbcr))
    shared = [body for _, body in _parse(tables).segments] if tables else []
    data = b"".join([b"\xff\xd8", *shared, *head, stream.scans])
    return Image.open(io.BytesIO(data), formats=("JPEG",))


def whole(data: bytes, size: tuple[int, int]) -> Image.Image:
    """The pixels of a complete JPEG file, coloured as it says itself."""
    frame = _checked(_parse(data))
    if frame.size != size:
        raise refused("The TIFF file is damaged: its JPEG has another size than the file says")
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.load()
    return image


def _checked(stream: _Stream) -> _Frame:
    frame = stream.frame
    if frame is None:
        raise refused("The TIFF file is damaged: its JPEG data have no header")
    if frame.marker in _LOSSLESS:
        raise refused("TIFF with lossless JPEG compression cannot be read; save it with LZW")
    if frame.marker not in _READABLE or frame.precision != 8:
        raise refused(
            f"TIFF with this kind of JPEG compression ({frame.precision} bits, type "
            f"{frame.marker - 0xC0}) cannot be read; save it with LZW"
        )
    if stream.scans.count(b"\xff\xda") > _MAX_SCANS:
        raise refused(f"A JPEG of more than {_MAX_SCANS} scans is not decoded")
    return frame


def _parse(data: bytes) -> _Stream:
    """Take a stream apart, as far as it goes and without failing; tables have no scan."""
    segments: list[tuple[int, bytes]] = []
    frame = None
    at = 2
    while data[:2] == b"\xff\xd8" and at + 4 <= len(data) and len(segments) < _MAX_SEGMENTS:
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (_SOS, _EOI):
            break
        if marker == 0xFF:  # padding
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at : at + 2 + length]
        segments.append((marker, body))
        if marker in _FRAMES and frame is None and len(body) >= 10:
            frame = _frame(marker, body)
        at += 2 + max(length, 2)
    return _Stream(segments, data[at:], frame)


def _frame(marker: int, body: bytes) -> _Frame:
    precision, height, width, components = struct.unpack_from(">BHHB", body, 4)
    sampling = tuple(
        body[11 + 3 * index] for index in range(components) if 11 + 3 * index < len(body)
    )
    return _Frame(marker, precision, (width, height), sampling)
