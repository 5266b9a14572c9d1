# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The marks by which players know that a film is a stereo pair, and how its views lie.

There are three, because players look in different places:

- H.264 and HEVC: the SEI message "frame packing arrangement" (ITU-T H.264 and H.265, annex D);
- MP4: the box ``st3d`` of Google's Spherical Video V2, inside the sample entry (see ``head``);
- Matroska: the element StereoMode (RFC 9559), which FFmpeg writes.

Where views have half of their size, an MP4 states square pixels for the whole picture, as
broadcasts of such pairs do (ETSI TS 101 547-2) and as players expect that do not know of pairs.
Matroska states the size of one view as it is shown instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from av.packet import Packet
from av.video.stream import VideoStream

from app.video.work import Codec, FilmWork

# Type of the SEI message, and the values of frame_packing_arrangement_type.
_FRAME_PACKING = 45
_SIDE_BY_SIDE, _TOP_BOTTOM = 3, 4
_START_CODE = b"\0\0\1"


@dataclass(frozen=True)
class Packing:
    """How the two views of a pair lie in the picture."""

    #: side by side, else one above the other
    is_beside: bool
    #: whether the left, or upper, view is the left eye's
    is_left_first: bool
    #: whether each view has half of its width, or height
    is_half: bool


def packing(work: FilmWork) -> Packing | None:
    """The layout of the film's pairs; None: each frame is one view, or for coloured glasses."""
    if work.stereo not in ("sbs", "half-sbs", "tb", "half-tb", "cross"):
        return None
    return Packing(
        is_beside=not work.stereo.endswith("tb"),
        is_left_first=(work.stereo == "cross") == work.swap,
        is_half=work.stereo.startswith("half"),
    )


def stereo_mode(work: FilmWork) -> str | None:
    """FFmpeg's name of Matroska's StereoMode."""
    if work.stereo == "anaglyph":
        return None if work.swap else "anaglyph_cyan_red"
    views = packing(work)
    if views is None:
        return None
    if views.is_beside:
        return "left_right" if views.is_left_first else "right_left"
    return "top_bottom" if views.is_left_first else "bottom_top"


# -- the message in the stream ---------------------------------------------------------------------


def message(codec: Codec, views: Packing) -> bytes:
    """The frame packing message as a NAL unit; empty for codecs that have none."""
    if codec not in ("h264", "hevc"):
        return b""
    bits = _Bits()
    bits.add(0b1, 1)  # frame_packing_arrangement_id 0, as ue(v)
    bits.add(0, 1)  # cancel_flag
    bits.add(_SIDE_BY_SIDE if views.is_beside else _TOP_BOTTOM, 7)
    bits.add(0, 1)  # quincunx_sampling_flag
    bits.add(1 if views.is_left_first else 2, 6)  # content_interpretation_type
    # spatial_flipping, frame0_flipped, field_views, current_frame_is_frame0, and whether each view
    # can be decoded alone: all no.
    bits.add(0, 6)
    bits.add(0, 16)  # grid positions: the views are sampled at the same places
    bits.add(0, 8)  # reserved byte
    if codec == "h264":
        bits.add(0b010, 3)  # repetition_period 1: it holds on; as ue(v)
        bits.add(0, 1)  # extension_flag
    else:
        bits.add(1, 1)  # persistence_flag
        # Whether the aspect of pixels is that of views brought to their full size.
        bits.add(int(views.is_half), 1)
    payload = bits.closed()
    head = b"\x06" if codec == "h264" else b"\x4e\x01"  # SEI; HEVC: prefix SEI, layer 0
    body = bytes((_FRAME_PACKING, len(payload))) + payload + b"\x80"
    return _START_CODE + head + _escaped(body)


def marked(packet: Packet[VideoStream], codec: Codec, unit: bytes) -> Packet[VideoStream]:
    """The packet of a key frame with the message in front of its picture."""
    if not unit or not packet.is_keyframe:
        return packet
    data = bytes(packet)
    at = _picture_at(data, codec)
    changed = cast("Packet[VideoStream]", Packet(data[:at] + unit + data[at:]))
    changed.stream = packet.stream
    changed.time_base = packet.time_base
    changed.pts, changed.dts, changed.duration = packet.pts, packet.dts, packet.duration
    changed.is_keyframe = True
    return changed


def _picture_at(data: bytes, codec: Codec) -> int:
    """Where the start code of the first unit with a piece of the picture begins."""
    at = data.find(_START_CODE)
    while at >= 0:
        first = data[at + 3]
        is_picture = 1 <= first & 31 <= 5 if codec == "h264" else first >> 1 & 63 < 32
        if is_picture:
            return at - 1 if at > 0 and data[at - 1] == 0 else at
        at = data.find(_START_CODE, at + 3)
    raise ValueError("the encoder's packet has no start codes")


def _escaped(body: bytes) -> bytes:
    """Keep start codes from appearing within a unit."""
    result, zeros = bytearray(), 0
    for byte in body:
        if zeros >= 2 and byte <= 3:
            result.append(3)
            zeros = 0
        result.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(result)


class _Bits:
    """Bits, the first one the highest of its byte."""

    def __init__(self) -> None:
        self._value, self._count = 0, 0

    def add(self, value: int, count: int) -> None:
        self._value = self._value << count | value
        self._count += count

    def closed(self) -> bytes:
        """The bytes; if the last one is not full, a one and zeros follow."""
        if self._count % 8:
            self.add(1, 1)
            self.add(0, -self._count % 8)
        return self._value.to_bytes(self._count // 8, "big")
