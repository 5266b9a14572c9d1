# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The connection to the worker, on the side of a film's process."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.decoding.wire import Message, Wire
from app.pictures.steps import Step
from app.video import messages
from app.video.film import FilmInfo
from app.video.window import Window

FloatArray = NDArray[np.float32]
Levels = NDArray[np.uint8]


class Link:
    """Sends frames and news to the worker, and receives maps. Thread-safe."""

    def __init__(self, wire: Wire) -> None:
        #: what is done to each frame before it goes to the worker
        self.steps: Sequence[Step] = ()
        self._wire = wire
        self._sending = threading.Lock()
        self._frames: Window | None = None
        self._maps: Window | None = None
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        #: place and map of each frame whose map nobody has taken yet
        self._arrived: dict[int, tuple[int, FloatArray]] = {}
        self._changed = threading.Condition()

    def tell(self, message: Message) -> None:
        """Send a message. Ends the process if the worker is gone."""
        try:
            with self._sending:
                self._wire.send(message)
        except OSError:
            os._exit(0)

    def open(self, info: FilmInfo, total: int | None) -> int:
        """Tell the worker what the film is, and wait until it is ready for frames.

        Returns the bytes of memory that this process may use from now on.

        Args:
            info: of the film.
            total: the number of frames of the answer, if it is known.
        """
        self.tell({"info": messages.of_info(info), "total": total})
        reply = self._receive()
        if "places" in reply:
            descriptor = self._wire.take_descriptor()
            self._frames = Window(descriptor, reply["places"], tuple(reply["shape"]), np.uint8)
            os.close(descriptor)
            for place in range(reply["places"]):
                self._free.put(place)
            self._places_count = reply["places"]
            threading.Thread(None, self._take_maps, "maps", daemon=True).start()
            self.steps = reply["steps"]
        return int(reply["memory"])

    def send(self, number: int, frame: Levels) -> None:
        """Ask for the map of a frame, after waiting for a free place.

        Args:
            number: of the frame, to be used once.
            frame: uint8 RGB in the size that the steps give.
        """
        assert self._frames is not None
        place = self._free.get()
        self._frames.write(place, frame)
        self.tell({"frame": number, "place": place})

    def map(self, number: int) -> FloatArray:
        """Wait for the disparity [h, w] of a frame, and free its place.

        Frames cannot run ahead of what takes their maps: if they could, the whole film would be in
        memory where rendering, encoding or the client is slower than inference.
        """
        with self._changed:
            self._changed.wait_for(lambda: number in self._arrived)
            place, map_ = self._arrived.pop(number)
        self._free.put(place)
        return map_

    def _take_maps(self) -> None:
        """Receive maps for ever; runs in a thread, in which the loss of the worker is noticed."""
        while True:
            message = self._receive()
            number, place = message["map"], message["place"]
            if self._maps is None:
                descriptor = self._wire.take_descriptor()
                shape = tuple(message["shape"])
                self._maps = Window(descriptor, self._places_count, shape, np.float32)
                os.close(descriptor)
            map_ = self._maps.read(place)
            with self._changed:
                self._arrived[number] = place, map_
                self._changed.notify_all()

    def _receive(self) -> Message:
        try:
            return self._wire.receive()
        except (EOFError, OSError):
            os._exit(0)
