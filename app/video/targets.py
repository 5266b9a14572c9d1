# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Opens what the pictures of an answer are written to: a film or a ZIP."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import BinaryIO, Protocol

from app.video.film import FilmInfo, Size
from app.video.map_zip import MapZip
from app.video.reader import FilmReader
from app.video.rendered import Picture
from app.video.sound import Sound
from app.video.work import FilmWork
from app.video.writer import FilmWriter


class Target(Protocol):
    """What pictures are written to."""

    #: width and height of a written picture
    size: Size
    #: texts for the client, about what is missing
    problems: tuple[str, ...]

    def write(self, picture: Picture, seconds: Fraction) -> None:
        """Write the next picture, that of the film's frame at this time."""

    def close(self, lasts: Fraction | None) -> None:
        """Write what is left, and the end.

        Args:
            lasts: how long the last frame of the film is shown; None: not known.
        """


class _Zip:
    def __init__(self, out: BinaryIO, size: Size) -> None:
        self._zip = MapZip(out)
        self.size = size
        self.problems: tuple[str, ...] = ()

    def write(self, picture: Picture, seconds: Fraction) -> None:  # noqa: ARG002
        self._zip.add(picture)

    def close(self, lasts: Fraction | None) -> None:  # noqa: ARG002
        self._zip.close()


class _Film:
    def __init__(self, writer: FilmWriter, *, has_all_frames: bool) -> None:
        self._writer = writer
        self._has_all_frames = has_all_frames
        self.size = writer.size
        self.problems: tuple[str, ...] = (writer.problem,) if writer.problem else ()

    def write(self, picture: Picture, seconds: Fraction) -> None:
        self._writer.write(picture, seconds)

    def close(self, lasts: Fraction | None) -> None:
        self._writer.close(lasts if self._has_all_frames else None)


def opened(
    out: BinaryIO,
    work: FilmWork,
    size: Size,
    rate: Fraction,
    reader: FilmReader,
    film: Callable[[], BinaryIO],
    threads: int,
) -> Target:
    """A target that is ready for the first picture; nothing is written yet.

    Args:
        out: a pipe.
        work: of the request.
        size: width and height of the pictures.
        rate: pictures a second.
        reader: of the film.
        film: opens the film's file once more, for its sound.
        threads: of the encoder.

    Raises:
        BadRequest: there is no encoder for it.
    """
    if work.output == "zip":
        return _Zip(out, size)
    # Single frames of a film have no sound.
    has_sound = work.sampling == "all" and reader.info.sound is not None
    sound = None
    if has_sound:
        sound = Sound(film(), work.start, work.seconds, reader.origin, reader.jumps)
    seconds = _length(reader.info, work, rate)
    writer = FilmWriter(out, work, size, rate, sound, seconds=seconds, threads=threads)
    return _Film(writer, has_all_frames=work.sampling == "all")


def _length(info: FilmInfo, work: FilmWork, rate: Fraction) -> float | None:
    """About how many seconds the film of a part will last; None: not known."""
    if info.seconds is None:
        return None
    seconds = max(0.0, info.seconds - work.start)
    if work.seconds is not None:
        seconds = min(seconds, work.seconds)
    if work.max_frames is not None and work.sampling != "keyframes":
        seconds = min(seconds, work.max_frames / float(rate))
    return seconds or None
