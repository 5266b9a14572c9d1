# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Networks on CUDA: a shape of input that comes again runs as one graph instead of many kernels.

A pass is hundreds of small kernels, and a host that launches them one by one can be slower than
the device. A graph is launched at once, but holds for one shape only and keeps its memory.
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

#: from this coming on a shape is worth a graph
WORTH_AT = 2
_MOST = 16

Shape = tuple[int, ...]
Graph = TypeVar("Graph")
#: Records a shape; shares the memory of the graph that it is given.
Capture = Callable[[Shape, Graph | None], Graph]


class Graphs(Generic[Graph]):
    """Which shapes have a graph. Those used least recently go; each stream has its own.

    What was dropped has to come twice as often as before until it is captured again, so that more
    shapes in turn than there are graphs do not cost a capture each time.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Hashable, Shape], Graph] = OrderedDict()
        #: how often a shape came since it last had none, and from which time on it gets one;
        #: the families see to it that there are not many shapes
        self._came: dict[tuple[Hashable, Shape], int] = {}
        self._worth_at: dict[tuple[Hashable, Shape], int] = {}
        self._refused: set[Shape] = set()
        # Also held while one is captured: the others of this network wait.
        self._lock = threading.Lock()

    def graph_for(self, stream: Hashable, shape: Shape, capture: Capture[Graph]) -> Graph | None:
        """The graph of a shape; None: it runs without. Call it once for each batch."""
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
            except Exception as error:  # whatever it is, the shape runs without a graph
                self._failed(key, error)
                return None
            if len(self._kept) > self._most:
                self._drop(next(iter(self._kept)))
            return self._kept[key]

    def clear(self) -> None:
        """Give their memory back."""
        with self._lock:
            self._clear()

    def _failed(self, key: tuple[Hashable, Shape], error: BaseException) -> None:
        shape = key[1]
        # The error that ends a capture may hide the one that broke it.
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
    """Runs a network on a CUDA device, each pass on a stream of its own."""

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
                if fault(error) == "memory":  # who tries again finds that of the graphs free
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
