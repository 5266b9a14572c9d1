# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes small films, and reads what the service made of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8]

SIZE = 96, 64
SOUND_RATE = 48_000


def pictures(count: int, size: tuple[int, int] = SIZE) -> Iterator[Levels]:
    """Pictures of a bright disc that moves to the right over a slope that gets brighter."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    for number in range(count):
        shade = 40 + 80 * y / height + 40 * number / count
        disc = np.hypot(x - width * (0.2 + 0.6 * number / count), y - height / 2) < height / 5
        levels = np.where(disc, 230, shade)
        yield np.stack((levels, levels * 0.9, levels * 0.8), 2).astype(np.uint8)


def film(
    count: int = 12,
    size: tuple[int, int] = SIZE,
    rate: int = 12,
    *,
    times: Sequence[int] | None = None,
    sound: bool = False,
) -> bytes:
    """An MP4 file of ``pictures`` in H.264.

    Args:
        count: number of frames.
        size: width and height.
        rate: frames a second.
        times: of the frames, in units of 1 / ``rate`` seconds; by default even ones.
        sound: whether there is a track of AAC, as long as the film.
    """
    file = io.BytesIO()
    times = range(count) if times is None else times
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.options = {"preset": "ultrafast", "g": "6"}
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound else None
        for number, (time, picture) in enumerate(zip(times, pictures(count, size), strict=True)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, rate)
            container.mux(video.encode(frame))
            if audio is not None:
                samples = np.arange(number * SOUND_RATE // rate, (number + 1) * SOUND_RATE // rate)
                wave = np.sin(samples / 20)[None].astype(np.float32) / 4
                tone = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                tone.pts, tone.sample_rate = int(samples[0]), SOUND_RATE
                tone.time_base = Fraction(1, SOUND_RATE)
                container.mux(audio.encode(tone))
        container.mux(video.encode(None))
        if audio is not None:
            container.mux(audio.encode(None))
    return file.getvalue()


def read(data: bytes) -> tuple[list[Levels], list[float]]:
    """The frames of a film, RGB, and when they are shown, in seconds."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = list(container.decode(container.streams.video[0]))
    images = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]
    return images, [float(frame.time or 0) for frame in frames]


def sound_of(data: bytes) -> list[bytes]:
    """The packets of a film's sound."""
    with av.open(io.BytesIO(data), "r") as container:
        packets = container.demux(container.streams.audio[0])
        return [bytes(packet) for packet in packets if packet.size]
