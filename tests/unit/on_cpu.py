# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Replaces ``Cuda`` by a class that computes on the CPU, so that no GPU is needed for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from app.host.cuda import Cuda, Forward, Recorded, Streams


@dataclass
class Graph:
    """Stands in for a CUDA graph: each replay computes the outputs anew, in place."""

    run: Callable[[], object]

    def replay(self) -> None:
        self.run()


class OnCpu(Cuda):
    def __init__(self, streams: int = 1) -> None:
        self._streams = Streams(object, streams)
        self.captured: list[tuple[int, ...]] = []
        self.replayed: list[tuple[int, ...]] = []
        #: errors to raise: ``broken`` in every capture, ``full`` in the next upload only
        self.broken: Exception | None = None
        self.full: Exception | None = None

    @contextmanager
    def stream(self) -> Iterator[Any]:
        with self._streams.borrow() as stream:
            yield stream

    def upload(self, array: NDArray[Any]) -> Tensor:
        if self.full is not None:
            error, self.full = self.full, None
            raise error
        return torch.from_numpy(array.copy())

    def download(self, tensor: Tensor) -> NDArray[Any]:
        return tensor.numpy().copy()

    def capture(
        self, forward: Forward, batch: NDArray[Any], stream: Any, beside: Recorded | None
    ) -> Recorded:
        if self.broken is not None:
            raise self.broken
        self.captured.append(batch.shape)
        given = torch.zeros_like(torch.from_numpy(batch))
        outputs = forward(given)
        return Recorded(Graph(lambda: outputs.copy_(forward(given))), given, outputs)

    def replay(self, recorded: Recorded, batch: NDArray[Any]) -> NDArray[Any]:
        self.replayed.append(batch.shape)
        recorded.given.copy_(torch.from_numpy(batch))
        recorded.graph.replay()
        return self.download(recorded.outputs)
