# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that films keep their sound: the same packets, in step with the pictures.

The test films have a click at the beginning of each second half, and a bright frame at the same
time.
"""

from __future__ import annotations

import io
from fractions import Fraction
from functools import cache
from typing import Any, cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from app.video.reader import FilmLimits, FilmReader
from app.video.sound import Sound
from app.video.work import FilmWork, Output
from app.video.writer import FilmWriter
from tests.films.written import SIZE, Sink, frames, written

RATE, FPS, SECONDS = 48000, 25, 3
#: frames that are bright: from half a second of each second on
BRIGHT = [13 + 25 * n for n in range(SECONDS)]
# Containers and the sound in them, as people have them.
SOURCES = [
    ("mp4", "aac"),
    ("mpegts", "aac"),
    ("matroska", "aac"),
    ("mp4", "ac3"),
    ("mpegts", "ac3"),
    ("mp4", "eac3"),
    ("mp4", "libmp3lame"),
    ("mp4", "libopus"),
    ("webm", "libopus"),
    ("mp4", "flac"),
    ("mov", "alac"),
    ("mov", "pcm_s16le"),
]
COPIES = [(*kind, "mp4") for kind in SOURCES] + [
    (container, codec, "mkv")
    for container, codec in SOURCES
    if (container, codec) in (("mpegts", "aac"), ("mp4", "libopus"), ("mov", "pcm_s16le"))
]


def picture(number: int) -> Any:
    return np.full((SIZE[1], SIZE[0], 3), 230 if number in BRIGHT else 40, np.uint8)


def clicks() -> Any:
    """Sound as float32, with a click at the time of each bright frame."""
    wave = np.zeros(SECONDS * RATE, np.float32)
    tone = np.sin(np.arange(2400) * (2 * np.pi * 1000 / RATE)) * np.linspace(0.8, 0, 2400)
    for number in BRIGHT:
        at = number * RATE // FPS
        wave[at : at + 2400] = tone
    return wave


@cache
def source(container: str, codec: str, delay: float = 0.0, shift: int = 0) -> bytes:
    """A film whose sound begins ``delay`` seconds after its pictures.

    Args:
        shift: seconds of its clock at its beginning.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        name = "libvpx-vp9" if container == "webm" else "libx264"
        options = {"deadline": "realtime", "cpu-used": "8"} if container == "webm" else {}
        video = cast(Any, output.add_stream(name, rate=FPS, options=options))
        video.width, video.height = SIZE
        video.codec_context.time_base = Fraction(1, FPS)
        audio = cast(Any, output.add_stream(codec, rate=RATE))
        audio.layout = "mono"
        packets = []
        for i in range(SECONDS * FPS):
            frame = av.VideoFrame.from_ndarray(picture(i))
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            packets += video.encode(frame)
        packets += video.encode(None)
        output.start_encoding()
        whole = av.AudioFrame.from_ndarray(clicks()[None], format="fltp", layout="mono")
        whole.rate, whole.pts, whole.time_base = RATE, 0, Fraction(1, RATE)
        pieces: Any = av.AudioFifo()
        kind = audio.codec_context.format.name
        for piece in av.AudioResampler(kind, "mono", RATE).resample(whole):
            pieces.write(piece)
        step = audio.codec_context.frame_size or 1024
        while (piece := pieces.read(step, partial=True)) is not None:
            if not delay or piece.pts >= delay * RATE:
                packets += audio.encode(piece)
        packets += audio.encode(None)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            ticks = int(shift / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            output.mux(packet)
    return file.getvalue()


def copied(
    film: bytes, output: Output, start: float = 0, seconds: float | None = None
) -> tuple[bytes, Sound]:
    """A film with new pictures and the sound of the old one."""
    sound = Sound(io.BytesIO(film), start, seconds)
    end = SECONDS if seconds is None else start + seconds
    numbers = [i for i in range(SECONDS * FPS) if start <= i / FPS < end]
    times = [Fraction(i, FPS) for i in numbers]
    work = FilmWork(output, "h264", start=start, seconds=seconds)
    result = written([picture(i) for i in numbers], work, times, sound=sound)
    sound.close()
    return result, sound


def flashes(film: bytes) -> list[float]:
    """When bright frames are shown."""
    return [float(f.time or 0) for f in frames(film) if f.to_ndarray(format="gray").mean() > 150]


def heard(film: bytes) -> list[float]:
    """When clicks are heard."""
    times: list[float] = []
    with av.open(io.BytesIO(film), "r") as container:
        for frame in container.decode(audio=0):
            wave = frame.to_ndarray().astype(np.float64).ravel()
            full = 32768 if frame.format.name.startswith("s16") else 1
            full = 2**31 if frame.format.name.startswith("s32") else full
            for at in np.nonzero(np.abs(wave) > 0.25 * full)[0]:
                time = float(frame.time or 0) + at / frame.sample_rate
                if not times or time - times[-1] > 0.2:
                    times.append(time)
    return times


def packets(film: bytes) -> list[bytes]:
    with av.open(io.BytesIO(film), "r") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize(("container", "codec", "output"), COPIES)
@pytest.mark.parametrize(("start", "seconds"), [(0.0, None), (1.0, 1.9), (2.3, None)])
def test_sound_stays_in_step(
    container: str, codec: str, output: Output, start: float, seconds: float | None
) -> None:
    film, sound = copied(source(container, codec), output, start, seconds)
    assert sound.problem is None
    wanted = [n / FPS - start for n in BRIGHT if start <= n / FPS < start + (seconds or SECONDS)]
    seen, clicked = flashes(film), heard(film)
    assert len(seen) == len(clicked) == len(wanted)
    for flash, click, time in zip(seen, clicked, wanted, strict=True):
        # Matroska cannot begin before 0; then everything is later by a part of a packet.
        assert flash == pytest.approx(time, abs=0.001 if output == "mp4" else 0.03)
        assert click == pytest.approx(flash, abs=0.002)


@pytest.mark.parametrize(("container", "codec", "output"), COPIES)
def test_the_packets_are_the_same(container: str, codec: str, output: Output) -> None:
    original = source(container, codec)
    film, _ = copied(original, output)
    with (
        av.open(io.BytesIO(original), "r") as before,
        av.open(io.BytesIO(film), "r") as after,
    ):
        streams = before.streams.audio[0], after.streams.audio[0]
        assert len({stream.codec_context.codec.canonical_name for stream in streams}) == 1
        assert len({stream.sample_rate for stream in streams}) == 1
        assert len({stream.layout.nb_channels for stream in streams}) == 1
    given, found = packets(original), packets(film)
    if container == "mpegts" and codec == "aac":
        given = [packet[7:] for packet in given]  # without ADTS heads
    if codec == "pcm_s16le":
        given, found = [b"".join(given)], [b"".join(found)]
    assert found == given[: len(found)]
    assert len(found) >= len(given) - 1  # one may begin after the last picture


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("mov", "pcm_s16le")])
def test_a_part_has_the_sound_of_the_part_only(container: str, codec: str) -> None:
    film, _ = copied(source(container, codec), "mp4", 1.0, 1.0)
    with av.open(io.BytesIO(film), "r") as result:
        stream: AudioStream = result.streams.audio[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(
            1, abs=0.08
        )  # and what is not heard
    assert 1 < len(packets(film)) < len(packets(source(container, codec))) / 2


def test_what_mp4_cannot_hold_is_left_out_with_a_hint() -> None:
    film, sound = copied(source("mpegts", "mp2"), "mp4")
    assert sound.problem is not None
    assert "holds no mp2" in sound.problem
    assert "output_format=mkv" in sound.problem
    assert len(flashes(film)) == SECONDS
    with av.open(io.BytesIO(film), "r") as container:
        assert not container.streams.audio
    film, sound = copied(source("mpegts", "mp2"), "mkv")
    assert sound.problem is None
    assert heard(film) == pytest.approx(flashes(film), abs=0.03)


def test_a_film_without_sound_gets_none() -> None:
    silent = written([picture(i) for i in range(SECONDS * FPS)], FilmWork("mp4", "h264"))
    film, sound = copied(silent, "mp4")
    assert sound.problem is None
    with av.open(io.BytesIO(film), "r") as container:
        assert not container.streams.audio


@pytest.mark.parametrize("output", ["mp4", "mkv"])
def test_sound_may_begin_late(output: Output) -> None:
    film, sound = copied(source("mp4", "aac", delay=2.2), output)
    assert sound.problem is None
    assert sound.is_late
    assert heard(film) == pytest.approx(flashes(film)[2:], abs=0.003)


def test_late_sound_that_mp4_cannot_stream_is_left_out_with_a_hint() -> None:
    film, sound = copied(source("mp4", "ac3", delay=2.2), "mp4")
    assert "output_format=mkv" in (sound.problem or "")
    assert len(flashes(film)) == SECONDS


@cache
def with_short_sound() -> bytes:
    """A film whose sound is one packet long."""
    short = io.BytesIO()
    with av.open(short, "w", format="mp4") as output:
        video = cast(Any, output.add_stream("libx264", rate=FPS))
        video.width, video.height = SIZE
        audio = cast(Any, output.add_stream("aac", rate=RATE))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        audio.layout = "mono"
        tone.rate, tone.pts = RATE, 0
        output.mux(audio.encode(tone) + audio.encode(None))
        for i in range(SECONDS * FPS):
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture(i))))
        output.mux(video.encode(None))
    return short.getvalue()


def test_a_part_after_the_end_of_the_sound_is_silent() -> None:
    """The head of an MP4 does not wait for sound that never comes."""
    film, sound = copied(with_short_sound(), "mp4", 2.0)
    assert sound.problem is None
    assert len(frames(film)) == FPS


@pytest.mark.parametrize("output", ["mp4", "mkv"])
def test_a_film_goes_on_after_the_end_of_its_sound(output: Output) -> None:
    """Packets are not held back until the sound says something again."""
    sound = Sound(io.BytesIO(with_short_sound()))
    sink = Sink()
    writer = FilmWriter(sink, FilmWork(output, "h264"), SIZE, Fraction(FPS), sound)
    for i in range(5 * FPS):
        writer.write(picture(i), Fraction(i, FPS))
    assert len(frames(sink.getvalue())) >= 2 * FPS
    writer.close()
    assert len(frames(sink.getvalue())) == 5 * FPS


def test_sound_goes_on_while_the_last_picture_stays() -> None:
    sink, sound = Sink(), Sound(io.BytesIO(source("mp4", "aac")))
    writer = FilmWriter(sink, FilmWork("mp4", "h264"), SIZE, Fraction(FPS), sound)
    for i in range(FPS):
        writer.write(picture(i), Fraction(i, FPS))
    writer.close(Fraction(2))
    sound.close()
    assert heard(sink.getvalue()) == pytest.approx(heard(source("mp4", "aac")), abs=0.01)


@pytest.mark.parametrize("codec", ["aac", "ac3"])
@pytest.mark.parametrize("first", [0, 500])
def test_recordings_whose_clock_is_set_anew_keep_their_sound(codec: str, first: int) -> None:
    """Parts of recordings of television that were put together."""
    parts = [source("mpegts", codec), source("mpegts", codec, shift=500)]
    data = b"".join(parts if first == 0 else reversed(parts))
    work = FilmWork("mp4", "h264")
    with FilmReader(io.BytesIO(data), FilmLimits(10_000, 1000), work) as reader:
        sound = Sound(io.BytesIO(data), origin=reader.origin, jumps=reader.jumps)
        sink = Sink()
        writer = FilmWriter(sink, work, SIZE, Fraction(FPS), sound)
        for frame in reader.frames():  # as in the pipeline, the sound does not know what will come
            writer.write(frame.image, frame.seconds)
        writer.close()
        sound.close()
    assert len(heard(sink.getvalue())) == 2 * SECONDS
    assert heard(sink.getvalue()) == pytest.approx(flashes(sink.getvalue()), abs=0.05)
