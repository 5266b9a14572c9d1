# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that films are read as players show them: which frames, and when."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import av
import psutil
import pytest

from app.errors import BadRequest, TooLarge
from app.video.reader import FilmLimits, FilmReader
from app.video.work import FilmWork
from tests.films import numbered as films
from tests.films.numbered import film, number_of, patches
from tests.unit.film_reading import LIMITS, Read, assert_near, levels

KINDS = [
    ("mp4", "libx264", {}),
    ("mp4", "libx265", {}),
    ("mp4", "libsvtav1", {}),
    ("mp4", "mpeg4", {}),
    ("mov", "prores_ks", {"layout": "yuv422p10le"}),
    ("mov", "mjpeg", {"layout": "yuvj420p", "is_full": True}),
    ("matroska", "libx264", {}),
    ("matroska", "libx265", {"layout": "yuv420p10le"}),
    ("webm", "libvpx", {}),
    ("webm", "libvpx-vp9", {}),
    ("avi", "libx264", {}),  # has frames out of order, and no timestamps
    ("avi", "mpeg4", {}),
    ("avi", "mjpeg", {"layout": "yuvj420p", "is_full": True}),
    ("mpegts", "libx264", {}),
    ("mpegts", "libx265", {}),
]


@pytest.mark.parametrize(("container", "codec", "options"), KINDS)
def test_containers_and_codecs(container: str, codec: str, options: dict[str, Any]) -> None:
    data = film(container, codec, **options)
    read = Read(data)
    assert read.numbers == list(range(12))
    assert read.times == [round(i / 25, 3) for i in range(12)]
    assert [frame.index for frame in read.frames] == list(range(12))
    assert read.frames[0].is_key
    assert_near(patches(read.frames[-1].image), levels(), 6)
    assert read.problem is None
    assert read.info.size == films.SIZE
    assert read.info.frame_rate == 25
    assert read.info.seconds == pytest.approx(0.48, abs=0.041)
    assert read.info.frames == pytest.approx(12, abs=1)
    names = {"mov": "mp4", "webm": "matroska"}
    assert read.info.container == names.get(container, container)
    codecs = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1", "prores_ks": "prores"}
    codecs |= {"libvpx": "vp8", "libvpx-vp9": "vp9"}
    assert read.info.codec == codecs.get(codec, codec)


OPEN = {"x264-params": "open-gop=1:bframes=3"}  # frames after a key frame refer to ones before it


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("mp4", "libx264", {}),
        ("mp4", "libx264", OPEN),
        ("mp4", "libx265", {}),
        ("matroska", "libx264", OPEN),
        ("webm", "libvpx", {}),
        ("avi", "libx264", OPEN),
        ("avi", "mpeg4", {"bf": "2"}),
        ("avi", "mpeg4", {}),
        ("mpegts", "libx264", OPEN),
        ("mpegts", "libx265", {}),
    ],
)
def test_part_of_a_film(container: str, codec: str, options: dict[str, str]) -> None:
    data = film(container, codec, count=100, rate=10, key_distance=25, options=options)
    read = Read(data, start=6.2, seconds=0.5)
    assert read.numbers == [62, 63, 64, 65, 66]
    assert read.times == [6.2, 6.3, 6.4, 6.5, 6.6]
    assert [frame.index for frame in read.frames] == read.numbers
    assert Read(data, start=9.9).numbers == [99]
    with pytest.raises(BadRequest, match=r"no frame in the part from 12 s on; it is 10\.\d+ s"):
        Read(data, start=12)


def test_films_without_an_index() -> None:
    """As browsers, phones and capture cards write them while they record."""
    avi = film("avi", "mpeg4", count=60)
    for data in (
        film("matroska", count=60, muxer={"live": "1"}),
        film("mp4", count=60, muxer={"movflags": "+frag_keyframe+empty_moov"}),
        film("mpegts", count=60, muxer={"mpegts_m2ts_mode": "1"}),
        avi[: avi.rindex(b"idx1")],
    ):
        read = Read(data)
        assert read.numbers == list(range(60))
        assert read.problem is None
        assert Read(data, start=1.4, seconds=0.2).numbers == [35, 36, 37, 38, 39]


def test_first_frame_is_shown_at_zero() -> None:
    times = [5 + i / 10 for i in range(40)]
    for container in ("mp4", "matroska", "mpegts"):
        data = film(container, "libx264", count=40, times=times, rate=10)
        assert Read(data, max_frames=2).times == [0, 0.1]
        late = Read(data, start=2, seconds=0.2)
        assert late.numbers == [20, 21]
        assert late.times == [2, 2.1]


def test_interval_takes_what_is_on_the_screen_at_even_times() -> None:
    data = film(count=100, rate=25)
    assert Read(data, sampling="interval", fps=1, max_frames=30).numbers == [0, 25, 50, 75]
    assert Read(data, sampling="interval", fps=10, max_frames=4).numbers == [0, 2, 5, 7]
    assert Read(data, sampling="interval", fps=50).numbers == list(range(100))
    assert Read(data, sampling="interval", fps=2, start=1, seconds=2).numbers == [25, 37, 50, 62]
    pauses = film("matroska", count=6, times=[0, 0.1, 0.2, 3.5, 3.6, 3.7])
    assert Read(pauses, sampling="interval", fps=1).numbers == [0, 2]


def test_key_frames() -> None:
    for container, codec in (("mp4", "libx264"), ("webm", "libvpx-vp9"), ("mpegts", "libx265")):
        read = Read(film(container, codec, count=30, key_distance=10), sampling="keyframes")
        assert read.numbers == [frame.index for frame in read.frames]
        assert len(read.numbers) in (3, 4)
        assert read.numbers[0] == 0
        assert all(frame.is_key for frame in read.frames)
        assert read.problem is None
    # also where long parts have none
    assert Read(film(count=100, key_distance=1000), sampling="keyframes").problem is None


def test_variable_frame_rate_stays_variable() -> None:
    times = [0, 0.04, 0.05, 0.5, 0.51, 2.0]
    for container in ("mp4", "matroska"):
        read = Read(film(container, count=6, times=times))
        assert read.times == pytest.approx(times, abs=0.001)


def test_limit_of_frames() -> None:
    limits = FilmLimits(300_000, 10)
    data = film(count=30)
    with pytest.raises(TooLarge, match="30 frames of the film are wanted, more than the 10"):
        Read(data, limits)
    assert len(Read(data, limits, max_frames=10).frames) == 10
    assert len(Read(data, limits, sampling="interval", fps=5).frames) == 6
    read = Read(data, FilmLimits(300_000, 29))
    assert len(read.frames) == 29
    assert read.problem is not None
    assert "Only the first 29 frames" in read.problem


def test_size_of_frames_is_limited() -> None:
    with pytest.raises(TooLarge, match="160x96 pixels, more than the 15000 that a frame may have"):
        Read(film(), FilmLimits(15_000, 100))
    with pytest.raises(TooLarge, match="320x96 pixels"):  # as it is shown
        Read(film(aspect=Fraction(2)), FilmLimits(20_000, 100))


def test_cover_picture_is_not_the_film() -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        cover = output.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        track = output.add_stream("libx264", rate=25)
        track.width, track.height, track.pix_fmt = 160, 96, "yuv420p"
        output.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        for i in range(5):
            frame = films.encoded(films.drawn(i, films.SIZE), "yuv420p", "601", is_full=False)
            frame.pts = i
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
    read = Read(target.getvalue())
    assert read.info.codec == "h264"
    assert read.numbers == list(range(5))


def test_sound_is_named_and_left_alone() -> None:
    assert Read(film("mp4", count=10, sound_seconds=0.5)).info.sound == "aac"
    assert Read(film("matroska", count=10, sound_seconds=0.5)).info.sound == "aac"
    assert Read(film("mpegts", count=10, sound_seconds=0.5)).info.sound == "aac"
    assert Read(film(count=2)).info.sound is None
    # Sound that is longer than the film does not mean that the film breaks off.
    assert Read(film("matroska", count=10, sound_seconds=4)).problem is None
    with pytest.raises(BadRequest, match="no video, so there is no film to read"):
        Read(films.sound_only("mp4", "aac"))


def test_film_whose_clock_begins_late() -> None:
    """As recorders write it: the container states the time of the end."""
    read = Read(film("matroska", count=10, times=[5 + i / 25 for i in range(10)]))
    assert read.problem is None
    assert read.info.seconds == pytest.approx(0.4, abs=0.05)
    assert read.info.frames == 10


def test_hidden_beginning() -> None:
    """An edit list hides frames, for example because the film was cut on a phone."""
    data = bytearray(film(count=20, options={"bf": "0"}, key_distance=50))
    at = data.find(b"elst")
    assert at > 0
    duration, media_time = struct.unpack(">Ii", data[at + 12 : at + 20])
    # half of it hidden: duration in the film's time base, start in the track's
    scale = struct.unpack(">I", data[data.find(b"mdhd") + 16 :][:4])[0]
    data[at + 12 : at + 20] = struct.pack(">Ii", duration // 2, media_time + 10 * scale // 25)
    read = Read(bytes(data))
    assert read.numbers == list(range(10, 20))
    assert read.times == [round(i / 25, 3) for i in range(10)]


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
def test_film_that_breaks_off(container: str) -> None:
    muxer = {"moov_size": "3000"} if container == "mp4" else {}  # its index in front
    data = film(container, count=100, rate=25, muxer=muxer)
    read = Read(data[: len(data) * 6 // 10])
    assert 30 <= len(read.frames) < 80
    assert read.numbers == list(range(len(read.frames)))
    assert read.problem is not None
    assert "The film breaks off after" in read.problem
    assert "4.0 s that it states" in read.problem
    # A part before the break is whole.
    assert Read(data[: len(data) * 6 // 10], seconds=0.4).problem is None


def test_film_without_an_index_is_refused() -> None:
    data = film(count=10)  # the index is at its end
    with pytest.raises(BadRequest, match=r"MP4 or MOV file cannot be read .*damaged or incomplete"):
        Read(data[: len(data) // 2])


def test_damage_in_the_middle() -> None:
    data = bytearray(film("mpegts", count=50, key_distance=10))
    data[len(data) // 2 : len(data) // 2 + 188 * 4] = bytes(188 * 4)
    read = Read(bytes(data))
    assert read.numbers[:10] == list(range(10))
    assert read.numbers[-5:] == list(range(45, 50))
    assert read.times == sorted(set(read.times))
    assert read.problem is not None
    assert "The film is damaged at" in read.problem
    # It is said of parts that have the damage in them, and not of others.
    assert Read(bytes(data), seconds=0.4).problem is None
    assert Read(bytes(data), max_frames=45).problem is not None


def test_recordings_whose_clock_is_set_back() -> None:
    one, two = film("mpegts", count=25), film("mpegts", count=25, first=25)
    read = Read(one + two)
    # A frame whose reference was in the other half may be missing.
    assert read.numbers == sorted(set(read.numbers))
    assert len(read.numbers) >= 48
    assert read.times == pytest.approx([number / 25 for number in read.numbers], abs=0.05)


def test_frames_of_another_size_are_fitted_in() -> None:
    read = Read(film("mpegts", count=5) + film("mpegts", count=5, size=(96, 96), first=5))
    assert read.info.size == (160, 96)
    assert read.problem is not None
    assert "The size of the frames changes" in read.problem
    inner = read.frames[-1].image[:, 32:128]
    assert number_of(inner) == 9
    assert_near(read.frames[-1].image[:, :30], 0, 0)
    too_large = film("mpegts", count=5) + film("mpegts", count=5, size=(320, 192))
    with pytest.raises(TooLarge, match="320x192 pixels"):
        Read(too_large, FilmLimits(20_000, 100))


REFUSED: list[tuple[bytes, str]] = [
    (b"", "is empty"),
    (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "an M3U playlist"),
    (b"ffconcat version 1.0\nfile /etc/hostname\n", "a list of files for FFmpeg"),
    (b'<?xml version="1.0"?><MPD></MPD>', "DASH"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(50), "WMV"),
    (b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", "subtitles"),
    (b"\xff\xd8\xff\xe0" + bytes(50), "a picture .*Pictures have routes"),
    (b"\0\0\0\x18ftypheic" + bytes(50), "a picture .HEIC"),
    (b"\x1a\x45\xdf\xa3\x87\x42\x82\x84book", "neither Matroska nor WebM"),
    (b"just text", "of an unknown kind"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_other_files_are_named(data: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        Read(data)


def test_other_codecs_are_named() -> None:
    data = film("matroska", "ffv1", count=2)
    with pytest.raises(BadRequest, match=r"codec is ffv1, which is not accepted.*H\.264"):
        Read(data)


def test_memory_does_not_grow_with_the_length() -> None:
    data = film("matroska", count=400, size=(480, 320))  # 184 MB of pictures
    process = psutil.Process()
    with FilmReader(io.BytesIO(data), LIMITS, FilmWork("none"), threads=1) as reader:
        frames = reader.frames()
        for _ in range(50):
            next(frames)
        before = process.memory_info().rss
        assert sum(1 for _ in frames) == 350
        assert process.memory_info().rss < before + 40 * 2**20
