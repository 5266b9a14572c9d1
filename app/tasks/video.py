# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The video task: from the bytes of a film to a film, or a ZIP, of its depth or of stereo pairs.

A process for each film decodes, renders and encodes (``app.video``). This task infers the depth of
its frames, in the background: photos go first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from app.decoding.job import Pixels
from app.decoding.source import descriptor_of
from app.engines.base import FloatArray
from app.errors import Busy, ClientGone, NoResources, ProcessingFailed
from app.lending.loaded import LoadedNetwork
from app.lending.registry import networks_of
from app.models.base import Provenance
from app.models.depth_family import DepthFamily
from app.pictures.canvas import Levels
from app.pictures.steps import Outline
from app.rendering.options import Size
from app.tasks.results import Timings
from app.tasks.turns import IsGone, Turns
from app.video.depths import Plan
from app.video.film import FilmInfo
from app.video.handle import FilmProcess, Limits
from app.video.handle import Progress as Progress
from app.video.work import FilmWork
from config.models import ModelSpec

_RETRY_SECONDS = 30

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class FilmResult:
    """The answer for a film, which is still being made when its first bytes are there.

    Its timings and warnings are complete when ``chunks`` has ended.
    """

    #: kind of weights, see ``results.Result``
    weights: str
    provenance: Provenance
    #: of the inferences
    timings: Timings
    #: texts for the client, such as that the film breaks off
    warnings: list[str]
    #: the bytes; whoever does not read all of them calls ``close``
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class FrameCount:
    """The frames of a film that a request is about."""

    info: FilmInfo
    frames: int
    warnings: list[str] = field(default_factory=list)


class Chunks(Iterator[bytes]):
    """The bytes of an answer. ``close`` ends the work; so does the end of this object."""

    def __init__(self, process: FilmProcess, release: Callable[[], None], first: bytes) -> None:
        self._process = process
        self._release = release
        self._first = first

    def __next__(self) -> bytes:
        """The next bytes. Raises TwinlensError if the film fails midway."""
        data, self._first = self._first, b""
        try:
            data = data or self._process.read()
        except BaseException:
            self.close()
            raise
        if not data:
            self.close()
            raise StopIteration
        return data

    def close(self) -> None:
        """End the process if it still works; call it from the thread that reads."""
        release, self._release = self._release, lambda: None
        self._process.close()
        release()

    def __del__(self) -> None:
        self.close()


class VideoTask:
    """Works on films: the thread of a request passes on the output, others do the work."""

    def __init__(self, turns: Turns, limits: Limits, concurrency: int) -> None:
        self._turns = turns
        self._limits = limits
        self._concurrency = concurrency
        self._slots = threading.BoundedSemaphore(concurrency)

    def run(
        self,
        film: BinaryIO,
        spec: ModelSpec,
        work: FilmWork,
        is_gone: IsGone = lambda: False,
        on_progress: OnProgress = lambda _: None,
    ) -> FilmResult:
        """Begin the work on a film; returns as soon as the first output bytes exist.

        Args:
            film: the file; it is closed before this returns.
            spec: a depth model.
            work: what to make of the film.
            is_gone: tells whether the client has hung up; asked until the end of the output.
            on_progress: called a few times a second, from another thread.

        Raises:
            TwinlensError: the film is unusable, or the service cannot answer now.
        """
        timings = Timings()
        network = _Network(self._turns, spec, is_gone, timings)
        with film:
            release = self._take_slot()
            process: FilmProcess | None = None
            try:
                process = self._started(film, work, network, is_gone, on_progress)
                first = process.read()
                if process.info is None or process.size is None:
                    raise ProcessingFailed("film")
                return FilmResult(
                    network.weights,
                    network.provenance,
                    timings,
                    process.warnings,
                    Chunks(process, release, first),
                )
            except BaseException:
                if process is not None:
                    process.close()
                release()
                raise

    def count(self, film: BinaryIO, work: FilmWork, is_gone: IsGone = lambda: False) -> FrameCount:
        """Count the frames of a film that ``work`` would use; no network is needed.

        Args:
            film: the file; it is closed before this returns.
            work: with the output "none".
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: the film is unusable, or the service cannot answer now.
        """
        with film, self._slot():
            process = self._started(film, work, None, is_gone, lambda _: None)
            try:
                process.wait()
                if process.info is None:
                    raise ProcessingFailed("film")
                return FrameCount(process.info, process.frames, process.warnings)
            finally:
                process.close()

    def _started(
        self,
        film: BinaryIO,
        work: FilmWork,
        network: _Network | None,
        is_gone: IsGone,
        on_progress: OnProgress,
    ) -> FilmProcess:
        def check() -> None:
            if is_gone():
                raise ClientGone
            self._turns.room.check_open()

        self._turns.worked.set()
        try:
            descriptor = descriptor_of(film)
        except OSError as error:
            raise NoResources.from_error(error) or ProcessingFailed("film") from error
        return FilmProcess(descriptor, work, self._limits, network, check, on_progress)

    def _take_slot(self) -> Callable[[], None]:
        if not self._slots.acquire(blocking=False):
            raise Busy(
                f"{self._concurrency} films are being worked on already (VIDEO_CONCURRENCY); try "
                "again later",
                retry_after=_RETRY_SECONDS,
                code="too_many_films",
            )
        return self._slots.release

    @contextmanager
    def _slot(self) -> Iterator[None]:
        release = self._take_slot()
        try:
            yield
        finally:
            release()


class _Network:
    """The model of a request, as the film's process uses it (``depths.Network``)."""

    def __init__(self, turns: Turns, spec: ModelSpec, is_gone: IsGone, timings: Timings) -> None:
        self._turns = turns
        self._id = networks_of(spec)[0]
        self._is_gone = is_gone
        self._timings = timings
        self._lock = threading.Lock()
        self._size = (0, 0)
        self._provenance: Provenance | None = None
        self.weights = ""

    @property
    def provenance(self) -> Provenance:
        """Of the network that made the first map."""
        if self._provenance is None:
            raise ProcessingFailed("film")
        return self._provenance

    def plan(self, size: Size) -> Plan:
        """See ``depths.Network``; loads the model if necessary."""
        self._size = size
        with self._turns.wait(self._id, 1, self._is_gone, Timings(), background=True) as turn:
            family: DepthFamily = turn.loaded.family
            outline = family.steps(size)(Outline(size))
            assert isinstance(outline, Outline)
            return Plan(outline.steps, outline.size, turn.loaded.max_batch())

    def maps(self, frames: list[Levels], is_over: Callable[[], bool]) -> list[FloatArray]:
        """See ``depths.Network``."""
        timings = Timings()

        def is_gone() -> bool:
            return is_over() or self._is_gone()

        wait = self._turns.wait(self._id, len(frames), is_gone, timings, background=True)
        with wait as turn:
            family: DepthFamily = turn.loaded.family
            with turn.preparing():
                inputs = [self._prepared(turn.loaded, frame) for frame in frames]
            outputs = turn.infer(np.stack(inputs))
            self.weights, self._provenance = turn.loaded.weights, turn.loaded.provenance()
        with self._lock:
            self._timings.add(timings)
        return [family.disparity(family.crop(output, self._size)) for output in outputs]

    def _prepared(self, loaded: LoadedNetwork, frame: Levels) -> FloatArray:
        picture = Pixels(frame, self._size, True, 0.0)
        inputs: FloatArray = loaded.family.prepare(picture, loaded.network.images)
        return inputs
