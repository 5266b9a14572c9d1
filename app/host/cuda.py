# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""torch's CUDA features: streams, pinned memory and graphs. AMD GPUs (ROCm) use the same API.

They are explained at https://docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA streams", "Use
pinned memory buffers" and "CUDA Graphs". Other modules use only the class ``Cuda``; tests replace
it with one for the CPU.
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

# Each stream is created once and kept, because torch has only 32 streams of each priority and then
# returns the same ones again. Two threads on one stream would capture each other's work in a graph.
_MAX_NETWORK_STREAMS = 16
# Image work has few streams, because each keeps memory cached for its next picture. Few are enough,
# because a picture takes only about 1 ms.
_MAX_IMAGE_STREAMS = 4
# Stream priorities: work on a stream with the lower number runs first.
_HIGH_PRIORITY, _NORMAL_PRIORITY = -1, 0
_WARM_UPS = 3  # passes before a capture, as torch's notes on CUDA graphs recommend

# This lock is held during a capture, because torch allows only one at a time in a process.
_capturing = threading.Lock()


class Streams:
    """A pool of streams. The stream that was returned last is lent first.

    Args:
        make: creates a stream.
        limit: the largest number of streams in the pool.
    """

    def __init__(self, make: Callable[[], Any], limit: int) -> None:
        self._make = make
        self._left = limit
        self._making = threading.Lock()
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()

    @contextmanager
    def borrow(self) -> Iterator[Any]:
        """Lend a stream to the ``with`` block alone. Waits while all streams are lent."""
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
    """A CUDA graph: the captured forward pass of a network for one shape of inputs.

    The graph always reads the device memory of ``given`` (its inputs) and writes that of
    ``outputs``, so both tensors are kept as long as the graph.
    """

    graph: Any
    given: Tensor
    outputs: Tensor


class Cuda:
    """Streams, copies and graphs on one device.

    The methods for copies and graphs must be called within a block of ``stream``.
    """

    def __init__(self, device: str, priority: int, max_streams: int) -> None:
        self._device = device
        self._streams = _streams(device, priority, max_streams)

    @classmethod
    def for_networks(cls, device: str) -> Cuda:
        """Use streams for inference: up to 16 batches, of different device threads, can overlap."""
        return cls(device, _NORMAL_PRIORITY, _MAX_NETWORK_STREAMS)

    @classmethod
    def for_images(cls, device: str) -> Cuda:
        """Use streams for image work.

        Image work goes before inference, because it is short and a CPU core waits for it.
        """
        return cls(device, _HIGH_PRIORITY, _MAX_IMAGE_STREAMS)

    @contextmanager
    def stream(self) -> Iterator[Any]:
        """Run the CUDA work of the ``with`` block on a stream that no other block is using."""
        import torch

        with self._streams.borrow() as stream, torch.cuda.stream(stream):
            yield stream

    def upload(self, array: NDArray[Any]) -> Tensor:
        """Copy an array to the device, as a contiguous tensor of the same shape and type.

        Does not wait for the copy: later work on the same stream runs after it.
        """
        return _pinned(array).to(self._device, non_blocking=True)

    def download(self, tensor: Tensor) -> NDArray[Any]:
        """Copy a tensor to the host, as an array of the same shape and type.

        Waits for all work on the current stream, but not for other streams.
        """
        import torch

        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        pinned.copy_(tensor.contiguous(), non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return pinned.numpy()

    def capture(
        self, forward: Forward, batch: NDArray[Any], stream: Any, beside: Recorded | None
    ) -> Recorded:
        """Capture a forward pass as a graph. Call this within a block of ``stream``.

        Args:
            forward: the pass. It must not wait for the host or copy to it: that breaks the capture.
            batch: an example of the inputs [n, 3, h, w]; only its shape and type are used.
            stream: the stream of the block.
            beside: another graph of the same stream, whose working memory the new one shares.
                That is safe, because graphs on one stream never run at the same time, and the
                outputs of one are downloaded before the next one runs.

        Raises:
            RuntimeError: the pass cannot be captured, or the device has too little memory.
        """
        import torch

        given = torch.zeros(batch.shape, dtype=_dtype(batch), device=self._device)
        # These passes load CUDA libraries and allocate their workspaces outside the graph's memory.
        for _ in range(_WARM_UPS):
            forward(given)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": other threads may allocate and copy without breaking the capture.
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
        """Run the graph on a batch of the captured shape, and return the outputs.

        Call this within a block of the stream that the graph was captured on.
        """
        recorded.given.copy_(_pinned(batch), non_blocking=True)
        recorded.graph.replay()
        return self.download(recorded.outputs)


def _pinned(array: NDArray[Any]) -> Tensor:
    """A copy in pinned memory, which the device can read without the CPU.

    torch caches pinned memory and reuses it for later copies.
    """
    import torch

    pinned = torch.empty(array.shape, dtype=_dtype(array), pin_memory=True)
    pinned.numpy()[...] = array
    return pinned


def _dtype(array: NDArray[Any]) -> Any:
    import torch

    return getattr(torch, array.dtype.name)


@cache
def _streams(device: str, priority: int, max_streams: int) -> Streams:
    """The process-wide pool for these arguments, so that reloading a model adds no streams."""
    import torch

    stream: Any = torch.cuda.Stream
    return Streams(lambda: stream(device=device, priority=priority), max_streams)
