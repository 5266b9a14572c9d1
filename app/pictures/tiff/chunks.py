# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Decompresses strips and tiles of a TIFF to lines of bytes, band by band.

libtiff (through Pillow) decompresses LZW, PackBits, Zstandard and CCITT. It gets a small TIFF that
this module writes, with the compressed strips and a minimal directory, so that libtiff never parses
the client's directory. The module ``samples`` interprets the bytes.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import BadRequest
from app.pictures.source import refused
from app.pictures.tiff import jpeg
from app.pictures.tiff.colours import plain_ycbcr
from app.pictures.tiff.directory import Directory, Tiff
from app.pictures.tiff.layout import Layout
from app.pictures.tiff.tags import CCITT, Compression, Photometric, Tag

Bytes = NDArray[np.uint8]

_BAND_BYTES = 1 << 23
_BAND_CHUNKS = 512
# At most this many compressed bytes are read for a strip: a multiple of its decompressed size, plus
# a constant. Compression can enlarge data: CCITT makes noise three times as large.
_MOST_GROWTH, _MOST_EXTRA = 8, 1 << 16
_LOOKED_AT = 8  # strips or tiles that are sampled to find the colours of JPEG data
_LZMA_MEMORY = 1 << 27
_TABLES_BYTES = 1 << 16
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def bands(tiff: Tiff, directory: Directory, layout: Layout) -> Iterator[tuple[int, Bytes]]:
    """Decompress the picture in bands, from top to bottom.

    Yields:
        The first row of a band, and its bytes: [planes, lines, strips or tiles across, bytes].
        There is one plane, or with planar storage one for each used sample.

    Raises:
        BadRequest: the data are damaged or incomplete.
    """
    across, down = layout.across, layout.down
    chunk_lines = layout.lines(layout.chunk[1])
    size = max(1, across * chunk_lines * layout.line_bytes)
    group = max(1, min(_BAND_BYTES // size, _BAND_CHUNKS // across))
    planes = layout.used if layout.planar else [0]
    for first in range(0, down, group):
        rows = [layout.rows(index) for index in range(first, min(first + group, down))]
        lines = [layout.lines(count) for count in rows for _ in range(across)]
        band = []
        for plane in planes:
            start = (plane * down + first) * across
            parts = layout.parts[start : start + len(lines)]
            flat = _unpacked(tiff, directory, layout, parts, lines)
            band.append(_side_by_side(flat, across, chunk_lines))
        step = max(1, _BAND_BYTES // (across * layout.line_bytes))
        for line in range(0, band[0].shape[0], step):
            parts_of_band = [plane[line : line + step] for plane in band]
            part = np.stack(parts_of_band) if layout.planar else parts_of_band[0][None]
            yield first * layout.chunk[1] + line * layout.subsampling[1], part


def with_jpeg_colours(tiff: Tiff, directory: Directory, layout: Layout) -> Layout:
    """The layout, completed with the colours of JPEG strips or tiles: RGB or YCbCr.

    Some strips or tiles are decoded to find out, because the TIFF's tags may be wrong. libjpeg
    converts YCbCr to RGB, unless the file states unusual coefficients or ranges.
    """
    if layout.compression != Compression.JPEG or layout.planar or layout.samples != 3:
        return layout
    if layout.photometric == Photometric.RGB:
        return replace(layout, jpeg_ycbcr=None)
    if layout.photometric != Photometric.YCBCR:
        return layout
    some = layout.parts[:: max(1, len(layout.parts) // _LOOKED_AT)]
    tables = directory.raw(Tag.JPEG_TABLES, _TABLES_BYTES)
    most = _most_bytes(layout, layout.chunk[1])
    if jpeg.holds_rgb((tiff.read(offset, min(count, most)) for offset, count in some), tables):
        return replace(layout, photometric=Photometric.RGB)
    if plain_ycbcr(directory):
        return replace(layout, photometric=Photometric.RGB, jpeg_ycbcr=True)
    return layout


def _most_bytes(layout: Layout, lines: int) -> int:
    """The most compressed bytes that are read for a strip or tile of ``lines`` lines.

    The file may state any number, so a damaged one could otherwise make us read gigabytes.
    """
    return _MOST_GROWTH * lines * layout.line_bytes + _MOST_EXTRA


def _side_by_side(flat: Bytes, across: int, chunk_lines: int) -> Bytes:
    """Rearrange consecutive chunks, [lines, bytes], to [lines of the picture, across, bytes]."""
    if across == 1:
        return flat[:, None]
    chunks = flat.reshape(-1, across, chunk_lines, flat.shape[1])
    return chunks.transpose(0, 2, 1, 3).reshape(-1, across, flat.shape[1])


def _unpacked(
    tiff: Tiff,
    directory: Directory,
    layout: Layout,
    parts: Sequence[tuple[int, int]],
    lines: Sequence[int],
) -> Bytes:
    """Decompress consecutive strips or tiles to an array [lines, bytes]."""
    width = layout.line_bytes
    most = _most_bytes(layout, max(lines))
    packed = [tiff.read(offset, min(count, most)) for offset, count in parts]
    if layout.reversed_bits:
        packed = [data.translate(_REVERSED) for data in packed]
    match layout.compression:
        case Compression.NONE:
            return np.frombuffer(b"".join(packed), np.uint8).reshape(-1, width)
        case Compression.DEFLATE | Compression.OLD_DEFLATE | Compression.LZMA:
            full = layout.lines(layout.chunk[1]) * width
            unpacked = [
                _inflated(layout.compression, chunk, count * width, full)
                for chunk, count in zip(packed, lines, strict=True)
            ]
            return np.frombuffer(b"".join(unpacked), np.uint8).reshape(-1, width)
        case Compression.JPEG | Compression.WEBP:
            return np.concatenate(
                [
                    _picture(directory, layout, chunk, count)
                    for chunk, count in zip(packed, lines, strict=True)
                ]
            )
        case _:
            return _by_libtiff(directory, layout, packed, lines)


def _inflated(compression: Compression, data: bytes, size: int, full: int) -> bytes:
    """The first ``size`` bytes of a compressed stream.

    The stream is read to its end to verify its checksum. Two deviations are tolerated: some writers
    pad the last strip to the ``full`` size of the others, and some do not terminate streams.
    """
    decoder = (
        lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
        if compression == Compression.LZMA
        else zlib.decompressobj()
    )
    try:
        unpacked = decoder.decompress(data, size)
        if len(unpacked) < size:
            raise _damaged(compression)
        rest = getattr(decoder, "unconsumed_tail", b"")
        more = b"" if decoder.eof else decoder.decompress(rest, full - size + 1)
    except (lzma.LZMAError, zlib.error):
        raise _damaged(compression) from None
    if more and not decoder.eof:
        raise _damaged(compression)
    return unpacked


def _damaged(compression: Compression) -> BadRequest:
    """The error for strips or tiles that do not decompress to their size."""
    return refused(
        f"The TIFF file is damaged or incomplete: its {compression.name} data end early or cannot "
        "be unpacked"
    )


def _picture(directory: Directory, layout: Layout, data: bytes, rows: int) -> Bytes:
    """Decode a strip or tile that is JPEG or WebP data, to lines of samples."""
    samples = 1 if layout.planar else layout.samples
    size = (layout.chunk[0], rows)
    if layout.compression == Compression.JPEG:
        tables = directory.raw(Tag.JPEG_TABLES, _TABLES_BYTES)
        image = jpeg.chunk(data, tables, layout.jpeg_ycbcr, samples, size)
    else:
        image = Image.open(io.BytesIO(data), formats=("WEBP",))
        if image.size != size or len(image.getbands()) != samples:
            raise refused(
                "The TIFF file is damaged: the WebP data of a strip or tile have another size "
                "or number of channels than the file says"
            )
    return np.asarray(image)[:rows].reshape(rows, -1)


def _by_libtiff(
    directory: Directory, layout: Layout, packed: Sequence[bytes], lines: Sequence[int]
) -> Bytes:
    """Decompress with libtiff, as strips of a greyscale TIFF with 8 bits (CCITT: 1 bit) a pixel."""
    bilevel = layout.compression in CCITT
    width = layout.chunk[0] if bilevel else layout.line_bytes
    offsets = np.cumsum([8, *map(len, packed)])
    entries = {
        Tag.WIDTH: [width],
        Tag.HEIGHT: [sum(lines)],
        Tag.BITS: [1 if bilevel else 8],
        Tag.COMPRESSION: [layout.compression],
        Tag.PHOTOMETRIC: [1],
        Tag.STRIP_OFFSETS: offsets[:-1].tolist(),
        Tag.SAMPLES: [1],
        Tag.ROWS_PER_STRIP: [max(lines)],
        Tag.STRIP_COUNTS: [len(chunk) for chunk in packed],
    }
    for tag in (Tag.T4_OPTIONS, Tag.T6_OPTIONS):
        if bilevel and tag in directory:
            entries[tag] = [directory.integer(tag, 0) & 0x7]
    image = Image.open(io.BytesIO(_tiff(packed, entries, int(offsets[-1]))), formats=("TIFF",))
    try:
        image.load()
    except OSError:
        raise _damaged(layout.compression) from None
    return _pixels(image, bilevel)


def _pixels(image: Image.Image, bilevel: bool) -> Bytes:
    """The pixels of an image as an array; converted in steps, which halves the memory needed."""
    width, height = image.size
    pixels = np.empty((height, (width + 7) // 8 if bilevel else width), np.uint8)
    step = max(1, _BAND_BYTES // width)
    for top in range(0, height, step):
        part = np.asarray(image.crop((0, top, width, min(top + step, height))))
        pixels[top : top + step] = np.packbits(part, axis=1) if bilevel else part
    return pixels


def _tiff(packed: Sequence[bytes], entries: dict[Tag, list[int]], at: int) -> bytes:
    """A TIFF file with these strips, followed by the directory; all values are 32-bit integers."""
    head, extra = [], []
    behind = at + 2 + 12 * len(entries) + 4
    for tag, values in sorted(entries.items()):
        data = struct.pack(f"<{len(values)}I", *values)
        if len(data) > 4:
            extra.append(data)
            data, behind = struct.pack("<I", behind), behind + len(data)
        head.append(struct.pack("<HHI", tag, 4, len(values)) + data)
    return b"".join(
        [
            *(b"II*\0", struct.pack("<I", at)),
            *packed,
            *(struct.pack("<H", len(entries)), *head, bytes(4)),
            *extra,
        ]
    )
