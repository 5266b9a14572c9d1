# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs networks on CUDA, with CUDA graphs for input shapes that occur repeatedly.

A forward pass consists of hundreds of small kernels, and launching them one by one can take the
host longer than the device needs to run them. A CUDA graph launches all of them at once, but it is
valid for one input shape only and occupies device memory.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from app.engines.base import FloatArray, InputArray
from app.host.cuda import Cuda, Forward, Recorded
from app.host.faults import fault

log = logging.getLogger("twinlens.engines")

#: how often a shape must occur to get a graph
WORTH_AT = 2
_MAX_GRAPHS = 16

Shape = tuple[int, ...]
Graph = TypeVar("Graph")
#: Captures a graph for a shape; the new graph shares the memory of the given graph, if any.
Capture = Callable[[Shape, Graph | None], Graph]


class Graphs(Generic[Graph]):
    """A cache of graphs by stream and input shape; the least recently used graph is dropped.

    Each time a shape's graph is dropped, the shape must occur twice as often as before to get a
    new one. Otherwise a rotation of more shapes than the cache holds would capture a graph for
    every batch.
    """

    def __init__(self, most: int = _MAX_GRAPHS) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Hashable, Shape], Graph] = OrderedDict()
        #: how often each shape without a graph has occurred, and how often it must occur to get
        #: one; neither grows without limit, because the families use few different shapes
        self._came: dict[tuple[Hashable, Shape], int] = {}
        self._worth_at: dict[tuple[Hashable, Shape], int] = {}
        self._refused: set[Shape] = set()
        # The lock is held during a capture, too, so other inferences of this network wait for it.
        self._lock = threading.Lock()

    def graph_for(self, stream: Hashable, shape: Shape, capture: Capture[Graph]) -> Graph | None:
        """The graph for a shape, or None if the batch is to run without one.

        Must be called once per batch, because it counts how often a shape occurs.
        """
        key = stream, shape
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            self._came[key] = self._came.get(key, 0) + 1
            if shape in self._refused or self._came[key] < self._worth_at.get(key, WORTH_AT):
                return None
            beside = next((self._kept[each] for each in self._kept if each[0] == stream), None)
            try:
                self._kept[key] = capture(shape, beside)
            except Exception as error:  # after any failure the shape runs without a graph
                self._failed(key, error)
                return None
            if len(self._kept) > self._most:
                self._drop(next(iter(self._kept)))
            return self._kept[key]

    def clear(self) -> None:
        """Drop all graphs to free their memory."""
        with self._lock:
            self._clear()

    def _failed(self, key: tuple[Hashable, Shape], error: BaseException) -> None:
        shape = key[1]
        # Looks for an out-of-memory error in the whole chain of exceptions, because the error that
        # ends a capture may hide the one that caused the failure.
        cause: BaseException | None = error
        while cause is not None and fault(cause) != "memory":
            cause = cause.__context__
        if cause is None:
            self._refused.add(shape)
            log.warning("inputs of %s run without a CUDA graph from now on", shape, exc_info=error)
            return
        log.warning("no memory for a CUDA graph for inputs of %s; all graphs are dropped", shape)
        self._clear()
        self._postpone(key)

    def _clear(self) -> None:
        for key in list(self._kept):
            self._drop(key)

    def _drop(self, key: tuple[Hashable, Shape]) -> None:
        del self._kept[key]
        self._postpone(key)

    def _postpone(self, key: tuple[Hashable, Shape]) -> None:
        self._came[key] = 0
        self._worth_at[key] = 2 * self._worth_at.get(key, WORTH_AT)


class CudaNetwork:
    """Runs a network on a CUDA device; concurrent passes use different streams."""

    def __init__(self, forward: Forward, cuda: Cuda) -> None:
        self._forward = forward
        self._cuda = cuda
        self._graphs: Graphs[Recorded] = Graphs()

    def infer(self, batch: InputArray) -> FloatArray:
        """See ``Network.infer``."""
        cuda = self._cuda
        outputs: FloatArray
        with cuda.stream() as stream:
            capture = partial(_capture, cuda, self._forward, stream, batch)
            try:
                recorded = self._graphs.graph_for(stream, batch.shape, capture)
                if recorded is not None:
                    outputs = cuda.replay(recorded, batch)
                else:
                    outputs = cuda.download(self._forward(cuda.upload(batch)))
            except RuntimeError as error:
                if fault(error) == "memory":  # dropping the graphs frees memory for a retry
                    self._graphs.clear()
                raise
        return outputs


def _capture(
    cuda: Cuda,
    forward: Forward,
    stream: Hashable,
    batch: InputArray,
    _shape: Shape,
    beside: Recorded | None,
) -> Recorded:
    return cuda.capture(forward, batch, stream, beside)
