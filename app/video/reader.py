# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the wanted frames of a film, in bounded memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av

from app.errors import BadRequest, TooLarge
from app.video import containers
from app.video.clock import LONGEST, Clock
from app.video.deinterlace import Timed
from app.video.film import FilmInfo, Frame
from app.video.picture import Pictures
from app.video.track import Track
from app.video.work import FilmWork

#: a decoded frame, when it is shown, and its number
_Shown = tuple[av.VideoFrame, Fraction, int]

_CONTAINERS = {"mov": "mp4"}
_USUAL_RATE = Fraction(25)
_MOST_RATE = 1000
# A frame at 1/3 s belongs to a part that begins at 0.3337 s.
_TOLERANCE = Fraction(1, 2000)
# How far before the wanted time a key frame is looked for; each try decodes more.
_SEEK_MARGINS = (Fraction(1, 2), Fraction(10))
# A film that ends by more than this before the length that it states has broken off.
_MISSING = Fraction(1)
# What is shown for less than this has a length that was made up.
_SHORTEST = Fraction(1, 1000)


@dataclass(frozen=True)
class FilmLimits:
    """What a film may have at most."""

    #: pixels of a frame, stored and as shown
    max_pixels: int
    #: frames that are read of it
    max_frames: int


class FilmReader:
    """A film that is read once, from the beginning of the wanted part to its end.

    Args:
        file: the film; it must allow seeking and is not closed.
        limits: of its frames.
        work: which of the frames are wanted: ``start``, ``seconds``, ``sampling``, ``fps`` and
            ``max_frames``.
        threads: of the decoder; 0: one for each core.
        on_decoded: called by ``frames`` for each decoded frame, also for those that are not wanted.

    Raises:
        BadRequest: no film, or a broken one; the message says what it is and what is accepted.
        TooLarge: it exceeds a limit.
    """

    def __init__(
        self,
        file: BinaryIO,
        limits: FilmLimits,
        work: FilmWork,
        *,
        threads: int = 0,
        on_decoded: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = file
        self._limits = limits
        self._work = work
        self._threads = threads
        self._on_decoded = on_decoded
        self._problems: list[str] = []
        self._is_at_end = False
        self._track = self._opened()
        self._decoded = self._track.frames()
        first = next(self._decoded, None)
        if first is None:
            self.close()
            raise BadRequest(
                "No frame of the film can be decoded: it is damaged, breaks off, or its frames "
                f"have more than {limits.max_pixels} pixels (MAX_VIDEO_PIXELS). "
                + containers.ACCEPTED
            )
        self._first = first
        self._rate = _rate(self._track)
        self._clock = self._new_clock()
        self._pictures = Pictures(
            first[0], self._track.stream.sample_aspect_ratio, limits.max_pixels
        )
        self.info = self._info()
        self._check_count()

    @property
    def problem(self) -> str | None:
        """What is missing of the film or was repaired; None: nothing. Final after ``frames``."""
        return ". ".join(self._problems) or None

    @property
    def origin(self) -> Fraction:
        """When the first frame is shown, in seconds of the film's own clock."""
        return self._clock.origin

    @property
    def jumps(self) -> Sequence[tuple[Fraction, Fraction]]:
        """Where the film's clock was set anew, see ``Clock``; grows while frames are read."""
        return self._clock.jumps

    @property
    def last_lasts(self) -> Fraction | None:
        """How long the last frame of the film is shown; None: not known. Final after ``frames``.

        Slides and recordings of screens often end with a frame that stays for many seconds.
        """
        lasts = self._track.last_lasts
        length = self._length()
        if self._track.kind == "mov" and length is not None:
            # Where frames are stored in another order than shown, lengths of packets are not those
            # of their frames.
            lasts = min(lasts, length - self._clock.last)
        if not self._is_at_end or self._track.ended_damaged or not _SHORTEST <= lasts <= LONGEST:
            return None
        return lasts

    def close(self) -> None:
        """Free the decoder."""
        self._track.close()

    def __enter__(self) -> FilmReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(self) -> Iterator[Frame]:
        """The wanted frames; to be called once.

        Raises:
            BadRequest: the wanted part has no frame.
        """
        count = 0
        for frame, seconds, index in self._sampled():
            if count == self._limits.max_frames:
                self._problems.append(
                    f"Only the first {count} frames were read, the limit (MAX_VIDEO_FRAMES)"
                )
                break
            yield Frame(self._pictures.picture(frame), seconds, index, bool(frame.key_frame))
            count += 1
            if count == self._work.max_frames:
                break
        self._note_damage()
        if self._pictures.has_changed:
            self._problems.append(
                "The size of the frames changes; all were brought to the size of the first"
            )
        if count == 0:
            length = f"; it is {self.info.seconds:.3f} s long" if self.info.seconds else ""
            raise BadRequest(
                f"The film has no frame in the part from {self._work.start:g} s on{length}"
            )

    def _opened(self) -> Track:
        return Track(
            self._file,
            self._limits.max_pixels,
            self._threads,
            is_keys_only=self._work.sampling == "keyframes",
        )

    def _new_clock(self) -> Clock:
        clock = Clock(1 / self._rate, jumps=self._track.kind == "mpegts")
        clock.set_origin(self._first[1])
        return clock

    def _info(self) -> FilmInfo:
        stream = self._track.stream
        seconds = self._length()
        frames = stream.frames or None
        if frames is None and seconds is not None:
            frames = max(1, round(seconds * self._rate))
        return FilmInfo(
            container=_CONTAINERS.get(self._track.kind, self._track.kind),
            codec=containers.codec_of(stream),
            size=self._pictures.size,
            frame_rate=self._rate,
            seconds=None if seconds is None else float(seconds),
            frames=frames,
            rotation=self._pictures.rotation,
            is_hdr=self._pictures.is_hdr,
            sound=self._track.sound,
        )

    def _length(self) -> Fraction | None:
        """Seconds from the first shown frame to the end, as the film states it."""
        stream = self._track.stream
        if self._track.kind == "avi" and stream.frames:
            # FFmpeg shortens the duration of a film that breaks off.
            return stream.frames / self._rate
        if stream.duration and stream.duration > 0 and stream.time_base:
            return stream.duration * stream.time_base
        return self._track.container_seconds

    def _check_count(self) -> None:
        """Raises TooLarge if surely more frames are wanted than may be read."""
        work = self._work
        frames = self.info.frames
        if frames is None or self.info.seconds is None or work.sampling == "keyframes":
            return
        if self._track.kind == "mpegts":  # its clock may have been set anew; length is a guess
            return
        seconds = max(0.0, self.info.seconds - work.start)
        if work.seconds is not None:
            seconds = min(seconds, work.seconds)
        rate = frames / self.info.seconds
        if work.sampling == "interval" and work.fps is not None:
            rate = min(rate, work.fps)
        count = int(seconds * rate)
        if work.max_frames is not None:
            count = min(count, work.max_frames)
        # Lengths and rates are approximate; a film a little longer is read up to the limit.
        if count > 1.02 * self._limits.max_frames + 1:
            raise TooLarge(
                f"{count} frames of the film are wanted, more than the {self._limits.max_frames} "
                "that may be read of one (MAX_VIDEO_FRAMES); ask for a shorter part, or fewer "
                "frames a second"
            )

    def _sampled(self) -> Iterator[_Shown]:
        """The wanted frames of the wanted part."""
        if self._work.sampling == "interval" and self._work.fps is not None:
            return self._at_interval(1 / Fraction(self._work.fps))
        return self._part()

    def _at_interval(self, interval: Fraction) -> Iterator[_Shown]:
        """The frames that are on the screen at even times; none of them twice."""
        wanted: Fraction | None = None
        on_screen: _Shown | None = None
        for shown in self._part():
            if wanted is None:
                wanted = shown[1]
            if on_screen is not None and shown[1] > wanted + _TOLERANCE:
                yield on_screen
                wanted += interval * math.ceil((shown[1] - _TOLERANCE - wanted) / interval)
            on_screen = shown
        if on_screen is None or wanted is None:
            return
        if wanted < on_screen[1] + 1 / self._rate - _TOLERANCE:
            yield on_screen

    def _part(self) -> Iterator[_Shown]:
        """All frames of the wanted part."""
        start = Fraction(self._work.start)
        seconds = self._work.seconds
        end = None if seconds is None else start + Fraction(seconds)
        for shown in self._from(start):
            if end is not None and shown[1] >= end - _TOLERANCE:
                return
            if shown[1] >= start - _TOLERANCE:
                yield shown
        self._is_at_end = True

    def _from(self, start: Fraction) -> Iterator[_Shown]:
        """Frames from a time on, and some before it."""
        for margin in _SEEK_MARGINS:
            if start <= margin:
                break
            origin = self._clock.origin
            if not self._track.seek(origin + start - margin):
                break
            self._decoded = self._track.frames()
            first = next(self._decoded, None)
            if first is None or first[1] is None or first[1] > origin + start:
                continue
            yield from self._numbered(first, round((first[1] - origin) * self._rate))
            return
        if start > _SEEK_MARGINS[0]:  # the film may not be where it began
            self._track.close()
            self._track = self._opened()
            self._decoded = self._track.frames()
            self._first = next(self._decoded, self._first)
        yield from self._numbered(self._first, 0)

    def _numbered(self, first: Timed, number: int) -> Iterator[_Shown]:
        for frame, timestamp in itertools.chain([first], self._decoded):
            self._on_decoded()
            seconds = self._clock.seconds(timestamp)
            if self._work.sampling == "keyframes":  # those between were not decoded
                number = round(seconds * self._rate)
            yield frame, seconds, number
            number += 1

    def _note_damage(self) -> None:
        """Say it if the film ended before its time, or was damaged in the wanted part."""
        track = self._track
        last = self._clock.last + max(1 / self._rate, self.last_lasts or 0)
        if self._work.sampling == "keyframes" and track.last is not None:
            last = max(last, track.last - self.origin)
        length = self._length()
        if self._track.kind == "matroska" and length is not None:
            # It states the length of its longest track, which may be sound.
            last = max(last, track.end - track.container_start)
        is_short = length is not None and length - last > _MISSING and track.kind != "mpegts"
        if self._is_at_end and (is_short or track.ended_damaged):
            of = f" of the {float(length):.1f} s that it states" if length is not None else ""
            self._problems.append(f"The film breaks off after {float(last):.1f} s{of}")
        elif track.damaged:
            at = (
                None
                if track.damaged_at is None
                else max(track.damaged_at - self.origin, Fraction(0))
            )
            if at is not None and at > last:  # the decoder reads ahead
                return
            where = "" if at is None else f" at {float(at):.1f} s"
            self._problems.append(f"The film is damaged{where}; what could be read of it is used")


def _rate(track: Track) -> Fraction:
    """Frames a second, on average."""
    stream = track.stream
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= _MOST_RATE:
            return rate
    return _USUAL_RATE
