# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""HEIC and AVIF: checks a file before it is decoded.

libheif fills tiles that it cannot decode with green without reporting an error. libheif and libavif
both allocate memory for the size in the bitstream, which can be larger than the size in the
container. Therefore the structure is checked first, including the headers of all bitstreams that
the primary image consists of.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from app.errors import BadRequest, TooLarge
from app.pictures.bitstreams import Coded, Incomplete, av1, hevc
from app.pictures.boxes import Fields, Item, Malformed, Structure, boxes, structure

_STILL = (b"avif", b"mif1", b"heic", b"heix", b"heim", b"heis")
_SEQUENCES = (b"avis", b"msf1", b"hevc", b"hevx", b"hevm", b"hevs")
_ALPHA = (b"auxiliary:alpha", b"hevc:2015:auxid:1")  # auxiliary image types of alpha channels
_MAX_DEPTH = 5  # nesting of images that are derived from other images
_MAX_IMAGES = 20_000  # visits of images; an image is visited once for each reference to it
_MAX_METADATA = 64 << 20  # bytes; libheif copies metadata for each image to which it belongs
_MAX_TRACKS = 16
_UNSPECIFIED = (2, 2)


class _Unsupported(Exception):
    """The file is valid, but of an unsupported kind, which the text names."""


def check(file: BinaryIO, max_pixels: int) -> None:
    """Check a HEIF or AVIF file before a decoder parses it.

    Args:
        file: a seekable file.
        max_pixels: budget for width x height.

    Raises:
        BadRequest: the file is incomplete, damaged or of a kind that is not supported.
        TooLarge: the picture, or the images it is made of, have more pixels than the budget.
    """
    file.seek(8)
    brand = file.read(4)
    if brand not in _STILL + _SEQUENCES:
        return  # not a HEIF or AVIF picture, so Pillow will reject it
    name = "AVIF" if brand.startswith(b"avi") else "HEIF"
    try:
        found = structure(file)
        picture = _Picture(file, found, max_pixels)
        if found.primary is not None:
            picture.check_primary(found.primary)
        elif found.moov is None:
            raise EOFError
        elif brand != b"avis":
            raise _Unsupported("a sequence without a still picture")
        if found.moov is not None and brand == b"avis":
            if found.cut:
                raise EOFError
            picture.check_sequence(found.moov)
    except (EOFError, Incomplete):
        message = (
            f"The {name} file is incomplete: parts of the picture are missing, as after a copy or "
            "upload that broke off. Copy or upload it again"
        )
    except Malformed as error:
        message = f"The {name} file is damaged: {error}. Copy it again, or export it as JPEG"
    except _Unsupported as error:
        message = f"The {name} file holds {error}, which is not supported; export it as JPEG"
    else:
        return
    raise BadRequest(message, title="Invalid image")


@dataclass(frozen=True)
class Details:
    """Properties of a picture that the decoders do not report."""

    #: CICP primaries and transfer; (2, 2) if the file does not state them
    colour: tuple[int, int] = _UNSPECIFIED
    #: the clap box: width and height of the visible part, horizontal and vertical offset of its
    #: centre, each as numerator and denominator; None if the whole picture is visible
    crop: tuple[int, ...] | None = None


def details(file: BinaryIO) -> Details:
    """Details of the primary image of a checked file."""
    try:
        found = structure(file)
        item = found.items.get(found.primary or 0)
        if item is None:
            return Details()
        clap = item.property(b"clap")
        crop = struct.unpack_from(">IIIIiIiI", clap.content) if clap else None
        return Details(_Picture(file, found, 0).colour(item), crop)
    except (EOFError, Incomplete, Malformed, struct.error):
        return Details()


class _Picture:
    """Checks the picture of a file, with its tiles and its alpha channel."""

    def __init__(self, file: BinaryIO, found: Structure, max_pixels: int) -> None:
        self._file = file
        self._found = found
        self._max_pixels = max_pixels
        self._pixels = 0  # pixels that the decoder has to produce
        self._images = 0
        self._known: dict[int, Coded] = {}

    def check_primary(self, primary: int) -> None:
        """Check the primary image and its alpha channel."""
        self._check_metadata()
        self._check_image(primary, 0)
        self._pixels = 0
        shown = {primary, *self._known}
        for number, item in self._found.items.items():
            kind = item.property(b"auxC")
            if kind is None or shown.isdisjoint(item.references.get(b"auxl", [])):
                continue
            if any(name in bytes(kind.content[:64]) for name in _ALPHA):
                self._check_image(number, 0)

    def check_sequence(self, moov: memoryview) -> None:
        """Check the first frame of each track of an image sequence."""
        tracks = [box.content for box in boxes(moov) if box.kind == b"trak"]
        if len(tracks) > _MAX_TRACKS:
            raise Malformed("it has too many tracks")
        pictures = [coded for track in tracks if (coded := self._first_frame(track))]
        if not pictures:
            raise Malformed("its tracks hold no picture")
        for coded in pictures:
            self._within(coded.size, coded.pixels)

    def colour(self, item: Item) -> tuple[int, int]:
        """CICP primaries and transfer of an item or its first tile, or "unspecified"."""
        for _ in range(_MAX_DEPTH):
            for box in item.properties:
                if box.kind == b"colr" and bytes(box.content[:4]) == b"nclx":
                    fields = Fields(box.content, 4)
                    return fields.number(2), fields.number(2)
            if item.kind == b"av01":
                return self._decoded(item).colour
            parts = item.references.get(b"dimg", [])
            inner = self._found.items.get(parts[0]) if parts else None
            if inner is None:
                break
            item = inner
        return _UNSPECIFIED

    def _check_metadata(self) -> None:
        total = 0
        for item in self._found.items.values():
            described = item.references.get(b"cdsc")
            if described:
                size = sum(length for _, length in item.extents)
                total += size * len(described) * (1000 if item.encoded else 1)
        if total > _MAX_METADATA:
            raise Malformed("its metadata is too large")

    def _check_image(self, number: int, depth: int) -> None:
        """Check an image and, recursively, the images it is made of."""
        item = self._found.items.get(number)
        self._images += 1
        if item is None:
            raise Incomplete
        if depth >= _MAX_DEPTH or self._images > _MAX_IMAGES:
            raise Malformed("its images are made of too many others")
        if item.protected:
            raise _Unsupported("an encrypted picture")
        if item.kind in (b"hvc1", b"av01"):
            if number not in self._known:
                self._known[number] = self._single(item)
            coded = self._known[number]
            self._pixels += coded.pixels
            self._within(coded.size, coded.pixels)
            if self._pixels > 2 * self._max_pixels:  # tiles may reach beyond the picture
                raise _too_large(f"is made of {self._pixels} pixels", self._max_pixels)
            return
        for part in self._parts(item):
            self._check_image(part, depth + 1)

    def _parts(self, item: Item) -> list[int]:
        """The ids of the images of which a derived image (grid, overlay, identity) consists."""
        parts = item.references.get(b"dimg", [])
        if item.kind == b"grid":
            count, size = _grid(self._data(item))
            if len(parts) < count:
                raise Incomplete
        elif item.kind == b"iovl":
            size = _overlay(self._data(item))
        elif item.kind == b"iden" and len(parts) == 1:
            size = (0, 0)
        else:
            raise _Unsupported(f"a picture of type {item.kind.decode('ascii', 'replace')!r}")
        self._within(size, size[0] * size[1])
        return parts

    def _single(self, item: Item) -> Coded:
        """Check an image that has its own bitstream, instead of being made of other images."""
        size = item.property(b"ispe")
        if size is None:
            raise Malformed("the size of an image is missing (ispe)")
        fields = Fields(size.content, 4)
        declared = (fields.number(4), fields.number(4))
        self._within(declared, declared[0] * declared[1])
        coded = self._decoded(item, declared)
        self._within(coded.size, coded.pixels)
        # A single layer of a scalable picture may be smaller than the sequence's size.
        if coded.size != declared and item.property(b"lsel", b"a1op") is None:
            raise Malformed(
                f"an image has {coded.size[0]}x{coded.size[1]} pixels where the file says "
                f"{declared[0]}x{declared[1]}"
            )
        return coded

    def _decoded(self, item: Item, declared: tuple[int, int] = (0, 0)) -> Coded:
        """Size and colour from the bitstream of an image."""
        config = item.property(b"hvcC" if item.kind == b"hvc1" else b"av1C")
        if config is None:
            raise Malformed("the decoder configuration of an image is missing (hvcC, av1C)")
        return _look(item.kind, config.content, self._data(item), declared)

    def _data(self, item: Item) -> bytes:
        """The data of an item, joined from its extents."""
        if item.method not in (0, 1) or not item.extents:
            raise Malformed("the place of an image's data is missing or of an unknown kind")
        limit = len(self._found.idat) if item.method else self._found.size
        pieces, total = [], 0
        for offset, length in item.extents:
            length = length or max(0, limit - offset)
            total += length
            if offset + length > limit or not length:
                raise Incomplete
            if total > limit:
                raise Malformed("parts of an image overlap")
            if item.method:
                pieces.append(self._found.idat[offset : offset + length].tobytes())
            else:
                self._file.seek(offset)
                pieces.append(self._file.read(length))
        return b"".join(pieces)

    def _first_frame(self, track: memoryview) -> Coded | None:
        """The first frame of a track; None if the track holds no AV1 pictures."""
        table = track
        for kind in (b"mdia", b"minf", b"stbl"):
            inner = next((box for box in boxes(table) if box.kind == kind), None)
            if inner is None:
                return None
            table = inner.content
        parts = {box.kind: box.content for box in boxes(table)}
        entries = list(boxes(parts.get(b"stsd", memoryview(b"")), 8))
        if not entries or entries[0].kind != b"av01":
            return None
        entry = entries[0].content
        declared = (int.from_bytes(entry[24:26], "big"), int.from_bytes(entry[26:28], "big"))
        config = next((box for box in boxes(entry, 78) if box.kind == b"av1C"), None)
        if config is None or b"stsz" not in parts or not parts.keys() & {b"stco", b"co64"}:
            raise Malformed("a track lacks its tables")
        sizes = Fields(parts[b"stsz"], 4)
        length = sizes.number(4)
        length = length if length or not sizes.number(4) else sizes.number(4)
        wide = b"co64" in parts
        offset = Fields(parts[b"co64" if wide else b"stco"], 8).number(8 if wide else 4)
        if not length or offset + length > self._found.size:
            raise Incomplete
        self._file.seek(offset)
        coded = _look(b"av01", config.content, self._file.read(length), declared)
        self._within(coded.size, coded.pixels)
        if coded.size != declared:
            raise Malformed("a frame has another size than the file says")
        return coded

    def _within(self, size: tuple[int, int], pixels: int) -> None:
        """Raises TooLarge if ``pixels`` exceeds the budget."""
        if pixels > self._max_pixels:
            shape = f"{size[0]}x{size[1]}"
            raise _too_large(f"has {pixels} pixels ({shape})", self._max_pixels)


def _look(kind: bytes, config: memoryview, data: bytes, declared: tuple[int, int]) -> Coded:
    return hevc(config, data, declared) if kind == b"hvc1" else av1(config, data)


def _grid(data: bytes) -> tuple[int, tuple[int, int]]:
    """Number of tiles of a grid, and its width and height."""
    fields = Fields(memoryview(data), 1)
    wide = fields.number(1) & 1
    tiles = (fields.number(1) + 1) * (fields.number(1) + 1)
    return tiles, (fields.number(4 if wide else 2), fields.number(4 if wide else 2))


def _overlay(data: bytes) -> tuple[int, int]:
    """Width and height of an overlay."""
    fields = Fields(memoryview(data), 1)
    wide = fields.number(1) & 1
    fields.number(8)  # the background colour
    return fields.number(4 if wide else 2), fields.number(4 if wide else 2)


def _too_large(what: str, budget: int) -> TooLarge:
    return TooLarge(f"The image {what}; at most {budget} are accepted (MAX_IMAGE_PIXELS)")
