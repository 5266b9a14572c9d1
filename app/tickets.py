# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A request on its way through the waiting room, and how many there are."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class QueueFigures:
    """What ``/health`` and the ``X-Queue-*`` headers show: requests, summed over all workers."""

    concurrency: int
    in_flight: int
    waiting: int
    max_queue: int
    max_wait_seconds: float


@dataclass(eq=False)
class Ticket:
    """One request on its way to the device."""

    key: str
    images: int
    is_gone: Callable[[], bool]
    #: images that may run together; 0 as long as it does not ask for its turn
    together: int = 0
    deadline: float = math.inf
    called: threading.Event = field(default_factory=threading.Event)
    #: what the device needs: the loaded model, and [images, 3, h, w] float32
    model: Any = None
    inputs: FloatArray | None = None
    started: float | None = None
    done: threading.Event = field(default_factory=threading.Event)
    outputs: FloatArray | None = None
    error: BaseException | None = None

    def finish(self, outputs: FloatArray | None, error: BaseException | None = None) -> None:
        """Give the waiting caller its outputs, or what went wrong."""
        self.outputs, self.error = outputs, error
        self.called.set()
        self.done.set()

    def fits_into(self, batch: list[Ticket]) -> bool:
        """Whether it can run with these: same model, same shape of input, not too many."""
        first = batch[0]
        if self.model is not first.model or self.inputs is None or first.inputs is None:
            return False
        images = sum(each.images for each in batch) + self.images
        return self.inputs.shape[1:] == first.inputs.shape[1:] and images <= first.together
