# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes whole pictures of interlaced frames, whose lines are of two moments each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph

#: a frame, and when it is shown
Timed = tuple[av.VideoFrame, Fraction | None]

_LEAST_SIDE = 4  # of what the filters take
_BASE = Fraction(1, 1000)


def progressive(frames: Iterator[Timed], *, are_neighbours: bool, threads: int) -> Iterator[Timed]:
    """The same frames, each as a picture of one moment.

    In frames that are marked as interlaced, every second line is of another moment, which shows as
    a comb at the edges of what moves. In the result such lines are replaced; other frames stay as
    they are.

    Args:
        are_neighbours: whether frames follow each other in the film, so that the lines that are
            missing of a moment can be taken from the frames before and after.
        threads: of the filter; 0: one for each core.
    """
    comb: _Filter | None = None
    for frame, time in frames:
        if comb is not None and not comb.fits(frame):
            yield from comb.finish()
            comb = None
        if (
            comb is None
            and frame.interlaced_frame
            and min(frame.width, frame.height) >= _LEAST_SIDE
        ):
            comb = _Filter("bwdif" if are_neighbours else "estdif", frame, threads)
        if comb is None:
            yield frame, time
        else:
            yield from comb.add(frame, time)
    if comb is not None:
        yield from comb.finish()


class _Filter:
    """FFmpeg's filter for frames of one size and format. It gives each frame once, in order."""

    def __init__(self, name: str, frame: av.VideoFrame, threads: int) -> None:
        self._shape = _shape(frame)
        self._waiting: deque[Timed] = deque()
        self._count = 0
        self._graph = Graph()
        self._graph.threads = threads
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=_BASE
        )
        # deint=1: other frames stay as they are. mode=0: one picture for each, not two.
        comb = self._graph.add(name, "mode=0:deint=1")
        self._graph.link_nodes(source, comb, self._graph.add("buffersink")).configure()

    def fits(self, frame: av.VideoFrame) -> bool:
        return _shape(frame) == self._shape

    def add(self, frame: av.VideoFrame, time: Fraction | None) -> Iterator[Timed]:
        """What is ready after another frame."""
        self._waiting.append((frame, time))
        frame.pts, frame.time_base = self._count, _BASE
        self._count += 1
        self._graph.vpush(frame)
        yield from self._ready()

    def finish(self) -> Iterator[Timed]:
        """What is left after the last frame."""
        self._graph.vpush(None)
        yield from self._ready()

    def _ready(self) -> Iterator[Timed]:
        while self._waiting:
            try:
                result = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            frame, time = self._waiting.popleft()
            result.colorspace, result.color_range = frame.colorspace, frame.color_range
            result.color_trc, result.color_primaries = frame.color_trc, frame.color_primaries
            yield result, time


def _shape(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
