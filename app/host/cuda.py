# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What torch's CUDA needs to be told: streams, pinned memory, graphs. AMD's GPUs answer to it, too.

https://docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA streams", "Use pinned memory buffers",
"CUDA Graphs". All else here is written against ``Cuda`` and tested with one that has no GPU.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

#: runs a network on the device, from inputs [n, 3, h, w] to outputs [n, ...], both float32
Forward = Callable[["Tensor"], "Tensor"]

# torch has 32 streams of each priority and gives the same ones out again: two threads on one would
# record each other's work. So ours are made once, and no more than there are.
_MOST_NETWORKS = 16
# Each keeps memory of its own for its next picture, and a picture takes about a millisecond.
_MOST_IMAGES = 4
_FIRST, _USUAL = -1, 0  # priorities: the lower number goes first
_WARM_UPS = 3  # before a capture, as the notes have it

# torch allows one capture at a time in a process.
_capturing = threading.Lock()


class Streams:
    """Streams of which a block has one to itself; the one used last is given out first."""

    def __init__(self, make: Callable[[], Any], most: int) -> None:
        self._make = make
        self._left = most
        self._making = threading.Lock()
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()

    @contextmanager
    def one(self) -> Iterator[Any]:
        """Waits where all are in use."""
        stream = self._take()
        try:
            yield stream
        finally:
            self._free.put(stream)

    def _take(self) -> Any:
        with suppress(queue.Empty):
            return self._free.get_nowait()
        with self._making:
            if self._left:
                stream = self._make()
                self._left -= 1
                return stream
        return self._free.get()


@dataclass(frozen=True)
class Recorded:
    """A network's pass over one shape of input as a graph; it knows only addresses.

    ``given`` and ``outputs`` are where it reads and writes, so they live as long.
    """

    graph: Any
    given: Tensor
    outputs: Tensor


class Cuda:
    """One device and one kind of work on it. In ``stream`` only its own work is waited for."""

    def __init__(self, device: str, priority: int, most: int) -> None:
        self._device = device
        self._streams = _streams(device, priority, most)

    @classmethod
    def for_networks(cls, device: str) -> Cuda:
        """Streams for inference: as many batches overlap as there are device threads."""
        return cls(device, _USUAL, _MOST_NETWORKS)

    @classmethod
    def for_images(cls, device: str) -> Cuda:
        """Streams for the short work around it, which goes first: a core waits for it."""
        return cls(device, _FIRST, _MOST_IMAGES)

    @contextmanager
    def stream(self) -> Iterator[Any]:
        """A stream for the work of this block, and of nobody else meanwhile."""
        import torch

        with self._streams.one() as stream, torch.cuda.stream(stream):
            yield stream

    def upload(self, array: NDArray[Any]) -> Tensor:
        """To the device, contiguous; what follows on the stream finds it there."""
        return _pinned(array).to(self._device, non_blocking=True)

    def download(self, tensor: Tensor) -> NDArray[Any]:
        """To the host, when all is computed; waits for the block's stream and no other."""
        import torch

        landing = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        landing.copy_(tensor.contiguous(), non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return landing.numpy()

    def capture(
        self, forward: Forward, batch: NDArray[Any], stream: Any, beside: Recorded | None
    ) -> Recorded:
        """Record a pass over inputs such as these; in a block of ``stream``.

        Args:
            forward: runs on the device alone: whatever it asks of the host breaks the capture.
            batch: only its shape and type count.
            stream: the block's.
            beside: one whose working memory it shares. Graphs on one stream never run at the same
                time, and each one's outputs are fetched before the next one runs.

        Raises:
            RuntimeError: it cannot be captured, or there is no memory.
        """
        import torch

        given = torch.zeros(batch.shape, dtype=_dtype(batch), device=self._device)
        # Libraries are loaded and their workspaces made before, outside the graph's memory.
        for _ in range(_WARM_UPS):
            forward(given)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate and copy meanwhile: only what this one does counts.
        recording = torch.cuda.graph(
            graph,
            pool=beside.graph.pool() if beside else None,
            stream=stream,
            capture_error_mode="thread_local",
        )
        with _capturing, recording:
            outputs = forward(given)
        return Recorded(graph, given, outputs)

    def replay(self, recorded: Recorded, batch: NDArray[Any]) -> NDArray[Any]:
        """Outputs for a batch of the recorded shape; in a block of the stream of its capture."""
        recorded.given.copy_(_pinned(batch), non_blocking=True)
        recorded.graph.replay()
        return self.download(recorded.outputs)


def _pinned(array: NDArray[Any]) -> Tensor:
    """A copy that the device can fetch by itself. torch keeps such memory for the next one."""
    import torch

    pinned = torch.empty(array.shape, dtype=_dtype(array), pin_memory=True)
    pinned.numpy()[...] = array
    return pinned


def _dtype(array: NDArray[Any]) -> Any:
    import torch

    return getattr(torch, array.dtype.name)


@cache
def _streams(device: str, priority: int, most: int) -> Streams:
    """Of the whole process: a model that is loaded again takes no new ones."""
    import torch

    stream: Any = torch.cuda.Stream
    return Streams(lambda: stream(device=device, priority=priority), most)
