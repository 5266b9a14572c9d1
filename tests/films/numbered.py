# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Small films whose right answers are known: each frame shows its number and four colours.

The upper third of a frame is its number in 8 bits, black and white, the highest bit on the left.
Below are four patches side by side.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from app.video.encoders import open_encoder

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes of errors only

Image = NDArray[np.uint8]
#: red, green and blue from 0 to 1, as they are coded (not linear)
Colour = tuple[float, float, float]

SIZE = (160, 96)
#: of the patches where a test names no others
COLOURS: tuple[Colour, ...] = ((0.8, 0.2, 0.2), (0.2, 0.7, 0.3), (0.2, 0.3, 0.9), (0.9, 0.9, 0.4))
#: red and blue part of luminance
_MATRICES = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}
#: FFmpeg's numbers of matrix, transfer curve and primaries, as H.273 has them
MATRIX = {"709": 1, "601": 5, "2020": 9}
PQ, HLG, BT2020, P3 = 16, 18, 9, 12


def drawn(number: int, size: tuple[int, int], colours: Sequence[Sequence[float]] = COLOURS) -> Any:
    """A frame, [h, w, 3] from 0 to 1."""
    width, height = size
    image = np.zeros((height, width, 3))
    edges = [round(width * i / 8) for i in range(9)]
    for i in range(8):
        image[: height // 3, edges[i] : edges[i + 1]] = number >> (7 - i) & 1
    for i in range(4):
        image[height // 3 :, edges[2 * i] : edges[2 * i + 2]] = colours[i]
    return image


def number_of(image: Image) -> int:
    """The number that a frame shows."""
    height, width = image.shape[:2]
    bits = [image[height // 6, round(width * (i + 0.5) / 8)].mean() > 127 for i in range(8)]
    return sum(int(bit) << (7 - i) for i, bit in enumerate(bits))


def patches(image: Image) -> list[list[int]]:
    """Red, green and blue of the four patches."""
    height, width = image.shape[:2]
    return [
        [
            round(x)
            for x in image[height // 2 : -8, width * i // 4 + 8 : width * (i + 1) // 4 - 8]
            .reshape(-1, 3)
            .mean(0)
        ]
        for i in range(4)
    ]


def encoded(image: Any, layout: str, matrix: str, *, is_full: bool) -> av.VideoFrame:
    """A frame for an encoder, computed here and not by FFmpeg."""
    if layout.startswith("rgb"):
        return av.VideoFrame.from_ndarray(np.rint(image * 255).astype(np.uint8), layout)
    height, width = image.shape[:2]
    red, blue = _MATRICES[matrix]
    luma = image @ np.array([red, 1 - red - blue, blue])
    chroma = [(image[..., 2] - luma) / (2 - 2 * blue), (image[..., 0] - luma) / (2 - 2 * red)]
    frame = av.VideoFrame(width, height, layout)
    bits = 10 if "10" in layout else 8
    top, unit = 2**bits - 1, 2 ** (bits - 8)
    for i, (plane, values) in enumerate(zip(frame.planes, [luma, *chroma], strict=False)):
        scale = top if is_full else (219, 224, 224)[i] * unit
        offset = (0 if is_full else 16 * unit) if i == 0 else 128 * unit
        values = values[:: -(-height // plane.height), :: -(-width // plane.width)]
        kind = np.uint16 if bits > 8 else np.uint8
        target = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)
        target[:, : plane.width] = np.rint(values * scale + offset).clip(0, top)
    return frame


# Nearly without loss, so that colours are those that were drawn.
_OPTIONS = {
    "libx264": {"qp": "4", "preset": "veryfast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:qp=4"},
    "libvpx-vp9": {"crf": "4", "b": "0", "deadline": "realtime", "cpu-used": "8"},
    "libvpx": {"crf": "4", "b": "2M", "deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"crf": "8", "preset": "10"},
    "mpeg4": {"qmin": "1", "qmax": "2"},
    "mjpeg": {"qmin": "1", "qmax": "2"},
}


def film(
    container: str = "mp4",
    codec: str = "libx264",
    *,
    count: int = 12,
    size: tuple[int, int] = SIZE,
    rate: Fraction | int = 25,
    times: Sequence[float] | None = None,
    key_distance: int = 6,
    layout: str = "yuv420p",
    matrix: str = "601",
    is_full: bool = False,
    tags: dict[str, int] | None = None,
    colours: Sequence[Sequence[float]] = COLOURS,
    aspect: Fraction | None = None,
    turned: tuple[float, bool, bool] | None = None,
    sound_seconds: float = 0,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    first: int = 0,
) -> bytes:
    """A film.

    Args:
        container: FFmpeg's name of the muxer.
        codec: FFmpeg's name of the encoder.
        times: seconds of each frame; default: even ones.
        matrix: by which the frames are computed; what the file says of it is in ``tags``.
        is_full: whether the frames are computed in full range.
        tags: FFmpeg's numbers for "colorspace", "color_range", "color_trc", "color_primaries".
        turned: degrees counterclockwise by which players turn it, mirrored columns, rows.
        first: number that the first frame shows.
    """
    target = io.BytesIO()
    with av.open(target, "w", format=container, options=muxer or {}) as output:
        encoder = _OPTIONS.get(codec, {}) | (options or {})
        track = output.add_stream(codec, rate=rate, options=encoder)
        assert isinstance(track, VideoStream)
        track.width, track.height = size
        track.pix_fmt = layout
        context = track.codec_context
        context.gop_size = key_distance
        context.thread_count = 1
        base = Fraction(1, 90_000) if times is not None else 1 / Fraction(rate)
        context.time_base = base
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(context, name, value)
        if turned is not None:
            track.set_display_rotation(*turned)
        open_encoder(context)
        sound = None
        if sound_seconds:
            sound = output.add_stream("aac", rate=16_000)
        for i in range(count):
            frame = encoded(drawn(first + i, size, colours), layout, matrix, is_full=is_full)
            frame.pts = i if times is None else round(times[i] / base)
            frame.time_base = base
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
        if sound is not None:
            add_silence(output, sound, sound_seconds)
    return target.getvalue()


def sound_only(container: str, codec: str) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        track = output.add_stream(codec, rate=16_000)
        assert isinstance(track, AudioStream)
        add_silence(output, track, 1)
    return target.getvalue()


def add_silence(output: OutputContainer, track: AudioStream, seconds: float) -> None:
    for i in range(int(seconds * 16_000 / 1024)):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate, frame.pts = 16_000, i * 1024
        output.mux(track.encode(frame))
    output.mux(track.encode(None))
