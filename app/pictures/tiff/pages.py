# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Chooses the main picture of a TIFF file.

The main picture is page 1, or a larger picture in a SubIFD of page 1. If page 1 is a thumbnail, it
is on a later page or in a SubIFD. Most camera RAW files are TIFFs, too. Their sensor data
is not a finished picture, so only an embedded preview of full size is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import BadRequest
from app.pictures.source import refused
from app.pictures.tiff.directory import MAX_DIRECTORIES, Directory, Tiff, incomplete
from app.pictures.tiff.jpeg import frame_size
from app.pictures.tiff.tags import Tag

# Bits of the tag NewSubfileType
_REDUCED, _MASK, _DEPTH = 1, 4, 8
_OLD_REDUCED = 2  # value of the tag SubfileType

_SENSOR_PHOTOMETRICS = (32803, 34892)
# Compressions of sensor data by Sony, Epson, Samsung, Nikon, Kodak and Pentax
_SENSOR_COMPRESSIONS = (32767, 32769, 32770, 32772, 32867, 34713, 65000, 65535)
_RAW = (
    "The file is a camera RAW (DNG, NEF, CR2, ARW or similar) that holds no finished picture of "
    "full size; export it as JPEG and send that"
)
_PREVIEW = 0.9  # minimum width and height of a preview, relative to the sensor's


@dataclass(frozen=True)
class Page:
    """A picture in the file."""

    directory: Directory
    size: tuple[int, int]  # (0, 0) if unknown
    reduced: bool  # whether it is a smaller copy of another picture
    aside: bool  # whether it is a mask or depth map of another picture
    sensor: bool  # whether it holds raw data of a camera's sensor
    below_first: bool = False  # whether it is in a SubIFD of page 1

    @property
    def area(self) -> int:
        return self.size[0] * self.size[1]


def choose(tiff: Tiff) -> Directory:
    """The directory of the main picture.

    Raises:
        BadRequest: the file is a camera RAW without a full-size preview, or is damaged.
    """
    pages, broken = _pages(tiff)
    first = pages[0]
    sensors = [page for page in pages if page.sensor]
    if sensors or _is_raw_by_signature(tiff):
        return _full_preview(pages, sensors)
    pictures = [page for page in pages if not page.aside]
    if first.reduced:
        full = next((page for page in pictures if not page.reduced), None)
        if full is None and broken:
            raise incomplete()
        chosen = full or max(pictures, key=lambda page: page.area, default=first)
        if chosen.reduced and Tag.DNG_VERSION in first.directory:
            raise refused(_RAW)
        return chosen.directory
    below = [page for page in pictures if page.below_first and not page.reduced]
    return max([first, *below], key=lambda page: page.area).directory


def _pages(tiff: Tiff) -> tuple[list[Page], bool]:
    """All pictures in the order of the file, each followed by those in its SubIFDs.

    The second value tells whether some directories could not be read.
    """
    pages: list[Page] = []
    seen = {tiff.first_at}
    broken = False
    try:
        for number, directory in enumerate(tiff.chain()):
            pages.append(_page(tiff, directory))
            for at in directory.integers(Tag.SUB_IFDS, MAX_DIRECTORIES):
                if at in seen or len(pages) >= MAX_DIRECTORIES:
                    continue
                seen.add(at)
                pages.append(_page(tiff, tiff.directory(at), below_first=not number))
    except BadRequest:
        if not pages:
            raise
        broken = True
    return pages, broken


def _page(tiff: Tiff, directory: Directory, below_first: bool = False) -> Page:
    kind = directory.integer(Tag.NEW_SUBFILE_TYPE, 0)
    old_kind = directory.integer(Tag.SUBFILE_TYPE, 0)
    sensor = (
        directory.integer(Tag.PHOTOMETRIC, -1) in _SENSOR_PHOTOMETRICS
        or directory.integer(Tag.COMPRESSION, 1) in _SENSOR_COMPRESSIONS
        or Tag.CFA_PATTERN in directory
        or Tag.CR2_SLICES in directory
    )
    return Page(
        directory,
        _size(tiff, directory),
        reduced=bool(kind & _REDUCED) or old_kind == _OLD_REDUCED,
        aside=bool(kind & (_MASK | _DEPTH)),
        sensor=sensor,
        below_first=below_first,
    )


def _size(tiff: Tiff, directory: Directory) -> tuple[int, int]:
    """The size that the tags state; without them (NEF, CR2) that of the embedded JPEG."""
    size = directory.integer(Tag.WIDTH, 0), directory.integer(Tag.HEIGHT, 0)
    if all(size):
        return size
    at = directory.integer(Tag.JPEG_OFFSET, 0) or directory.integer(Tag.STRIP_OFFSETS, 0)
    return frame_size(tiff, at) or (0, 0)


def _full_preview(pages: list[Page], sensors: list[Page]) -> Directory:
    """The largest preview in a RAW; a preview that is much smaller than the sensor is refused."""
    sensor = max(sensors, key=lambda page: page.area, default=None)
    finished = [page for page in pages if not page.sensor and not page.aside]
    best = max(finished, key=lambda page: page.area, default=None)
    if sensor is None or best is None or not sensor.area:
        raise refused(_RAW)
    if any(own < _PREVIEW * full for own, full in zip(best.size, sensor.size, strict=True)):
        raise refused(_RAW)
    return best.directory


def _is_raw_by_signature(tiff: Tiff) -> bool:
    """Whether the file has the signature of a Canon (CR2) or Phase One (IIQ) RAW."""
    head = tiff.read(0, min(16, tiff.length))
    return head[8:10] == b"CR" or head[8:12] in (b"IIII", b"MMMM")
