# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the marks of stereo pairs in written films, with parsers of their own."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import pytest

from app.rendering.options import Stereo
from app.video.work import Codec, FilmWork
from tests.films.written import box, boxes, coloured, frames, written

# layout -> type of frame packing, whether the first view is the left eye's, st3d, StereoMode
PAIRS: dict[Stereo, tuple[int, bool, int, int]] = {
    "sbs": (3, True, 2, 1),
    "half-sbs": (3, True, 2, 1),
    "tb": (4, True, 1, 3),
    "half-tb": (4, True, 1, 3),
}


class Bits:
    """Reads the bits of a unit, without the bytes that keep start codes out of it."""

    def __init__(self, unit: bytes) -> None:
        data = unit.replace(b"\0\0\3", b"\0\0")
        self._bits = "".join(f"{byte:08b}" for byte in data)

    def take(self, count: int) -> int:
        value, self._bits = int(self._bits[:count], 2), self._bits[count:]
        return value

    def take_code(self) -> int:
        """A number as ue(v) of ITU-T H.264, 9.1."""
        zeros = self._bits.index("1")
        return self.take(2 * zeros + 1) - 1

    def rest(self) -> str:
        return self._bits


def units(sample: bytes) -> Iterator[bytes]:
    """The NAL units of a sample of MP4 or Matroska."""
    while sample:
        length = int.from_bytes(sample[:4], "big")
        yield sample[4 : 4 + length]
        sample = sample[4 + length :]


def frame_packings(film: bytes, codec: Codec) -> list[dict[str, int] | None]:
    """For each key frame of a film the frame packing message in front of its picture."""
    found: list[dict[str, int] | None] = []
    with av.open(io.BytesIO(film), "r") as container:
        for packet in container.demux(video=0):
            if packet.size == 0 or not packet.is_keyframe:
                continue
            messages = []
            for unit in units(bytes(packet)):
                kind = unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63
                is_picture = 1 <= kind <= 5 if codec == "h264" else kind < 32
                if is_picture:
                    break
                head = 1 if codec == "h264" else 2
                if kind == (6 if codec == "h264" else 39) and unit[head] == 45:
                    messages.append(packing(unit[head:], codec))
            assert len(messages) <= 1
            found.append(messages[0] if messages else None)
    return found


def packing(message: bytes, codec: Codec) -> dict[str, int]:
    bits = Bits(message)
    assert bits.take(8) == 45
    size = bits.take(8)
    before = len(bits.rest())
    assert bits.take_code() == 0  # id
    assert bits.take(1) == 0  # cancel
    found = {"type": bits.take(7)}
    assert bits.take(1) == 0  # quincunx
    found["first"] = bits.take(6)
    assert bits.take(6) == 0
    assert bits.take(16) == 0  # grid positions
    assert bits.take(8) == 0  # reserved
    if codec == "h264":
        found["persistence"] = bits.take_code()
        assert bits.take(1) == 0  # extension
    else:
        found["persistence"] = bits.take(1)
        found["upsampled"] = bits.take(1)
    used = before - len(bits.rest())
    assert -(-used // 8) == size
    filling = bits.rest()[: 8 * size - used]
    assert filling in ("", "1".ljust(len(filling), "0"))
    assert bits.rest()[8 * size - used :] == "10000000"  # the end of the unit
    return found


def sample_entry(film: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Kind of the video's sample entry in an MP4, and the boxes in it."""
    table = box(film, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    [(kind, entry)] = boxes(table[8:])
    return kind, dict(boxes(entry[78:]))


def elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The elements of Matroska in ``data``; the last may have no known size (RFC 8794)."""
    while data:
        name = data[: 9 - data[0].bit_length()]
        data = data[len(name) :]
        length = 9 - data[0].bit_length()
        size = int.from_bytes(data[:length], "big") - (1 << 7 * length)
        if size == (1 << 7 * length) - 1:
            size = len(data)
        yield name, data[length : length + size]
        data = data[length + size :]


def number(film: bytes, name: bytes) -> int | None:
    """A number among the settings of the video in a Matroska file."""
    # Segment, Tracks, TrackEntry, Video
    for above in (b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0"):
        film = dict(elements(film))[above]
    found = dict(elements(film)).get(name)
    return None if found is None else int.from_bytes(found, "big")


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("stereo", PAIRS)
def test_every_key_frame_says_how_the_views_lie(codec: Codec, stereo: Stereo) -> None:
    kind, _, _, _ = PAIRS[stereo]
    film = written(coloured(40), FilmWork("mp4", codec, stereo=stereo))
    wanted = {"type": kind, "first": 1, "persistence": 1}
    if codec == "hevc":
        wanted["upsampled"] = int(stereo.startswith("half"))
    found = frame_packings(film, codec)
    assert len(found) >= 2
    assert found == [wanted] * len(found)
    assert len(frames(film)) == 40


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
@pytest.mark.parametrize("stereo", PAIRS)
def test_an_mp4_has_the_box_of_stereo_video(codec: Codec, stereo: Stereo) -> None:
    _, _, mode, _ = PAIRS[stereo]
    film = written(coloured(3), FilmWork("mp4", codec, stereo=stereo))
    kind, inside = sample_entry(film)
    assert kind == {"h264": b"avc1", "hevc": b"hvc1", "av1": b"av01", "vp9": b"vp09"}[codec]
    assert inside[b"st3d"] == bytes((0, 0, 0, 0, mode))
    assert b"pasp" not in inside or inside[b"pasp"][:4] == inside[b"pasp"][4:]
    assert len(frames(film)) == 3


@pytest.mark.parametrize("codec", ["h264", "vp9", "ffv1"])
@pytest.mark.parametrize("stereo", PAIRS)
def test_matroska_has_its_stereo_mode(codec: Codec, stereo: Stereo) -> None:
    _, _, _, mode = PAIRS[stereo]
    film = written(coloured(3), FilmWork("mkv", codec, stereo=stereo))
    assert number(film, b"\x53\xb8") == mode
    # The size of one view as it is shown, here of pictures of 64x48.
    shown = {"sbs": (32, 48), "half-sbs": (64, 48), "tb": (64, 24), "half-tb": (64, 48)}[stereo]
    assert (number(film, b"\x54\xb0"), number(film, b"\x54\xba")) == shown
    assert len(frames(film)) == 3


@pytest.mark.parametrize(("stereo", "swap"), [("cross", False), ("sbs", True), ("half-tb", True)])
def test_views_with_the_right_eye_first(stereo: Stereo, swap: bool) -> None:
    """``st3d`` has no value for them, so it is left out."""
    film = written(coloured(3), FilmWork("mp4", "h264", stereo=stereo, swap=swap))
    [found] = frame_packings(film, "h264")
    assert found is not None
    assert found["first"] == 2
    assert b"st3d" not in sample_entry(film)[1]
    film = written(coloured(3), FilmWork("mkv", "h264", stereo=stereo, swap=swap))
    assert number(film, b"\x53\xb8") == (2 if stereo == "half-tb" else 11)


def test_cross_and_swapped_is_left_first() -> None:
    film = written(coloured(3), FilmWork("mp4", "h264", stereo="cross", swap=True))
    [found] = frame_packings(film, "h264")
    assert found is not None
    assert found["first"] == 1
    assert sample_entry(film)[1][b"st3d"][-1] == 2


def test_anaglyphs_are_marked_in_matroska_only() -> None:
    film = written(coloured(3), FilmWork("mkv", "h264", stereo="anaglyph"))
    assert number(film, b"\x53\xb8") == 10
    assert frame_packings(film, "h264") == [None]


@pytest.mark.parametrize("stereo", ["none", "left", "right", "anaglyph"])
def test_single_views_have_no_marks_of_pairs(stereo: Stereo) -> None:
    film = written(coloured(3), FilmWork("mp4", "h264", stereo=stereo))
    assert frame_packings(film, "h264") == [None]
    assert b"st3d" not in sample_entry(film)[1]
    if stereo != "anaglyph":
        film = written(coloured(3), FilmWork("mkv", "h264", stereo=stereo))
        assert number(film, b"\x53\xb8") is None
