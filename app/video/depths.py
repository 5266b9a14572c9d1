# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Computes the depth maps that a film's process asks for, in the worker.

Two threads do it, so that the next frames already wait for the device when the ones before are
done.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.decoding.wire import Message, Wire
from app.errors import ProcessingFailed
from app.pictures.steps import Step
from app.video.film import Size
from app.video.window import Window

log = logging.getLogger("twinlens.video")

FloatArray = NDArray[np.float32]
Levels = NDArray[np.uint8]

_THREADS = 2
# How long a map may wait until the process has read enough of those before, and how often this is
# tried.
_UNREAD_SECONDS = 60.0
_TRY_SECONDS = 0.02


@dataclass(frozen=True)
class Plan:
    """How frames become inputs of the network."""

    #: what the film's process does to each frame
    steps: Sequence[Step]
    #: width and height of the result
    size: Size
    #: frames that are worth inferring as one batch
    batch: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result, uint8 RGB."""
        return self.size[1], self.size[0], 3


class Network(Protocol):
    """The network, as far as films know it."""

    def plan(self, size: Size) -> Plan:
        """The plan for frames of this size. Raises TwinlensError."""

    def maps(self, frames: list[Levels], is_over: Callable[[], bool]) -> list[FloatArray]:
        """The disparity [h, w] of each frame, larger is nearer, all maps of the same shape.

        ``is_over`` tells whether nobody wants them any more. Two threads call this at a time.
        Raises TwinlensError.
        """


class Depths:
    """Takes frames from a window, and gives back their maps in another one."""

    def __init__(
        self, network: Network, plan: Plan, wire: Wire, stop: Callable[[BaseException], None]
    ) -> None:
        """Make the window for frames, and start the threads.

        Args:
            network: of the request.
            plan: of ``network.plan``.
            wire: the connection to the film's process.
            stop: called with an error after which no further map comes.

        Raises:
            OSError: there is no memory left, or no descriptor.
        """
        self._network = network
        self._batch = plan.batch
        self._wire = wire
        self._stop = stop
        # One batch runs, one waits for the device, and one is being filled by the process.
        self.places = 3 * plan.batch + 1
        self._frames, self.frames_descriptor = Window.make(self.places, plan.shape, np.uint8)
        self._maps: Window | None = None
        self._lock = threading.Lock()
        #: held while a map is given, because the shape and the memory go with the first one
        self._giving = threading.Lock()
        self._is_closed = threading.Event()
        self._taken: set[int] = set()
        self._queue: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(None, self._work, f"film-depth-{number}", daemon=True)
            for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, number: int, place: object) -> None:
        """Queue a frame that lies at a place of the window.

        Raises:
            ValueError: there is no such place, or its frame before has no map yet.
        """
        with self._lock:
            if not isinstance(place, int) or place not in range(self.places):
                raise ValueError("there is no such place")
            if place in self._taken:
                raise ValueError("the place is taken")
            self._taken.add(place)
        self._queue.put((number, place))

    def is_busy(self) -> bool:
        """Whether the process waits for maps."""
        return bool(self._taken)

    def close(self) -> None:
        """Let the threads end, each after the inference that it may be waiting for."""
        self._is_closed.set()
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        while batch := self._next():
            try:
                frames = [self._frames.read(place) for _, place in batch]
                maps = self._network.maps(frames, self._is_closed.is_set)
                del frames
                for (number, place), map_ in zip(batch, maps, strict=True):
                    self._give(number, place, map_)
            except BaseException as error:
                if not self._is_closed.is_set():
                    self._stop(error)
                return

    def _next(self) -> list[tuple[int, int]]:
        """The next frames that are ready, at most a batch; empty at the end."""
        batch: list[tuple[int, int]] = []
        first = self._queue.get()
        while first is not None:
            batch.append(first)
            if len(batch) == self._batch:
                break
            try:
                first = self._queue.get_nowait()
            except queue.Empty:
                break
            if first is None:
                self._queue.put(None)
        return batch

    def _give(self, number: int, place: int, map_: FloatArray) -> None:
        message: Message = {"map": number, "place": place}
        with self._giving:
            descriptor = None
            if self._maps is None:
                assert map_.ndim == 2
                self._maps, descriptor = Window.make(self.places, map_.shape, np.float32)
                message["shape"] = map_.shape
            if map_.shape != self._maps.shape:
                raise ProcessingFailed("film")
            self._maps.write(place, map_)
            with self._lock:  # not held while this waits: the film's thread needs it in ``add``
                self._taken.discard(place)
            try:
                with suppress(OSError):  # the process has died, which the film's thread notices
                    self._send(message, descriptor)
            finally:
                if descriptor is not None:
                    os.close(descriptor)

    def _send(self, message: Message, descriptor: int | None) -> None:
        """Send a message. Raises ProcessingFailed if the process does not read, else OSError."""
        end = time.monotonic() + _UNREAD_SECONDS
        while True:
            with suppress(BlockingIOError):
                self._wire.send_at_once(message, descriptor)
                return
            if self._is_closed.wait(_TRY_SECONDS):
                return
            if time.monotonic() > end:
                log.warning("a film's process does not read its maps")
                raise ProcessingFailed("film")
