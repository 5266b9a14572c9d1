# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads single tags of EXIF data, and the camera's focal length.

Pillow's own function parses and rewrites all EXIF data, so it fails on any invalid tag.
Source: CIPA DC-008, "Exchangeable image file format for digital still cameras: Exif".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

_HEAD = b"Exif\0\0"
_MAX_ENTRIES = 1000  # entries of a directory; cameras write about 15
# By number of the TIFF type: struct's format character, for the types that can hold a number.
_TYPES = {1: "B", 2: "c", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d",
          13: "I", 16: "Q", 17: "q"}  # fmt: skip
_RATIONALS = {5: "II", 10: "ii"}

_EXIF_DIRECTORY = 0x8769
_FOCAL_LENGTH = 0x920A  # mm
_WIDTH, _HEIGHT = 0xA002, 0xA003  # pixels of the picture as the camera stored it
_RESOLUTION = 0xA20E  # pixels of that picture per unit of the sensor's width
_UNIT = 0xA210
_EQUIVALENT = 0xA405  # focal length of a camera with 35 mm film and the same field of view, mm
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_FILM_DIAGONAL = math.hypot(36, 24)  # mm
# Focal lengths beyond these multiples of the picture's diagonal are taken for wrong entries.
_LEAST, _MOST = 0.1, 100.0


class Exif:
    """EXIF data, with or without its head. Damaged data count as data without tags."""

    def __init__(self, data: bytes) -> None:
        while data.startswith(_HEAD):  # some programs write it twice
            data = data[len(_HEAD) :]
        self._data = data
        self._order = {b"II": "<", b"MM": ">"}.get(data[:2], "")

    def first(self, tag: int) -> Any:
        """The first value of a tag of the main directory, or None.

        A tag whose value is invalid, or no number, gives NaN.
        """
        return self._find(tag, self._pointer(4))

    def number(self, tag: int) -> float | None:
        """A tag of the camera's own directory, if it holds a finite number above 0."""
        directory = self.first(_EXIF_DIRECTORY)
        value = self._find(tag, directory) if isinstance(directory, int) else None
        if isinstance(value, int | float) and math.isfinite(value) and value > 0:
            return float(value)
        return None

    def _pointer(self, place: int) -> int | None:
        if not self._order:
            return None
        try:
            return int(struct.unpack_from(self._order + "I", self._data, place)[0])
        except struct.error:  # the data is cut off
            return None

    def _find(self, tag: int, directory: int | None) -> Any:
        if directory is None:
            return None
        try:
            for found, entry in self._entries(directory):
                if found == tag:
                    return self._value(entry)
        except struct.error:  # the data is cut off
            pass
        return None

    def _entries(self, directory: int) -> Iterator[tuple[int, int]]:
        """Tag and position of each entry of a directory."""
        (count,) = struct.unpack_from(self._order + "H", self._data, directory)
        for number in range(min(count, _MAX_ENTRIES)):
            entry = directory + 2 + 12 * number
            yield struct.unpack_from(self._order + "H", self._data, entry)[0], entry

    def _value(self, entry: int) -> Any:
        """The first value of a directory's entry."""
        kind, count = struct.unpack_from(self._order + "HI", self._data, entry + 2)
        letters = _TYPES.get(kind) or _RATIONALS.get(kind)
        if letters is None or count == 0:
            return math.nan
        place = entry + 8
        if struct.calcsize(self._order + letters) * count > 4:
            (place,) = struct.unpack_from(self._order + "I", self._data, place)
        values = struct.unpack_from(self._order + letters, self._data, place)
        if kind in _RATIONALS:
            return values[0] / values[1] if values[1] else math.nan
        return values[0]


def focal_length(exif: bytes, width: int, height: int) -> float | None:
    """The camera's focal length in pixels of a picture of this size, upright or not; or None.

    It is the one with the field of view of 35 mm film where the camera stored that, by diagonals as
    CIPA DCG-001 has it. Otherwise it is computed from the sensor's resolution, but only if the
    picture still has the size in which the camera stored it. A picture that was cropped since has
    another field of view than its EXIF data say, which cannot be told.
    """
    tags = Exif(exif)
    diagonal = math.hypot(width, height)
    found = None
    if (equivalent := tags.number(_EQUIVALENT)) is not None:
        found = equivalent * diagonal / _FILM_DIAGONAL
    elif {tags.number(_WIDTH), tags.number(_HEIGHT)} == {width, height}:
        length, resolution = tags.number(_FOCAL_LENGTH), tags.number(_RESOLUTION)
        unit = _UNIT_MM.get(int(tags.number(_UNIT) or 2))
        if length is not None and resolution is not None and unit is not None:
            found = length * resolution / unit
    if found is None or not _LEAST * diagonal <= found <= _MOST * diagonal:
        return None
    return found
