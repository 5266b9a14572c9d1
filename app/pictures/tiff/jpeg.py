# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Decodes JPEG data inside a TIFF: strips and tiles (compression 7), and whole files (previews).

libjpeg derives the colour space from markers that strips and tiles usually lack. Therefore the
TIFF's tags decide here, and this module inserts an Adobe marker to tell libjpeg.
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

_HEAD = 1 << 16  # bytes of a JPEG file that are searched first for the frame header
_MAX_SEGMENTS = 1000
_MAX_SCANS = 100  # a normal progressive JPEG has about ten
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_READABLE = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; Huffman coded
_COMPONENTS = (1, 3, 4)  # numbers of components that Pillow supports
# See holds_rgb: tolerance in levels of 255, and the accepted fraction of pixels beyond it.
_OUTSIDE, _MOST_OUTSIDE = 24, 0.1
_SOS, _APP0, _APP14, _EOI = 0xDA, 0xE0, 0xEE, 0xD9


@dataclass(frozen=True)
class _Frame:
    """The fields of a frame header (SOF)."""

    marker: int
    precision: int
    size: tuple[int, int]
    sampling: tuple[int, ...]  # horizontal and vertical factor of each component, 4 bits each


@dataclass(frozen=True)
class _Stream:
    """A JPEG, split at its first scan."""

    segments: list[tuple[int, bytes]]  # marker code, and the bytes of the segment from 0xFF on
    scans: bytes  # all bytes from the first scan on
    frame: _Frame | None

    def says_ycbcr(self) -> bool:
        """Whether the stream is marked as YCbCr by JFIF, an Adobe marker or subsampled chroma."""
        adobe = [data for marker, data in self.segments if marker == _APP14]
        if adobe and adobe[0][4:9] == b"Adobe" and len(adobe[0]) >= 16:
            return adobe[0][15] == 1
        if any(marker == _APP0 and data[4:8] == b"JFIF" for marker, data in self.segments):
            return True
        return self.frame is not None and len(set(self.frame.sampling)) > 1


def frame_size(tiff: Tiff, at: int) -> tuple[int, int] | None:
    """Width and height of the JPEG at a position, in pixels; None if there is no JPEG.

    The lossless JPEG of a camera's sensor stores adjacent pixels as components, so its width is
    multiplied by the number of components.
    """
    if not 0 < at < tiff.length:
        return None
    for length in (_HEAD, 32 * _HEAD):  # EXIF and a profile may come first
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
    """Decode a strip or tile.

    Args:
        data: JPEG data of the strip or tile.
        tables: the tag JPEGTables, which all strips or tiles share.
        ycbcr: whether three components are YCbCr; None: the markers in the data decide.
        samples: the required number of components.
        size: required width, and minimum height; the data may have up to 15 padding rows.

    Returns:
        An image in mode "L", "RGB" or "CMYK" for one, three or four components. YCbCr is converted
        to RGB; other components are returned as stored.

    Raises:
        BadRequest: the JPEG has another size or number of components, or is of an unsupported
            kind, for example with two components (grey and alpha).
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
    # Undo Pillow's inversion of CMYK: Adobe programs store inverted CMYK in JPEG files, but not in
    # TIFF.
    return ImageChops.invert(image) if image.mode == "CMYK" else image


def holds_rgb(chunks: Iterable[bytes], tables: bytes | None) -> bool:
    """Whether data that the TIFF declares as YCbCr are actually RGB, which some writers store.

    True YCbCr data, converted to RGB, are within the range of RGB, apart from JPEG's errors. If
    many pixels are outside, the data are not YCbCr. To save time, the data are decoded at an eighth
    of their size.
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
    """Open a strip or tile as a JPEG file, with an Adobe marker that states whether it is YCbCr."""
    head = [body for marker, body in stream.segments if marker not in (_APP0, _APP14)]
    if stream.frame is not None and len(stream.frame.sampling) == 3:
        head.insert(0, struct.pack(">BBH5sHHHB", 0xFF, _APP14, 14, b"Adobe", 100, 0, 0, ycbcr))
    shared = [body for _, body in _parse(tables).segments] if tables else []
    data = b"".join([b"\xff\xd8", *shared, *head, stream.scans])
    return Image.open(io.BytesIO(data), formats=("JPEG",))


def whole(data: bytes, size: tuple[int, int]) -> Image.Image:
    """Decode a complete JPEG file, whose own markers define its colours."""
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
    """Split a stream into segments up to its first scan or a defect. JPEGTables have no scan."""
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
