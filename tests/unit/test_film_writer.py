# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that written films have the frames, times and levels that they were given."""

from __future__ import annotations

import fcntl
import io
import os
import threading
import zipfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from app.errors import BadRequest
from app.video import encoders
from app.video.map_zip import MapZip
from app.video.reader import FilmLimits, FilmReader
from app.video.work import Codec, FilmWork, Output
from app.video.writer import FilmWriter
from tests.films.written import SIZE, Sink, box, boxes, coloured, frames, greys, written

KINDS: list[tuple[Output, Codec]] = [
    ("mp4", "h264"),
    ("mp4", "hevc"),
    ("mp4", "av1"),
    ("mp4", "vp9"),
    ("mkv", "h264"),
    ("mkv", "hevc"),
    ("mkv", "av1"),
    ("mkv", "vp9"),
    ("mkv", "ffv1"),
]
LOSSY = [(output, codec) for output, codec in KINDS if codec != "ffv1"]


def write(writer: FilmWriter, images: Sequence[Any]) -> None:
    for i, image in enumerate(images):
        writer.write(image, Fraction(i, 25))


def level(frame: av.VideoFrame) -> int:
    return round(float(frame.to_ndarray(format="gray").mean()))


@pytest.mark.parametrize(("output", "codec"), LOSSY)
def test_every_frame_is_there_at_its_time(output: Output, codec: Codec) -> None:
    times = [Fraction(n, 1000) for n in (0, 40, 80, 81, 200, 1000, 1033, 1067, 1100, 2500, 2600)]
    found = frames(written(greys(11), FilmWork(output, codec), times))
    assert [level(frame) for frame in found] == pytest.approx([g[0, 0] for g in greys(11)], abs=1)
    assert [frame.time for frame in found] == pytest.approx(list(map(float, times)), abs=0.0005)


@pytest.mark.parametrize(("output", "codec"), KINDS)
def test_an_encoder_does_not_take_the_machine_for_itself(output: Output, codec: Codec) -> None:
    """As root, SVT-AV1 would give itself a real-time priority, before all other processes."""
    before = os.sched_getscheduler(0)
    with FilmWriter(Sink(), FilmWork(output, codec), SIZE, Fraction(25)) as writer:
        write(writer, greys(3))
        threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
        assert {os.sched_getscheduler(thread) for thread in threads} == {before}


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(60000, 1001)])
def test_frame_rates_are_exact(rate: Fraction) -> None:
    film = written(greys(40), FilmWork("mp4", "h264"), rate=rate)
    with av.open(io.BytesIO(film), "r") as container:
        stream = container.streams.video[0]
        assert stream.average_rate == rate
        assert stream.duration is not None
        assert stream.time_base is not None
        assert stream.duration * stream.time_base == 40 / rate
        assert [
            f.pts * stream.time_base for f in container.decode(stream) if f.pts is not None
        ] == [i / rate for i in range(40)]


def test_the_last_picture_stays_as_long_as_in_the_film() -> None:
    """Recordings of screens often end with one that stays for seconds; it is no damage."""
    sink = Sink()
    writer = FilmWriter(sink, FilmWork("mp4", "h264"), SIZE, Fraction(25))
    write(writer, greys(10))
    writer.close(Fraction(5))
    with av.open(io.BytesIO(sink.getvalue()), "r") as container:
        assert container.duration == pytest.approx(5_360_000, abs=1000)
    read = FilmReader(io.BytesIO(sink.getvalue()), FilmLimits(10_000, 100), FilmWork("none"))
    with read:
        assert len(list(read.frames())) == 10
        assert read.problem is None
        assert float(read.last_lasts or 0) == pytest.approx(5, abs=0.05)


def test_a_part_of_a_film_begins_at_zero() -> None:
    times = [Fraction(7) + Fraction(i, 25) for i in range(5)]
    found = frames(written(greys(5), FilmWork("mp4", "h264", start=7.0), times))
    assert [frame.time for frame in found] == pytest.approx([i / 25 for i in range(5)])


def test_two_frames_of_the_same_time_are_both_there() -> None:
    times = [Fraction(0), Fraction(1, 25), Fraction(1, 25), Fraction(2, 25)]
    assert len(frames(written(greys(4), FilmWork("mp4", "h264"), times))) == 4


@pytest.mark.parametrize(("output", "codec"), LOSSY)
@pytest.mark.parametrize("is_grey", [True, False])
def test_every_level_comes_back(output: Output, codec: Codec, is_grey: bool) -> None:
    """As a map: 256 fields of one level each, at two places."""
    fields = np.kron(np.arange(256).reshape(16, 16), np.ones((16, 16))).astype(np.uint8)
    images = [fields, fields, fields[::-1], fields[::-1]]
    given = images if is_grey else [np.repeat(i[:, :, None], 3, axis=2) for i in images]
    film = written(given, FilmWork(output, codec))
    tolerance = 1.5 if codec == "av1" else 1  # it filters over time
    for image, frame in zip(images, frames(film), strict=True):
        assert frame.color_range == 1  # limited: players often ignore the mark of full range
        shown = frame.to_ndarray(format="rgb24").astype(int)
        inner = shown.reshape(16, 16, 16, 16, 3)[:, 4:12, :, 4:12].mean(axis=(1, 3))
        assert np.abs(inner - image[::16, ::16, None]).max() <= tolerance


@pytest.mark.parametrize(("output", "codec"), LOSSY)
def test_colours_are_those_of_bt_709(output: Output, codec: Codec) -> None:
    colours = [(200, 30, 40), (30, 180, 60), (20, 40, 220), (250, 240, 20), (128, 128, 128)]
    image = np.repeat(np.array([colours], np.uint8), 16, axis=1).repeat(48, axis=0)
    film = written([image] * 3, FilmWork(output, codec))
    for frame in frames(film):
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)
        shown = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
        for i, colour in enumerate(colours):
            assert shown[24, 16 * i + 8] == pytest.approx(colour, abs=4)


def test_ffv1_keeps_16_bits() -> None:
    rng = np.random.default_rng(5)
    maps = [rng.integers(0, 65536, (47, 63), np.uint16) for _ in range(3)]
    found = frames(written(maps, FilmWork("mkv", "ffv1")))
    assert [frame.format.name for frame in found] == ["gray16le"] * 3
    for given, frame in zip(maps, found, strict=True):
        assert np.array_equal(frame.to_ndarray(), given)


def test_ffv1_keeps_every_colour() -> None:
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, (47, 63, 3), np.uint8) for _ in range(3)]
    for given, frame in zip(images, frames(written(images, FilmWork("mkv", "ffv1"))), strict=True):
        assert np.array_equal(frame.to_ndarray(format="rgb24"), given)


def test_odd_sizes_get_their_last_row_and_column_twice() -> None:
    ramp = np.add.outer(np.arange(47) * 2, np.arange(63) * 2).astype(np.uint8)
    [frame] = frames(written([ramp], FilmWork("mp4", "h264")))
    assert (frame.width, frame.height) == (64, 48)
    shown = frame.to_ndarray(format="gray").astype(int)
    assert np.abs(shown[:47, :63] - ramp).max() < 8
    assert np.abs(shown[47, :63] - ramp[46]).max() < 8
    assert np.abs(shown[:47, 63] - ramp[:, 62]).max() < 8


def test_mp4_holds_no_ffv1() -> None:
    with pytest.raises(BadRequest, match="output_format=mkv"):
        FilmWriter(Sink(), FilmWork("mp4", "ffv1"), SIZE, Fraction(25))


# -- pipes -----------------------------------------------------------------------------------------


def test_a_slow_reader_gets_the_whole_film() -> None:
    """The pipe holds one page, so the writer waits for the reader again and again."""
    noise = np.random.default_rng(3).integers(0, 256, (30, 48, 64, 3), np.uint8)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    got = bytearray()

    def read() -> None:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while data := pipe.read(777):
                got.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    work = FilmWork("mp4", "h264", stereo="sbs")
    with (
        os.fdopen(writing, "wb", buffering=0) as pipe,
        FilmWriter(pipe, work, SIZE, Fraction(25)) as writer,
    ):
        write(writer, list(noise))
    reader.join()
    kinds = [kind for kind, _ in boxes(bytes(got))]  # whole boxes, to the last byte
    assert (kinds[0], kinds[-1]) == (b"ftyp", b"mfra")
    found = frames(bytes(got))
    assert len(found) == 30
    for image, frame in zip(noise, found, strict=True):
        assert (
            np.abs(frame.to_ndarray(format="gray") - image @ (0.2126, 0.7152, 0.0722)).mean() < 20
        )


@pytest.mark.parametrize("output", ["mp4", "mkv"])
def test_a_film_can_be_played_while_it_grows(output: Output) -> None:
    """What has come out of the pipe after 100 frames has the first ones, though no end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    got = bytearray()

    def more() -> bool:
        try:
            got.extend(os.read(reading, 65536))
        except BlockingIOError:
            return False
        return True

    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0) as pipe:
        writer = FilmWriter(pipe, FilmWork(output, "h264"), SIZE, Fraction(25))
        for i, image in enumerate(greys(100)):
            writer.write(image, Fraction(i, 25))
            more()
        found = frames(bytes(got))
        assert len(found) >= 25
        wanted = [image[0, 0] for image in greys(len(found))]
        assert [level(frame) for frame in found] == pytest.approx(wanted, abs=1)
        writer.close()


def test_a_reader_that_goes_away_ends_the_writing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        writer = FilmWriter(pipe, FilmWork("mp4", "h264"), SIZE, Fraction(25))
        with pytest.raises(BrokenPipeError):
            write(writer, greys(200))


def test_a_film_that_fails_midway_does_not_look_whole() -> None:
    sink = Sink()
    wrong = np.zeros((1, 2, 3, 4), np.uint8)
    with (
        pytest.raises(ValueError, match=r"shape|dimension|axis|axes|broadcast|pad"),
        FilmWriter(sink, FilmWork("mp4", "h264"), SIZE, Fraction(25)) as writer,
    ):
        write(writer, [*greys(100), wrong])
    kinds = [kind for kind, _ in boxes(sink.getvalue())]
    assert b"moof" in kinds
    assert b"mfra" not in kinds


def test_the_head_of_a_film_says_how_long_it_will_be() -> None:
    """Players of the stream show it; what is written is not known at that time."""
    moov = box(written(greys(40), FilmWork("mp4", "h264"), seconds=1.6), b"moov")
    media = box(moov, b"trak", b"mdia", b"mdhd")
    scale, duration = (int.from_bytes(media[at : at + 4], "big") for at in (12, 16))
    assert duration / scale == pytest.approx(1.6)
    scale = int.from_bytes(box(moov, b"mvhd")[12:16], "big")
    assert int.from_bytes(box(moov, b"mvex", b"mehd")[4:], "big") / scale == pytest.approx(1.6)
    film = written(greys(40), FilmWork("mkv", "h264"), seconds=3725.5)
    with av.open(io.BytesIO(film), "r") as container:
        assert container.duration == 3_725_500_000


@pytest.mark.parametrize(("output", "codec"), KINDS)
def test_a_film_may_be_shorter_or_longer_than_its_head_says(output: Output, codec: Codec) -> None:
    for seconds in (0.1, 1000.0):
        film = written(coloured(30), FilmWork(output, codec, stereo="half-sbs"), seconds=seconds)
        assert len(frames(film)) == 30


# -- encoders --------------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes FFmpeg one that was built without some encoders."""
    known = av.codec.Codec

    def leave_out(*names: str) -> None:
        def look_up(name: str, mode: Any = "r") -> av.codec.Codec:
            if mode == "w" and name.startswith(names):
                raise av.codec.codec.UnknownCodecError(name)
            return known(name, mode)

        monkeypatch.setattr(av.codec, "Codec", look_up)

    return leave_out


def test_this_build_writes_every_codec() -> None:
    assert set(encoders.available()) == {"h264", "hevc", "av1", "vp9", "ffv1"}


def test_a_build_without_x264_and_x265_says_what_it_has(without: Any) -> None:
    without("libx26", "h264_", "hevc_")
    assert set(encoders.available()) == {"av1", "vp9", "ffv1"}
    for codec in ("h264", "hevc"):
        with pytest.raises(BadRequest) as raised:
            FilmWriter(Sink(), FilmWork("mp4", codec), SIZE, Fraction(25))
        assert raised.value.message == f"this build has no encoder for {codec}; take codec=av1, vp9"
    assert len(frames(written(greys(3), FilmWork("mp4", "av1")))) == 3


def test_a_build_without_any_encoder_says_so(without: Any) -> None:
    without("lib", "h264", "hevc", "av1")
    with pytest.raises(BadRequest, match="no encoder for av1, and none"):
        encoders.choose("av1")


def test_hardware_encoders_are_taken_only_where_they_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FFmpeg lists NVENC on every machine, and then there is no NVIDIA GPU."""

    def create(name: str, mode: Any = None, hwaccel: Any = None) -> Any:
        raise av.FFmpegError(1, "no device")

    encoders._encodes.cache_clear()
    monkeypatch.setattr(av.CodecContext, "create", create)
    assert encoders.is_known("h264_nvenc")
    assert encoders.choose("h264") == "libx264"
    encoders._encodes.cache_clear()


# -- ZIP -------------------------------------------------------------------------------------------


def test_a_zip_of_maps_goes_through_a_pipe() -> None:
    rng = np.random.default_rng(7)
    maps = [rng.integers(0, 256, (24, 32), np.uint8) for _ in range(12)]
    sink = Sink()
    archive = MapZip(sink)
    sizes = []
    for image in maps:
        archive.add(image)
        sizes.append(len(sink.getvalue()))
    archive.close()
    assert sizes == sorted(set(sizes)), "entries are not written at once"
    with zipfile.ZipFile(io.BytesIO(sink.getvalue())) as opened:
        assert opened.namelist() == [f"depth_frame_{i:04d}.png" for i in range(1, 13)]
        assert opened.testzip() is None
        for image, name in zip(maps, opened.namelist(), strict=True):
            assert np.array_equal(np.asarray(Image.open(opened.open(name))), image)


def test_the_pictures_of_a_film_may_be_rgb() -> None:
    found = frames(written(coloured(3), FilmWork("mp4", "h264")))
    assert [level(frame) for frame in found] == pytest.approx([g[0, 0] for g in greys(3)], abs=1)
