# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""JPEG: cheaply checks the structure of a file before libjpeg decodes it.

libjpeg silently fills missing rows with grey and decodes any number of scans, and Pillow keeps
every segment in memory. Therefore the segments are counted here, and Pillow gets only those that it
needs: the tables, the frame and the scans of the first picture. Dropping the MPF segment also makes
Pillow treat a multi-picture file as a plain JPEG, which it can decode at reduced size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import BinaryIO

import numpy as np
from PIL import Image

from app.errors import TooLarge
from app.pictures.colour import MAX_PROFILE
from app.pictures.markers import (
    APP0,
    APP1,
    APP2,
    APP14,
    APP15,
    COM,
    DAC,
    DHT,
    DNL,
    DQT,
    DRI,
    EOI,
    FRAMES,
    SOS,
    Markers,
)
from app.pictures.orientation import UPRIGHT, from_exif, from_xmp
from app.pictures.parts import Part, Range, joined
from app.pictures.source import Metadata, Source, check_pixels, refused

# Cameras write about 20 segments, or some hundreds with extended XMP (panoramas, depth maps).
_MAX_SEGMENTS = 10_000
_MAX_TABLES = 1 << 18  # bytes of tables and frame header; 600 are usual
# Cameras write 1 scan, and progressive files have about 10. Chromium has the same limit.
_MAX_SCANS = 100
# The scans of a picture together may cover at most this many times ``max_pixels``, because libjpeg
# passes over all pixels once for each scan. A large picture may therefore have fewer scans.
_MAX_PASSES = 20

_HUFFMAN = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"

_END = b"\xff\xd9"
_LONG_TAIL = 16  # this many bytes of zeros or ones at the end cannot be image data
_STRIP_ROWS = 256
_GREY = (126, 129)  # grey levels that libjpeg fills in, with rounding errors

BROKEN_OFF = (
    "The JPEG ends before its last row: the upload or the copy broke off. Send the whole file"
)


def check(file: BinaryIO, max_pixels: int) -> Source:
    """Check a JPEG file. The result has only the tables, frame and scans of the first picture.

    Raises:
        BadRequest: the file is cut off, damaged, or of a kind that libjpeg cannot decode.
        TooLarge: the picture has more pixels than the budget, or more scans or segments than any
            program writes.
    """
    markers = Markers(file)
    head = _head(markers)
    frame = head.frame
    check_pixels(frame.width, frame.height, max_pixels)
    scans = _scans(markers, head.scan, frame, max_pixels)
    if not scans.all_pixels(frame):
        raise refused(BROKEN_OFF)
    stop = scans.stop if scans.ended else _without_blank_tail(file, scans.stop)
    parts: list[Part] = [*head.kept, Range(file, head.scan, stop)]
    verify = None
    if frame.kind in _HUFFMAN:
        verify = partial(_verify, parts, frame, scans.ended)
    elif not scans.ended:
        raise refused(BROKEN_OFF)
    metadata = Metadata(head.orientation or UPRIGHT, head.profile(), head.exif)
    return Source(joined([*parts, _END]), metadata, verify)


@dataclass
class _Frame:
    kind: int
    width: int
    height: int
    components: int


@dataclass
class _Head:
    """The content of the file before the first scan."""

    kept: list[Part] = field(default_factory=lambda: [b"\xff\xd8"])
    frame: _Frame = field(default_factory=lambda: _Frame(0, 0, 0, 0))
    scan: int = 0
    orientation: int | None = None
    by_exif: bool = False
    exif: bytes = b""
    icc: list[bytes] = field(default_factory=list)

    def profile(self) -> bytes | None:
        """The ICC profile, joined from its segments; None if absent or incomplete."""
        pieces = sorted(self.icc)
        numbers = [piece[0] for piece in pieces]
        if not pieces or any(piece[1] != len(pieces) for piece in pieces):
            return None
        if numbers != list(range(1, len(pieces) + 1)):
            return None
        return b"".join(piece[2:] for piece in pieces)


def _head(markers: Markers) -> _Head:
    head = _Head()
    position, tables, profile = 2, 0, 0
    for _ in range(_MAX_SEGMENTS):
        found = markers.after(position)
        if found is None:
            raise refused("The JPEG ends before its pixels: the upload or the copy broke off")
        place, kind = found
        if kind == SOS:
            head.scan = place
            if not head.frame.kind:
                raise refused("The JPEG is damaged: its size is not given before its pixels")
            return head
        if kind == EOI:
            raise refused("The JPEG holds no pixels")
        if kind in (0xC8, 0xD8) or 0xF0 <= kind < COM or 0x02 <= kind < 0xC0:  # have no segment
            position = place + 2
            continue
        start, position = markers.segment(place)
        if kind in FRAMES or kind in (DHT, DQT, DRI, DAC):
            content = markers.content(place, position)
            tables += len(content)
            if tables > _MAX_TABLES:
                raise refused("The JPEG is damaged: it has more tables than a JPEG can use")
            head.kept.append(content)
            if kind in FRAMES:
                head.frame = _frame(kind, content[4:])
        elif kind in (APP0, APP14):
            _keep_colour(head, markers.content(place, min(position, start + 64)), kind)
        elif kind == APP1:
            _read_app1(head, markers.content(start, position))
        elif kind == APP2:
            piece = markers.content(start, position)
            profile += len(piece)
            if piece.startswith(_ICC) and len(piece) > len(_ICC) + 2 and profile <= MAX_PROFILE:
                head.icc.append(piece[len(_ICC) :])
    raise _too_many_segments()


def _frame(kind: int, content: bytes) -> _Frame:
    if len(content) < 6:
        raise refused("The JPEG is damaged: its header is cut off")
    bits, height, width, components = content[0], *_pair(content[1:5]), content[5]
    if bits != 8:
        raise refused(f"The JPEG has {bits} bits a colour, which cannot be read: save it with 8")
    if kind not in (*_HUFFMAN, 0xC9, 0xCA):
        raise refused(
            f"The JPEG is lossless or hierarchical (SOF{kind - 0xC0}), which cannot be read: "
            "save it as an ordinary JPEG"
        )
    if not height or not width:
        raise refused("The JPEG's header gives no size: save it anew with another program")
    return _Frame(kind, width, height, components)


def _pair(content: bytes) -> tuple[int, int]:
    return int.from_bytes(content[:2], "big"), int.from_bytes(content[2:], "big")


def _keep_colour(head: _Head, segment: bytes, kind: int) -> None:
    """Keep the first JFIF segment and the first Adobe segment, which define the colour coding."""
    name = b"JFIF\0" if kind == APP0 else b"Adobe"
    known = any(isinstance(part, bytes) and part[4:9] == name for part in head.kept)
    if segment[4:9] == name and not known:
        length = 16 if kind == APP0 else 14
        if len(segment) >= 2 + length:  # cut to this length, since the rest may hold a thumbnail
            head.kept.append(segment[:2] + length.to_bytes(2, "big") + segment[4 : 2 + length])


def _read_app1(head: _Head, content: bytes) -> None:
    """Keep the first EXIF data and read the orientation; EXIF has precedence over XMP."""
    if content.startswith(b"Exif\0"):
        head.exif = head.exif or content
    if content.startswith(b"Exif\0") and not head.by_exif:
        found = from_exif(content)
        head.orientation, head.by_exif = found or head.orientation, found is not None
    elif content.startswith(_XMP) and not head.orientation:
        head.orientation = from_xmp(content)


@dataclass
class _Scans:
    """What was found between the first scan and the end of the picture."""

    stop: int = 0
    ended: bool = False  # whether there is an end marker (EOI)
    count: int = 0
    #: for each component id and coefficient, the number of low bits that no scan has provided yet
    missing: dict[int, list[int]] = field(default_factory=dict)

    def add(self, content: bytes) -> None:
        """Record which coefficients a scan provides, from the content of its header."""
        self.count += 1
        count = content[0] if content else 0
        if len(content) < 4 + 2 * count:
            raise refused(BROKEN_OFF)
        first, last, bits = content[1 + 2 * count], content[2 + 2 * count], content[3 + 2 * count]
        for number in range(count):
            component = self.missing.setdefault(content[1 + 2 * number], [16] * 64)
            for coefficient in range(first, min(last, 63) + 1):
                component[coefficient] = bits & 15

    def all_pixels(self, frame: _Frame) -> bool:
        """Whether all components have scans.

        Without an end marker, the scans must also have provided all bits of all coefficients.
        """
        if len(self.missing) < frame.components:
            return False
        return self.ended or not any(any(bits) for bits in self.missing.values())


def _scans(markers: Markers, position: int, frame: _Frame, max_pixels: int) -> _Scans:
    scans = _Scans()
    passes = min(_MAX_SCANS, _MAX_PASSES * max_pixels // (frame.width * frame.height))
    one_scan = False
    for _ in range(_MAX_SEGMENTS):
        found = markers.after(position)
        if found is None:
            scans.stop = markers.end()
            return scans
        place, kind = found
        scans.stop = place
        if kind == EOI:
            scans.ended = True
            return scans
        if one_scan or kind not in (SOS, DHT, DQT, DRI, DAC, DNL, COM, *range(APP0, APP15 + 1)):
            return scans
        start, position = markers.segment(place)
        content = markers.content(start, position) if kind == SOS else b""
        if kind == SOS:
            scans.add(content)
            one_scan = frame.kind not in _PROGRESSIVE and len(scans.missing) >= frame.components
            if scans.count > passes:
                raise TooLarge(
                    f"The JPEG has more than {passes} scans, which would take minutes to decode; "
                    "save it as an ordinary JPEG"
                )
    raise _too_many_segments()


def _too_many_segments() -> TooLarge:
    return TooLarge(f"The JPEG has more than {_MAX_SEGMENTS} segments; save it anew without them")


def _without_blank_tail(file: BinaryIO, stop: int) -> int:
    """The end of the image data in a file without an end marker.

    An interrupted copy may have filled the rest of the file with zeros, or with ones on flash
    memory.
    """
    step = 1 << 16
    end = stop
    while end > 0:
        start = max(0, end - step)
        file.seek(start)
        block = file.read(end - start)
        kept = block.rstrip(b"\0\xff")
        if kept:
            end = start + len(kept)
            break
        end = start
    if stop - end < _LONG_TAIL:
        return stop
    file.seek(end)
    return end + 2 if file.read(2) == b"\xff\0" else end  # FF 00 stands for a coded byte 0xFF


def _verify(parts: Sequence[Part], frame: _Frame, ended: bool, image: Image.Image) -> None:
    """Refuse an image whose last pixels are not in the file but were filled in by libjpeg.

    The test decodes the file again with other bits appended to its data: pixels that then change
    are not in the file. Because a second decoding is expensive, a file with an end marker is tested
    only if its last block has the grey that libjpeg fills in.
    """
    scale = _scale(image)
    if ended and not _is_filling(image, scale):
        return
    first = _digest(image)
    if frame.kind in _PROGRESSIVE and not ended and scale > 1:
        # Compares at full size, because details from the last scans may be lost at reduced size.
        scale, first = 1, _decoded(parts, _END, frame, 1)
    if _decoded(parts, _other_end(), frame, scale) != first:
        raise refused(BROKEN_OFF)


def _scale(image: Image.Image) -> int:
    """The factor by which libjpeg reduced width and height: 1, 2, 4 or 8."""
    config = getattr(image, "decoderconfig", ())
    return int(config[0]) if config else 1


def _is_filling(image: Image.Image, scale: int) -> bool:
    """Whether the last block (bottom right) may have the grey that libjpeg fills in.

    Blocks start at multiples of their size, so as little as one pixel of the last block may be
    inside the picture. Only the luma is compared, because chroma upsampling mixes the colours of
    neighbouring blocks.
    """
    edge = 8 // scale
    left, top = ((size - 1) // edge * edge for size in image.size)
    block = image.crop((left, top, *image.size))
    values = np.asarray(block.convert("L") if block.mode == "RGB" else block)
    return bool(values.min() >= _GREY[0] and values.max() <= _GREY[1])


def _decoded(parts: Sequence[Part], end: bytes, frame: _Frame, scale: int) -> bytes:
    """A digest of the pixels when the file is decoded with ``end`` as its end."""
    with Image.open(joined([*parts, end]), formats=["JPEG"]) as image:
        image.draft(None, (max(1, frame.width // scale), max(1, frame.height // scale)))
        image.load()
        return _digest(image)


def _other_end() -> bytes:
    """The end that ``_verify`` appends: noise with all restart markers, then EOI."""
    draw = Random(1)  # noqa: S311 - not for cryptography
    noise = [bytes(draw.randrange(255) for _ in range(2048)) for _ in range(9)]
    restarts = [bytes((0xFF, 0xD0 + number)) for number in range(8)]
    body = noise[0] + b"".join(mark + each for mark, each in zip(restarts, noise[1:], strict=True))
    return b"\xff\0" + body + _END


def _digest(image: Image.Image) -> bytes:
    digest = hashlib.blake2b()
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(image.height, top + _STRIP_ROWS)
        digest.update(image.crop((0, top, image.width, bottom)).tobytes())
    return digest.digest()
