# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What is changed in the head of a film that FFmpeg has written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from app.video.marks import Packing
from app.video.work import Output

# Boxes of MP4 (ISO/IEC 14496-12): those on the way to what is changed, and sample entries of video.
_FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mvex")
_VIDEO_ENTRIES = (b"avc1", b"hvc1", b"hev1", b"av01", b"vp09")
# What stands before the first box in these.
_FIXED = {b"stsd": 8}
# Where a box in version 0 states its time scale and duration.
_TIME_SCALE, _DURATION = 20, 24
# Values of st3d, which knows views with the left eye's first only.
_TOP_BOTTOM, _LEFT_RIGHT = 1, 2
# Identifiers of Matroska's elements.
_CLUSTER, _STEREO_MODE = b"\x1f\x43\xb6\x75", b"\x53\xb8\x81"
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = b"\x54\xb0", b"\x54\xba"


@dataclass(frozen=True)
class Head:
    """A change of the head of a file."""

    #: the length of the head; None: these first bytes of the file are not all of it
    length: Callable[[bytes], int | None]
    #: the changed head
    changed: Callable[[bytes], bytes]


def head(output: Output, views: Packing | None, seconds: Fraction | None) -> Head | None:
    """What to change in a film's head; None: nothing.

    Args:
        output: the kind of film.
        views: its pairs, which are marked; None: there are none.
        seconds: how long the film will be, which FFmpeg cannot know; None: not known.
    """
    if output == "mp4":
        # The box has no value for views with the right eye's first.
        has_box = views is not None and views.is_left_first
        change = _Mp4(views if has_box else None, seconds)
        return Head(_mp4_length, change.boxes) if has_box or seconds is not None else None
    if output == "mkv" and views is not None and views.is_half:
        return Head(_matroska_length, lambda data: _of_one_view(data, views))
    return None


# -- MP4 -------------------------------------------------------------------------------------------


def _mp4_length(data: bytes) -> int | None:
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += max(size, 8)
        if kind == b"moov":
            return at if at <= len(data) else None
    return None


@dataclass(frozen=True)
class _Mp4:
    """Changes boxes, and the lengths of those around them."""

    views: Packing | None
    seconds: Fraction | None

    def boxes(self, data: bytes) -> bytes:
        """Boxes one behind another."""
        parts, at = [], 0
        while at + 8 <= len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            if size < 8:
                break
            parts.append(self._box(data[at + 4 : at + 8], data[at : at + size]))
            at += size
        return b"".join((*parts, data[at:]))

    def _box(self, kind: bytes, box: bytes) -> bytes:
        if kind in _FOLDERS:
            inside = 8 + _FIXED.get(kind, 0)
            box = box[:inside] + self.boxes(box[inside:])
            if kind == b"moov" and self.seconds is not None:
                box = self._with_length(box, self.seconds)
        elif kind == b"mdhd" and self.seconds is not None and box[8] == 0:
            # Browsers take the duration of a stream from here.
            scale = int.from_bytes(box[_TIME_SCALE : _TIME_SCALE + 4], "big")
            ticks = min(round(self.seconds * scale), 2**32 - 1)
            box = box[:_DURATION] + struct.pack(">I", ticks) + box[_DURATION + 4 :]
        elif kind in _VIDEO_ENTRIES and self.views is not None:
            mode = _LEFT_RIGHT if self.views.is_beside else _TOP_BOTTOM
            box += struct.pack(">I4sIB", 13, b"st3d", 0, mode)
        return struct.pack(">I", len(box)) + box[4:]

    def _with_length(self, moov: bytes, seconds: Fraction) -> bytes:
        """With ``mehd``, where the standard has the length of a film in fragments."""
        header, extends = moov.find(b"mvhd"), moov.find(b"mvex")
        if header < 0 or extends < 0:
            return moov
        scale = int.from_bytes(moov[header + 16 : header + 20], "big")
        box = struct.pack(">I4sIQ", 20, b"mehd", 1 << 24, round(seconds * scale))
        size = int.from_bytes(moov[extends - 4 : extends], "big") + len(box)
        return moov[: extends - 4] + struct.pack(">I", size) + b"mvex" + box + moov[extends + 4 :]


# -- Matroska --------------------------------------------------------------------------------------


def _matroska_length(data: bytes) -> int | None:
    at = data.find(_CLUSTER)
    return at if at >= 0 else None


def _of_one_view(data: bytes, views: Packing) -> bytes:
    """Let DisplayWidth or DisplayHeight be that of a view in its full size.

    FFmpeg halves it for all pairs. Its bytes stay as many, so that no other length changes; only
    in films of less than 512 pixels they may not do, which then stay as they are.
    """
    at = data.find(_DISPLAY_WIDTH if views.is_beside else _DISPLAY_HEIGHT, data.find(_STEREO_MODE))
    if at < 0:
        return data
    count = data[at + 2] & 0x7F
    value = 2 * int.from_bytes(data[at + 3 : at + 3 + count], "big")
    if value >= 1 << 8 * count:
        return data
    return data[: at + 3] + value.to_bytes(count, "big") + data[at + 3 + count :]
