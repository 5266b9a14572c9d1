# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Films that the service's writer has written, and what is in them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from app.video.sound import Sound
from app.video.work import FilmWork
from app.video.writer import FilmWriter

SIZE = (64, 48)


class Sink(io.BytesIO):
    """Keeps what is written; like a pipe, it cannot seek, and takes a part only of large writes."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation

    def write(self, data: Any) -> int:
        return super().write(bytes(data[:5000]))


def written(
    images: Sequence[NDArray[Any]],
    work: FilmWork,
    times: Sequence[Fraction] | None = None,
    *,
    rate: Fraction = Fraction(25),
    sound: Sound | None = None,
    seconds: float | None = None,
) -> bytes:
    """The bytes of a film."""
    sink = Sink()
    height, width = images[0].shape[:2]
    times = times or [i / rate + Fraction(work.start) for i in range(len(images))]
    with FilmWriter(sink, work, (width, height), rate, sound, seconds=seconds) as writer:
        for image, time in zip(images, times, strict=True):
            writer.write(image, time)
    return sink.getvalue()


def greys(count: int, size: tuple[int, int] = SIZE) -> list[NDArray[np.uint8]]:
    """Frames of which each has one level, and the next one another."""
    return [np.full((size[1], size[0]), 16 + 11 * i % 224, np.uint8) for i in range(count)]


def coloured(count: int, size: tuple[int, int] = SIZE) -> list[NDArray[np.uint8]]:
    """The same as RGB."""
    return [np.repeat(image[:, :, None], 3, axis=2) for image in greys(count, size)]


def frames(film: bytes) -> list[av.VideoFrame]:
    """The decoded frames."""
    with av.open(io.BytesIO(film), "r") as container:
        return list(container.decode(video=0))


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and contents of the boxes of an MP4, or of what is in one."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        assert 8 <= size <= len(data) - at, "a box has a wrong length"
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size
    assert at == len(data)


def box(data: bytes, *path: bytes) -> bytes:
    """What is in the first box with this path."""
    for kind in path:
        data = next(content for found, content in boxes(data) if found == kind)
    return data
