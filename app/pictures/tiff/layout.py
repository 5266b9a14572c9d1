# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Describes how the pixels of a TIFF picture are stored, and checks all limits.

The sizes and counts in a ``Layout`` have been checked, so memory can be allocated according to
them. Unsupported kinds of TIFF are refused with a message that names them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.errors import TooLarge
from app.pictures.source import check_pixels, refused
from app.pictures.tiff.directory import Directory, Tiff, incomplete
from app.pictures.tiff.tags import (
    CCITT,
    CHANNELS,
    OTHER_COMPRESSIONS,
    OTHER_PHOTOMETRICS,
    Compression,
    Photometric,
    Tag,
)

MAX_CHUNKS = 1 << 16  # strips or tiles of one plane
_UNPACKED_BYTES = 8  # allowed decompressed bytes per pixel of the budget: four 16-bit channels
_LEAST_BUDGET = 1 << 25  # pixels: smaller budgets count as this, so that 64-bit samples fit
_PADDING_PIXELS = 1 << 26  # tiles may cover this many pixels, even if the picture is smaller
_CHUNK_BYTES = 1 << 29  # largest decompressed strip or tile; libtiff needs twice that memory
_BAND_BYTES = 1 << 22
_DEPTHS = {
    "u": (*range(1, 17), 32, 64),
    "i": (8, 16, 32, 64),
    "f": (16, 32, 64),
}
_FORMATS = {1: "u", 2: "i", 3: "f", 4: "u"}  # 4 is "undefined", treated as unsigned
_FORMAT_NAMES = {"u": "unsigned", "i": "signed", "f": "float"}
_ASSOCIATED, _UNASSOCIATED = 1, 2  # values of the tag ExtraSamples: premultiplied alpha or not
_SPECIAL = (Compression.JPEG, Compression.WEBP, Compression.OLD_JPEG)


@dataclass(frozen=True)
class Layout:
    """The format of a picture's samples, and the positions of its strips or tiles."""

    width: int
    height: int
    photometric: Photometric
    compression: Compression
    samples: int  # per pixel, extra samples included
    bits: int  # per sample
    kind: str  # type of the samples: "u" unsigned, "i" signed, "f" float
    order: str  # byte order of the samples: "<" or ">"
    planar: bool  # whether each channel is stored in separate strips or tiles
    predictor: int  # 1: none, 2: horizontal differences, 3: the same for floats
    reversed_bits: bool  # whether the lowest bit of each byte comes first
    alpha: int  # index of the alpha sample, 0 if there is none
    premultiplied: bool  # whether colours are premultiplied by alpha
    subsampling: tuple[int, int]  # chroma subsampling of stored samples: horizontal, vertical
    chunk: tuple[int, int]  # width and height of a strip or tile, pixels
    tiled: bool
    parts: list[tuple[int, int]]  # offset and length of each strip or tile, plane by plane
    #: for JPEG compression: whether the data are YCbCr, to be converted to RGB; None: the markers
    #: in the data decide
    jpeg_ycbcr: bool | None = False

    @property
    def across(self) -> int:
        """Number of columns of tiles; 1 for strips."""
        return -(-self.width // self.chunk[0])

    @property
    def down(self) -> int:
        """Number of strips, or of rows of tiles."""
        return -(-self.height // self.chunk[1])

    @property
    def used(self) -> list[int]:
        """Indices of the used samples: the colours, then alpha if there is one."""
        return [*range(CHANNELS[self.photometric]), *([self.alpha] if self.alpha else [])]

    @property
    def line_bytes(self) -> int:
        """Decompressed bytes of a line of a strip or tile."""
        across, down = self.subsampling
        if (across, down) != (1, 1):
            return -(-self.chunk[0] // across) * (across * down + 2)
        return (self.chunk[0] * (1 if self.planar else self.samples) * self.bits + 7) // 8

    @property
    def unpacked(self) -> int:
        """Decompressed bytes of all used strips or tiles."""
        lines = self.across * self.down * self.lines(self.chunk[1])
        return lines * self.line_bytes * (len(self.used) if self.planar else 1)

    def lines(self, rows: int) -> int:
        """Stored lines of ``rows`` pixel rows; with subsampled chroma a line has several rows."""
        return -(-rows // self.subsampling[1])

    def rows(self, index: int) -> int:
        """Rows of pixels in a strip or row of tiles; the last strip may have fewer than others."""
        if self.tiled:
            return self.chunk[1]
        return min(self.chunk[1], self.height - index * self.chunk[1])


def layout(tiff: Tiff, directory: Directory, max_pixels: int) -> Layout:
    """Determine and check the layout of the picture in a directory.

    Raises:
        BadRequest: the file is damaged, incomplete, or of an unsupported kind, which the message
            names.
        TooLarge: the picture, its tiles or its samples exceed the budget.
    """
    width, height = directory.integer(Tag.WIDTH, 0), directory.integer(Tag.HEIGHT, 0)
    check_size(width, height, max_pixels)
    compression = _compression(directory)
    samples = directory.integer(Tag.SAMPLES, 1)
    photometric = _photometric(directory, compression, samples)
    if samples < CHANNELS[photometric]:
        raise refused(f"The TIFF file is damaged: {samples} channels are too few for its colours")
    kind, bits = _sample_type(directory, photometric, compression)
    if samples > 1 and compression in CCITT:
        raise refused("TIFF with CCITT compression of several channels cannot be read")
    alpha, premultiplied = _alpha(directory, photometric, samples)
    planar = samples > 1 and directory.integer(Tag.PLANAR, 1) == 2
    chunk, tiled = _chunk(directory, width, height)
    found = Layout(
        width=width,
        height=height,
        photometric=photometric,
        compression=compression,
        samples=samples,
        bits=bits,
        kind=kind,
        order=tiff.order,
        planar=planar,
        predictor=_predictor(directory, compression, kind, bits),
        reversed_bits=directory.integer(Tag.FILL_ORDER, 1) == 2 and compression not in _SPECIAL,
        alpha=alpha,
        premultiplied=premultiplied,
        subsampling=_subsampling(directory, photometric, compression, planar),
        chunk=chunk,
        tiled=tiled,
        parts=[],
    )
    _check_amount(found, max_pixels)
    found = _split(replace(found, parts=_parts(tiff, directory, found)))
    each = found.lines(found.chunk[1]) * found.line_bytes
    if each > _CHUNK_BYTES:
        raise TooLarge(
            f"The TIFF has strips or tiles of {each >> 20} MiB; at most {_CHUNK_BYTES >> 20} MiB "
            "are read; save it with smaller ones or with 8 bits a channel"
        )
    return found


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture without a size or with more pixels than the budget."""
    if width < 1 or height < 1:
        raise refused("The TIFF file is damaged: the picture has no width or height")
    check_pixels(width, height, max_pixels)


def _compression(directory: Directory) -> Compression:
    number = directory.integer(Tag.COMPRESSION, 1)
    try:
        found = Compression(number)
    except ValueError:
        name = OTHER_COMPRESSIONS.get(number, f"unknown ({number})")
        raise refused(
            f"TIFF with {name} compression cannot be read; save it with LZW or Deflate compression"
        ) from None
    if found == Compression.OLD_JPEG:  # complete JPEG files were handled before
        raise refused(
            "TIFF with old-style JPEG compression (6) cannot be read; save it with LZW or as JPEG"
        )
    return found


def _photometric(directory: Directory, compression: Compression, samples: int) -> Photometric:
    # The default if the tag is missing is the same as libtiff's.
    guess = 2 if samples > 2 else int(compression not in CCITT)
    number = directory.integer(Tag.PHOTOMETRIC, guess)
    try:
        found = Photometric(number)
    except ValueError:
        name = OTHER_PHOTOMETRICS.get(number, f"colours of an unknown kind ({number})")
        raise refused(f"TIFF with {name} cannot be read; save it as RGB") from None
    if found == Photometric.CMYK and directory.integer(Tag.INK_SET, 1) != 1:
        raise refused("TIFF with inks other than CMYK cannot be read; save it as RGB")
    return found


def _sample_type(
    directory: Directory, photometric: Photometric, compression: Compression
) -> tuple[str, int]:
    """Type and bits of the samples, which must be the same for all samples."""
    depths = set(directory.integers(Tag.BITS, 64)) or {1}
    formats = set(directory.integers(Tag.SAMPLE_FORMAT, 64)) or {1}
    if photometric in (Photometric.CIELAB, Photometric.ICCLAB):
        formats = {1}  # the colour space defines which channels are signed
    if len(depths) > 1 or len(formats) > 1:
        raise refused("TIFF with channels of different types cannot be read; save it as 8-bit RGB")
    bits, form = depths.pop(), formats.pop()
    if form not in _FORMATS:
        raise refused("TIFF with complex numbers cannot be read; save it as 8-bit RGB")
    kind = _FORMATS[form]
    deepest = {1} if compression in CCITT else {8} if compression in _SPECIAL else _DEPTHS[kind]
    indexed = photometric == Photometric.PALETTE and kind == "u" and compression not in _SPECIAL
    colour_bits = {
        Photometric.PALETTE: range(1, 17) if indexed else (),
        Photometric.YCBCR: (8,) if kind == "u" else (),
        Photometric.CIELAB: (8, 16),
        Photometric.ICCLAB: (8, 16),
    }.get(photometric, deepest)
    if bits not in deepest or bits not in colour_bits:
        raise refused(
            f"TIFF with {bits}-bit {_FORMAT_NAMES[kind]} samples of this kind "
            f"({photometric.name}, {compression.name}) cannot be read; save it as 8-bit RGB"
        )
    return kind, bits


def _alpha(directory: Directory, photometric: Photometric, samples: int) -> tuple[int, bool]:
    """Index of the alpha sample (0: none), and whether colours are premultiplied."""
    first = CHANNELS[photometric]
    extra = directory.integers(Tag.EXTRA_SAMPLES, 64)[: samples - first]
    for index, meaning in enumerate(extra):
        if meaning in (_ASSOCIATED, _UNASSOCIATED):
            return first + index, meaning == _ASSOCIATED
    return 0, False


def _predictor(directory: Directory, compression: Compression, kind: str, bits: int) -> int:
    """The predictor. Compressions other than LZW, Deflate and similar ones ignore the tag."""
    if compression in (*CCITT, *_SPECIAL, Compression.NONE, Compression.PACKBITS):
        return 1
    predictor = directory.integer(Tag.PREDICTOR, 1)
    readable = predictor == 1 or (
        (predictor == 2 and bits in (8, 16, 32, 64)) or (predictor == 3 and kind == "f")
    )
    if not readable:
        raise refused(
            f"TIFF with predictor {predictor} for {bits}-bit samples cannot be read; "
            "save it without a predictor"
        )
    return predictor


def _subsampling(
    directory: Directory,
    photometric: Photometric,
    compression: Compression,
    planar: bool,
) -> tuple[int, int]:
    if photometric != Photometric.YCBCR or compression in _SPECIAL:
        return 1, 1
    across, down = (*directory.integers(Tag.YCBCR_SUBSAMPLING, 2), 2, 2)[:2]
    factors = (1, 2, 4)
    bad = across not in factors or down not in factors
    predicted = directory.integer(Tag.PREDICTOR, 1) != 1
    extra = directory.integer(Tag.SAMPLES, 3) != 3
    if bad or ((across, down) != (1, 1) and (planar or predicted or extra)):
        raise refused("TIFF with this kind of YCbCr colours cannot be read; save it as RGB")
    return across, down


def _chunk(directory: Directory, width: int, height: int) -> tuple[tuple[int, int], bool]:
    """Width and height of a strip or tile, and whether the picture has tiles."""
    if Tag.TILE_WIDTH in directory or Tag.TILE_OFFSETS in directory:
        size = directory.integer(Tag.TILE_WIDTH, 0), directory.integer(Tag.TILE_HEIGHT, 0)
        if min(size) < 1:
            raise refused("The TIFF file is damaged: its tiles have no size")
        return size, True
    rows = directory.integer(Tag.ROWS_PER_STRIP, height)
    return (width, min(rows, height) if rows > 0 else height), False


def _check_amount(found: Layout, max_pixels: int) -> None:
    """Refuse pictures that would need more memory or time than the pixel budget justifies."""
    what = "tiles" if found.tiled else "strips"
    chunks = found.across * found.down
    if chunks > MAX_CHUNKS:
        raise TooLarge(f"The TIFF has {chunks} {what}; at most {MAX_CHUNKS} are read")
    covered = chunks * found.chunk[0] * found.chunk[1]
    most = max(2 * found.width * found.height, min(_PADDING_PIXELS, max_pixels))
    if found.tiled and covered > most:
        raise TooLarge(
            f"The tiles of the TIFF cover {covered} pixels, far more than its picture of "
            f"{found.width}x{found.height}"
        )
    budget = _UNPACKED_BYTES * max(max_pixels, _LEAST_BUDGET)
    if found.unpacked > budget:
        raise TooLarge(
            f"The TIFF has {found.unpacked >> 20} MiB of samples; at most {budget >> 20} MiB "
            "are read (MAX_IMAGE_PIXELS); save it with 8 bits a channel"
        )


def _parts(tiff: Tiff, directory: Directory, found: Layout) -> list[tuple[int, int]]:
    """Offsets and lengths of the used planes' strips or tiles, which must be within the file."""
    chunks = found.across * found.down
    wanted = chunks * (max(found.used) + 1 if found.planar else 1)
    of_tiles = found.tiled and Tag.TILE_OFFSETS in directory
    offsets = directory.integers(Tag.TILE_OFFSETS if of_tiles else Tag.STRIP_OFFSETS, wanted)
    counts = directory.integers(Tag.TILE_COUNTS if of_tiles else Tag.STRIP_COUNTS, wanted)
    if len(offsets) < wanted:
        raise refused(
            f"The TIFF file is incomplete: it names {len(offsets)} of {wanted} "
            f"{'tiles' if found.tiled else 'strips'}"
        )
    if found.compression == Compression.NONE:  # calculated, because the tag is often wrong
        counts = [
            found.lines(found.rows(index % chunks // found.across)) * found.line_bytes
            for index in range(wanted)
        ]
    elif not counts and wanted == 1:
        counts = [tiff.length - offsets[0]]
    parts = list(zip(offsets, counts, strict=False))
    if len(parts) < wanted:
        raise incomplete()
    if any(offset < 8 or count < 1 or offset + count > tiff.length for offset, count in parts):
        raise incomplete()
    if sum(count for _, count in parts) > 2 * max(tiff.length, found.unpacked):
        raise refused("The TIFF file is damaged: its strips or tiles lie over each other")
    return parts


def _split(found: Layout) -> Layout:
    """Split a single large uncompressed strip into several, so that less is read at a time."""
    if found.compression != Compression.NONE or found.tiled or found.down > 1:
        return found
    each = max(1, _BAND_BYTES // found.line_bytes)  # lines
    rows = each * found.subsampling[1]
    if rows >= found.height:
        return found
    smaller = replace(found, chunk=(found.width, rows))
    parts = [
        (
            offset + index * each * found.line_bytes,
            found.lines(smaller.rows(index)) * found.line_bytes,
        )
        for offset, _ in found.parts
        for index in range(smaller.down)
    ]
    return replace(smaller, parts=parts)
