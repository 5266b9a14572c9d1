# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes the answer for one film: its stages run side by side in threads.

    decode -> prepare -> (the worker infers) -> steady -> render -> encode

Few frames are between two stages, so that the memory does not depend on the film's length, and a
client that reads slowly holds everything up. The stages need no care at an error: it ends the
process.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from app.pictures.steps import resized
from app.video.film import FilmInfo, Frame
from app.video.link import FloatArray, Levels, Link
from app.video.reader import FilmReader
from app.video.rendered import Picture, Renderer
from app.video.steady import Steady
from app.video.targets import opened
from app.video.work import FilmWork

# Frames between two stages.
_BETWEEN = 2
# The shortest time between two reports of the progress.
_REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class _Held:
    """A frame on its way."""

    number: int
    seconds: Fraction
    #: None if the answer does not show it
    image: Levels | None
    #: in the size of the network's input; None if depth is not steadied
    small: Levels | None


class Pipeline:
    """Everything between the bytes of a film and those of the answer."""

    def __init__(
        self,
        link: Link,
        reader: FilmReader,
        work: FilmWork,
        film: Callable[[], BinaryIO],
        out: BinaryIO,
        cores: int,
    ) -> None:
        """Plan the work.

        Args:
            link: to the worker, opened for this film.
            reader: of the film.
            work: to be done.
            film: opens the film's file once more, for its sound.
            out: where the answer goes.
            cores: of the worker.

        Raises:
            BadRequest: there is no encoder for the answer.
        """
        self._link = link
        self._reader = reader
        self._work = work
        self._renderers = max(1, cores // 2)
        self._pool = ThreadPoolExecutor(self._renderers, "render")
        self._render = Renderer(work, reader.info.size)
        self._target = opened(out, work, self._render.size, self._rate(), reader, film, cores)
        self._decoded: queue.Queue[Frame | None] = queue.Queue(_BETWEEN)
        self._asked: queue.Queue[_Held | None] = queue.Queue()  # bounded by the link's places
        self._rendered: queue.Queue[tuple[Fraction, Future[Picture]] | None] = queue.Queue(
            self._renderers
        )
        self._outcome: queue.SimpleQueue[BaseException | int] = queue.SimpleQueue()
        self._reported_at = 0.0

    def run(self) -> int:
        """Do it all; returns the number of frames of the answer. Raises the first error."""
        for problem in self._target.problems:
            self._link.tell({"warning": problem})
        self._link.tell({"size": list(self._target.size)})
        stages = (
            self._decode,
            self._prepare,
            self._steady,
            lambda: self._outcome.put(self._encode()),
        )
        for stage in stages:
            threading.Thread(None, self._guarded, args=[stage], daemon=True).start()
        outcome = self._outcome.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:
            self._outcome.put(error)

    def _decode(self) -> None:
        for frame in self._reader.frames():
            self._decoded.put(frame)
        self._decoded.put(None)

    def _prepare(self) -> None:
        for number, frame in enumerate(_items(self._decoded)):
            small = self._input(frame.image)
            self._link.send(number, small)
            image = frame.image if self._render.needs_frames else None
            kept = small if self._work.is_steady else None
            self._asked.put(_Held(number, frame.seconds, image, kept))
        self._asked.put(None)

    def _input(self, image: Levels) -> Levels:
        """A frame as the network gets it."""
        steps = self._link.steps
        if self._work.is_steady and len(steps) == 1 and steps[0][0] == "resize":
            width, height = int(steps[0][1]), int(steps[0][2])
            if width <= image.shape[1] and height <= image.shape[0]:
                # It takes a fifth of the time. Maps of single frames equal those of photos.
                small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
                return np.asarray(small, np.uint8)
        return np.asarray(resized(Image.fromarray(image), steps), np.uint8)

    def _steady(self) -> None:
        steady = Steady(self._rate()) if self._work.is_steady else None
        held: deque[_Held] = deque()
        for frame in _items(self._asked):
            map_ = self._link.map(frame.number)
            held.append(frame)
            if steady is None:
                done = [map_]
            else:
                assert frame.small is not None
                done = steady.push(map_, _of_size(frame.small, map_))
            self._start_rendering(held, done)
        if steady is not None:
            self._start_rendering(held, steady.flush())
        self._rendered.put(None)

    def _start_rendering(self, held: deque[_Held], maps: list[FloatArray]) -> None:
        for map_ in maps:
            frame = held.popleft()
            picture = self._pool.submit(self._render.picture, frame.image, map_)
            self._rendered.put((frame.seconds, picture))

    def _encode(self) -> int:
        count, seconds = 0, Fraction(0)
        for seconds, picture in _items(self._rendered):
            self._target.write(picture.result(), seconds)
            del picture
            count += 1
            if time.monotonic() > self._reported_at + _REPORT_SECONDS:
                self._report(count, seconds)
        self._target.close(self._reader.last_lasts)
        self._report(count, seconds)
        return count

    def _report(self, count: int, seconds: Fraction) -> None:
        self._reported_at = time.monotonic()
        passed = max(0.0, float(seconds) - self._work.start)
        self._link.tell({"progress": count, "seconds": passed})

    def _rate(self) -> Fraction:
        """Frames a second of the answer."""
        if self._work.sampling == "interval" and self._work.fps is not None:
            return min(Fraction(self._work.fps), self._reader.info.frame_rate)
        return self._reader.info.frame_rate


def expected(info: FilmInfo, work: FilmWork) -> int | None:
    """About how many frames the answer has; None: not known."""
    seconds = info.seconds
    if seconds is not None:
        seconds = max(0.0, seconds - work.start)
        if work.seconds is not None:
            seconds = min(seconds, work.seconds)
    count: float | None = None
    if work.sampling == "interval" and work.fps is not None and seconds is not None:
        # One at the beginning of each interval. Lengths are often a little more than they say.
        count = math.ceil(seconds * min(work.fps, float(info.frame_rate)) - 0.01)
    elif work.sampling == "all":
        if info.frames is not None and not work.start and work.seconds is None:
            count = info.frames
        elif seconds is not None:
            count = seconds * float(info.frame_rate)
    if count is None:
        return None
    return min(max(1, round(count)), work.max_frames or round(count) + 1)


def _items(source: queue.Queue[Any]) -> Iterator[Any]:
    while (item := source.get()) is not None:
        yield item
        del item


def _of_size(image: Levels, map_: FloatArray) -> Levels:
    """An image in the size of a map, for families whose maps have another size than the input."""
    if image.shape[:2] == map_.shape:
        return image
    rows, columns = map_.shape
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
